"""One event that cannot be booked is set aside; everything around it is booked, and it can be replayed."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils.timezone import now

from costs import drain, ingest
from costs.booking import Line
from costs.events import encode
from costs.models import DeadLetter, InboxRow
from costs.signals import lines_recorded
from tests.end_to_end.account import Account, Sent, random_events
from tests.end_to_end.deadly import KILLER
from tests.end_to_end.producers import wait_until_booked
from tests.processes import beat, worker

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
BAD = '{"event_id":"bad","cost_type":"cdn","amount":"1","timestamp":"2026-11-01T00:00:00Z"'
UNREADABLE = (
    f'[{BAD},"colour":"red"}}]',
    f"[{BAD.replace('00Z', '00')}}}]",
    "[1]",
    "{}",
    "[{",
    "[" * 100_000,
    "",
)


@committed
@pytest.mark.parametrize("event_count", [1, 2])
def test_rows_that_cannot_be_read_are_set_aside_and_the_others_are_booked(event_count: int) -> None:
    account = _accepted(list(random_events(20, random.Random(13), prefix="good")))
    for payload in UNREADABLE:
        InboxRow.objects.create(source="default", payload=payload, event_count=event_count)

    _drain_until_empty()

    letters = DeadLetter.objects.values_list("event_id", "payload")
    kept = [*(("bad", payload[1:-1]) for payload in UNREADABLE[:2]), ("", "1"), *(("", it) for it in UNREADABLE[3:])]
    assert sorted(letters) == sorted(kept)
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_an_event_that_fails_five_times_is_set_aside_and_its_whole_request_is_booked() -> None:
    events = list(random_events(50, random.Random(14), prefix="request"))
    account = _accepted(events[:40], together=True)
    account.merge(_accepted(events[40:]))

    with _refusing("request-7") as seen:
        _drain_until_empty()

    assert len(seen) == drain.ERRORS
    letter = DeadLetter.objects.get()
    assert (letter.event_id, letter.attempts) == ("request-7", drain.ERRORS)
    assert "no booking of request-7" in letter.reason
    assert account.compare().lost == {"request-7"}


@committed
def test_a_dead_letter_that_is_replayed_is_booked_once() -> None:
    account = _accepted(list(random_events(10, random.Random(15), prefix="again")))
    with _refusing("again-3"):
        _drain_until_empty()

    told = _dead_letters("--replay-all")
    assert "1 of 1 dead letters" in told
    assert "0 dead letters are open" in _dead_letters()
    assert drain.replay([DeadLetter.objects.get().pk], by="somebody", at=now()) == 0, "it was replayed already"
    _drain_until_empty()

    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_a_letter_that_cannot_be_read_comes_back_when_it_is_replayed() -> None:
    InboxRow.objects.create(source="default", payload="[{", event_count=1)
    _drain_until_empty()

    _dead_letters("--replay-all")
    _drain_until_empty()

    assert DeadLetter.objects.count() == 2
    assert DeadLetter.objects.filter(replayed_at=None).count() == 1


@committed
@pytest.mark.slow
def test_an_event_that_kills_its_worker_is_set_aside_after_three_deaths() -> None:
    events = list(random_events(60, random.Random(16), prefix="bystander"))
    killer = Sent({"event_id": KILLER, "cost_type": "cdn", "amount": "1"}, events[0].amount)
    account = _accepted([*events[:30], killer], together=True)
    account.merge(_accepted(events[30:]))

    deadly = {"DJANGO_SETTINGS_MODULE": "tests.end_to_end.deadly_settings", "FINOPS_INBOX_LEASE_SECONDS": "1"}
    with beat(), worker(1, **deadly) as process:
        wait_until_booked(20)
        deaths = process.count_logged("exited with 'signal 9 (SIGKILL)'")

    assert deaths == drain.CRASHES
    assert DeadLetter.objects.get().reason == "3 workers died while booking it"
    comparison = account.compare()
    assert comparison.lost == {KILLER}
    assert not comparison.doubled
    assert not comparison.drifts


def _accepted(events: Sequence[Sent], *, together: bool = False) -> Account:
    """Events in the inbox, in one request or in one each."""
    account = Account()
    requests = [events] if together else [[sent] for sent in events]
    for request in requests:
        ingest.accept([encode(sent.fields) for sent in request], source="default", at=now())
    for sent in events:
        account.note(sent.fields["event_id"], sent.amount)
    return account


def _drain_until_empty() -> None:
    deadline = time.monotonic() + 10
    while InboxRow.objects.exists():
        assert time.monotonic() < deadline, list(InboxRow.objects.values())
        drain.drain(at=now())
        time.sleep(0.02)


@contextmanager
def _refusing(event_id: str) -> Iterator[list[str]]:
    """Somebody above the ledger raises for one event; yields the ids of the batches that failed."""
    seen = []

    def refuse(lines: Sequence[Line], **_: Any) -> None:
        if any(line.event_id == event_id for line in lines):
            seen.append(event_id)
            raise ValueError(f"no booking of {event_id}")

    lines_recorded.connect(refuse)
    try:
        yield seen
    finally:
        lines_recorded.disconnect(refuse)


def _dead_letters(*arguments: str) -> str:
    told = StringIO()
    call_command("dead_letters", *arguments, stdout=told)
    return told.getvalue()
