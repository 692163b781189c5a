"""The OpenAPI document is what the service does: tried by a machine that reads it."""

from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from costs.models import ApiKey, Scope
from finops_project.wsgi import application

EXAMPLES = 60


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
def test_every_answer_is_a_documented_one() -> None:
    _, secret = ApiKey.issue(name="schemathesis", scopes=Scope.values)
    headers = {"Authorization": f"Bearer {secret}"}
    schema = schemathesis.openapi.from_wsgi("/schema/?format=json", application, headers=headers)
    tried = 0

    for operation in schema.get_all_operations():

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())  # type: ignore[union-attr]  # an invalid schema has failed before
        def answers_as_documented(case: schemathesis.Case[Any]) -> None:
            # A schema cannot say that an end lies after its start, or parts within their total: that answers 422.
            case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

        answers_as_documented()
        tried += 1

    assert tried >= 5


def test_the_document_is_valid_and_complete() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")
