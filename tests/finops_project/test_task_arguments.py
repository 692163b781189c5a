"""Who watches tasks sees ids, and of everything else that there is something."""

import pytest
from kombu.utils.imports import symbol_by_name

from costs.tasks import track_cost
from finops_project.celery import app
from finops_project.task_arguments import UNTOLD, DiscreetRequest, told


@pytest.mark.parametrize(
    "written",
    [
        *("()", "[]", "(12,)", "(17, 3)", "('ai_jesus', 4)", "['ai_jesus', 4]", "('a b/c.d', None)"),
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
        f"('{'x' * 256}',)",
        "(1, 2) and more",
        "",
    ],
)
def test_all_else_is_not(written: str) -> None:
    assert told(written) == UNTOLD


def test_a_message_says_of_its_arguments_what_may_be_told() -> None:
    message = app.amqp.as_task_v2(
        "t-1", "costs.tasks.track_cost", kwargs={"metadata": "canary"}, create_sent_event=True
    )

    assert message.headers["kwargsrepr"] == UNTOLD
    assert message.sent_event["kwargs"] == UNTOLD
    assert message.body[1] == {"metadata": "canary"}


def test_workers_make_their_requests_so() -> None:
    assert issubclass(symbol_by_name(track_cost.Request), DiscreetRequest)  # type: ignore[no-untyped-call]
