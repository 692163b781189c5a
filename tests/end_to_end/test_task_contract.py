"""What `track_cost` promises to its callers, with a real broker and real workers."""

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from celery import current_app
from django.db import transaction
from django.utils.timezone import now

from costs.models import CostEvent, EventKey, InboxRow
from costs.tasks import track_cost
from tests.end_to_end.account import Account, random_events
from tests.end_to_end.producers import steady_load, wait_until_booked, waiting
from tests.processes import AppProcess, beat, worker
from tests.servers import wait_until

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
LEFT = '[{"event_id":"left","cost_type":"cdn","amount":"1","timestamp":"2026-11-01T00:00:00Z"}]'
EVENT = {"cost_type": "cdn", "amount": "0.000000000001", "post_id": "p"}


@pytest.fixture
def booking_worker(transactional_db: None) -> Iterator[AppProcess]:
    """It ends before the tables are emptied: a drain that still looks around would be in the way."""
    with worker(1) as process:
        yield process


@committed
@pytest.mark.usefixtures("booking_worker")
def test_a_cost_is_booked_although_the_callers_transaction_rolls_back() -> None:
    with pytest.raises(RuntimeError, match="rolled back"):
        _track_and_roll_back("kept")

    _wait_until_booked_line("kept")


@committed
@pytest.mark.usefixtures("booking_worker")
def test_the_nudge_alone_gets_an_event_booked() -> None:
    track_cost.delay(**EVENT, event_id="nudged")
    _wait_until_booked_line("nudged")


@committed
@pytest.mark.parametrize("later", [{"countdown": 5}, {"eta": now() + timedelta(seconds=5)}])
def test_a_cost_cannot_be_tracked_later(later: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no eta and no countdown"):
        track_cost.apply_async(kwargs=EVENT, **later)

    assert not EventKey.objects.exists()


@committed
def test_an_event_sent_through_the_broker_by_name_is_booked_under_the_name_that_flower_shows(
    booking_worker: AppProcess,
) -> None:
    sent = current_app.send_task("costs.tasks.track_cost", kwargs=EVENT | {"event_id": "by-name"})

    _wait_until_booked_line("by-name")
    booking_worker.wait_until(lambda: _ended(booking_worker, sent.id) > 0, "logged task")


@committed
def test_a_redelivered_message_without_an_event_id_is_booked_once(booking_worker: AppProcess) -> None:
    task_id = str(uuid4())
    for _ in range(2):
        current_app.send_task("costs.tasks.track_cost", task_id=task_id, kwargs=EVENT)

    booking_worker.wait_until(lambda: _ended(booking_worker, task_id) == 2, "two deliveries")
    wait_until_booked(5)
    assert CostEvent.objects.get().event_id == task_id


@committed
@pytest.mark.slow
@pytest.mark.usefixtures("booking_worker")
def test_two_beats_at_once_double_nothing() -> None:
    account = Account()

    with beat(), beat(), worker(1):
        with steady_load(random_events(100_000, random.Random(12), prefix="beats"), account):
            time.sleep(2)
        wait_until_booked(5)

    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
@pytest.mark.usefixtures("booking_worker")
def test_without_a_beat_the_next_nudge_books_what_an_earlier_one_left() -> None:
    InboxRow.objects.create(source="default", event_count=1, payload=LEFT)
    time.sleep(1)
    assert not CostEvent.objects.exists()

    track_cost.delay(**EVENT, event_id="next")

    _wait_until_booked_line("left")
    _wait_until_booked_line("next")


def _track_and_roll_back(event_id: str) -> None:
    with transaction.atomic():
        track_cost.delay(**EVENT, event_id=event_id)
        raise RuntimeError("rolled back")


def _ended(worker: AppProcess, task_id: str) -> int:
    """How often this worker logged that the task ran."""
    lines = worker.log.read_text().splitlines()
    return sum("task succeeded" in line and f"task_id={task_id}" in line for line in lines)


def _wait_until_booked_line(event_id: str) -> None:
    wait_until(lambda: CostEvent.objects.filter(event_id=event_id).exists(), 10, waiting)
