from django.apps import AppConfig
from django.core.checks import Tags, register

from alerts.checks import no_test_endpoints


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        register(no_test_endpoints, Tags.security, deploy=True)
