"""Who watches tasks sees ids, and of everything else that there is something."""

import pytest
from django.conf import settings
from kombu.utils.imports import symbol_by_name

from costs.tasks import track_cost
from finops_project.celery import app
from finops_project.task_arguments import UNTOLD, DiscreetRequest, told, told_failure

CANARY = "canary-7f3a9c"


@pytest.mark.parametrize(
    "written",
    [
        *("()", "[]", "(12,)", "(17, 3)", "('ai_jesus', 4)", "['ai_jesus', 4]", "('a b/c.d', None)"),
        *("('2026-11-28T12:00:00+00:00',)", "{'event_id': 'häuser:post-1@eu/v2.0'}"),
        *("{}", "{'nudge': True}", "{'delivery_id': 12}", "{'persona_id': 'ai_jesus', 'version': 4}"),
    ],
)
def test_ids_are_told(written: str) -> None:
    assert told(written) == written


@pytest.mark.parametrize(
    "written",
    [
        "({'usage': {'input_tokens': 5}},)",
        "('ai_jesus', {'metadata': 1})",
        "{'metadata': {}}",
        "{'event_id': 'e', 'metadata': 'x'}",
        "{'event_id': {'nested': 'x'}}",
        "{'password': 'x'}",
        "{'event_id': 'it\\'s'}",
        "{'event_id': 'Write a post, please!'}",
        "{'event_id': '{\"prompt\": 1}'}",
        f"('{'x' * 256}',)",
        "(1, 2) and more",
        "",
    ],
)
def test_all_else_is_not(written: str) -> None:
    assert told(written) == UNTOLD


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (f"('Bearer {CANARY}',)", "('Bearer ***',)"),
        (f"{{'event_id': 'https://hooks.example/in/{CANARY}'}}", "{'event_id': 'https://hooks.example/***'}"),
        (f"('{settings.SECRET_KEY}',)", "('***',)"),
    ],
)
def test_a_secret_is_no_id(written: str, shown: str) -> None:
    assert told(written) == shown
    # The worker reads what the sender wrote.
    assert told(shown) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("ValueError('broken')", "ValueError('broken')"),
        (repr(ValueError(f"a constraint\nDETAIL: ({CANARY})")), "ValueError('a constraint…"),
        (f"Strange: a constraint\nDETAIL: ({CANARY})", "Strange: a constraint…"),
        (repr(ValueError(f"redis://:{CANARY}@cache is away")), "ValueError('redis://***@cache is away')"),
        (repr(ValueError(f"{settings.SECRET_KEY} is wrong")), "ValueError('*** is wrong')"),
        (repr(ValueError("x" * 10_000))[:300] + "x", repr(ValueError("x" * 10_000))[:300] + "…"),
    ],
)
def test_of_a_failure_the_first_line_is_told_without_secrets(written: str, shown: str) -> None:
    assert told_failure(written) == shown


def test_a_message_says_of_its_arguments_what_may_be_told() -> None:
    message = app.amqp.as_task_v2(
        "t-1", "costs.tasks.track_cost", kwargs={"metadata": "canary"}, create_sent_event=True
    )

    assert message.headers["kwargsrepr"] == UNTOLD
    assert message.sent_event["kwargs"] == UNTOLD
    assert message.body[1] == {"metadata": "canary"}


def test_workers_make_their_requests_so() -> None:
    assert issubclass(symbol_by_name(track_cost.Request), DiscreetRequest)  # type: ignore[no-untyped-call]
