"""What must not reach production."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error


def no_test_endpoints(**_: Any) -> list[CheckMessage]:
    """Receivers of tests are reached without TLS and past the check of addresses."""
    if not settings.ALERT_TEST_ENDPOINTS:
        return []
    return [
        Error(
            "ALERT_TEST_ENDPOINTS lets alerts go to receivers on this machine, unencrypted.",
            hint="Unset FINOPS_ALERT_TEST_ENDPOINTS: it is for tests and the demo.",
            id="alerts.E001",
        )
    ]
