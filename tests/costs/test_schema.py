"""The OpenAPI document is what the service does: tried by a machine that reads it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from costs import documentation, examples
from costs.models import ApiKey, PriceRate, Scope
from costs.reprice import reprice_unpriced
from tests.controls.conftest import close_decisions
from tests.costs.conftest import Ledger, amount_event, usage_event

EXAMPLES = 60
# Without what a web process does at its start: tests have no database yet when they are collected.
application = get_wsgi_application()


@pytest.fixture(autouse=True)
def _decisions_end() -> Iterator[None]:
    yield
    close_decisions()


# Threads of the application draw their jitter whenever they want, also while Hypothesis watches the generator.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.slow
@pytest.mark.django_db(transaction=True, databases=["default", "inbox", "decisions"])
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


@pytest.mark.django_db(transaction=True, databases=["default", "inbox", "decisions"])
def test_full_answers_hold_exactly_the_documented_fields(ledger: Ledger) -> None:
    post_with_every_kind_of_line(ledger)
    _, secret = ApiKey.issue(name="schema", scopes=Scope.values)
    headers = {"Authorization": f"Bearer {secret}"}
    schema = schemathesis.openapi.from_wsgi("/schema/?format=json", application, headers=headers)
    today = datetime.now(UTC).date().isoformat()
    period = {"start_date": today, "end_date": today, "group_by": "model,hour"}
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = [
        ("/costs/post/{post_id}", {"post_id": "p"}, {}),
        ("/costs/post/{post_id}/summary", {"post_id": "p"}, {}),
        ("/costs/events/{event_id}/explain", {"event_id": "priced"}, {}),
        ("/costs/events/{event_id}/explain", {"event_id": "priced-later"}, {}),
        ("/costs/events/{event_id}/explain", {"event_id": "unpriced"}, {}),
        ("/costs/events/{event_id}/explain", {"event_id": "reported"}, {}),
        ("/costs/breakdown", {}, period),
    ]

    for path, names, parameters in asked:
        case = schema[path]["GET"].Case(path_parameters=names, query=parameters)
        response = case.call_and_validate(headers=headers)
        assert response.status_code == 200


def post_with_every_kind_of_line(ledger: Ledger) -> None:
    """Priced, reported, unpriced, priced later by an adjustment, and one that still waits."""
    now = datetime.now(UTC)
    ledger.record(
        [
            usage_event(event_id="priced", post_id="p", persona_id="a", operation="hook", correlation_id="c"),
            usage_event(event_id="priced-later", post_id="p", model="mystery-1"),
            usage_event(event_id="unpriced", post_id="p", model="mystery-2"),
            amount_event("0.5", event_id="reported", post_id="p", metadata={"region": "eu"}),
        ]
    )
    for bucket in ("input_tokens", "output_tokens"):
        PriceRate.objects.create(
            kind=PriceRate.Kind.RATE,
            model="mystery-1",
            bucket=bucket,
            unit_price=Decimal(2),
            per=1_000_000,
            effective_from=now - timedelta(days=1),
        )
    assert reprice_unpriced(at=now).newly_priced == 1
    ledger.accept([usage_event(event_id="waits", post_id="p")])


@pytest.mark.parametrize(
    ("operation", "status", "example"),
    [
        (documentation.POST, 200, examples.POST),
        (documentation.POST_SUMMARY, 200, examples.POST_SUMMARY),
        (documentation.EXPLAIN, 200, examples.EXPLANATION),
        (documentation.BREAKDOWN, 200, examples.BREAKDOWN),
        (documentation.EVENTS, 200, examples.DUPLICATE),
    ],
)
def test_an_example_shows_every_documented_field(
    operation: dict[str, Any], status: int, example: dict[str, Any]
) -> None:
    assert set(example) == set(operation["responses"][status, documentation.JSON]["properties"])


def test_the_document_is_valid_and_complete() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")
