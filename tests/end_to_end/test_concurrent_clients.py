"""Many clients, the same ids, hot counters: one line each, no deadlock."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils.timezone import now

from costs import drain, ingest, ledger
from costs.booking import Line, book
from costs.events import Event, encode, new_id
from costs.ingest import Receipt
from costs.models import CostEvent, DailyPersona, InboxRow
from costs.pricing import PriceBook
from costs.verify import verify
from tests.end_to_end.account import Account, Sent, random_events
from tests.end_to_end.producers import in_threads, shares
from tests.servers import wait_until

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
CLIENTS = 8


@committed
def test_an_event_sent_up_to_twenty_times_by_eight_clients_is_one_line() -> None:
    chance = random.Random(8)
    events = [_some_day(sent, chance) for sent in random_events(600, chance, prefix="often")]
    sendings = [sent for sent in events for _ in range(chance.randint(1, 20))]
    chance.shuffle(sendings)
    account = Account()

    receipts = _send_from_all_clients(sendings, chance)
    for receipt, sent in receipts:
        account.note(receipt.event_id or "", sent.amount)
    drain.drain(at=now())

    statuses = Counter(receipt.status for receipt, _ in receipts)
    assert statuses == {"accepted": 600, "duplicate": len(sendings) - 600}
    months = {at.strftime("%Y-%m") for at in CostEvent.objects.values_list("timestamp", flat=True)}
    assert len(months) >= 3
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_another_body_under_a_known_id_is_a_conflict_every_time() -> None:
    chance = random.Random(9)
    events = list(random_events(300, chance, prefix="known"))
    account = Account()
    for receipt, sent in _send_from_all_clients(events, chance):
        account.note(receipt.event_id or "", sent.amount)
    honest = [sent for sent in events for _ in range(3)]
    others = [Sent({**sent.fields, "post_id": "another"}, Decimal(0)) for sent in events for _ in range(5)]
    mixed = [*honest, *others]
    chance.shuffle(mixed)

    receipts = _send_from_all_clients(mixed, chance)
    drain.drain(at=now())

    statuses = Counter((sent.fields["post_id"] == "another", receipt.status) for receipt, sent in receipts)
    assert statuses == {(False, "duplicate"): 900, (True, "conflict"): 1500}
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_two_bodies_that_race_for_an_id_have_one_winner() -> None:
    chance = random.Random(10)
    bodies = [_amount(f"race-{number}", amount) for number in range(300) for amount in ("1", "2", "3")]
    chance.shuffle(bodies)
    account = Account()

    for receipt, sent in _send_from_all_clients(bodies, chance):
        if receipt.status == "accepted":
            account.note(receipt.event_id or "", sent.amount)
        else:
            assert receipt.status == "conflict"
    drain.drain(at=now())

    assert len(account) == 300
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_drains_at_once_over_hot_counters_are_exact_and_do_not_deadlock() -> None:
    chance = random.Random(11)
    events = list(random_events(5_000, chance, prefix="hot"))
    account = Account()
    # A row for each event: a claim locks up to 1,000 rows, and another drain that finds none free stops at once.
    for receipt, sent in _send_from_all_clients(events, chance, largest=1):
        account.note(receipt.event_id or "", sent.amount)

    booked = [future.result() for future in in_threads(lambda _: drain.drain(at=now()), range(4))]

    assert not InboxRow.objects.exists()
    assert sum(booked) == 5_000, "each row was claimed once: no drain had to give a batch back"
    assert sum(count > 0 for count in booked) > 1, "more than one drain had work"
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_writers_who_share_no_counter_but_the_roll_ups_wait_for_each_other() -> None:
    at = now()

    def write(*lines: Line) -> None:
        try:
            with transaction.atomic():
                ledger.write(lines, at=at)
        finally:
            connections.close_all()

    # Each writer knows both personas; in this hour it has met one, and the other writer the other one.
    write(*(_line(persona, who, at - timedelta(days=2)) for persona in "ab" for who in "xy"))
    write(_line("a", "x", at), _line("b", "y", at))
    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            list(DailyPersona.objects.select_for_update())
            writers = [threads.submit(write, _line("a", who, at), _line("b", who, at)) for who in "xy"]
            wait_until(_two_wait, 10, lambda: "The writers do not wait.")
        for writer in writers:
            writer.result()

    assert not verify().drifts


def _two_wait() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0] == 2)


def _line(persona: str, who: str, at: datetime) -> Line:
    event = Event(cost_type="cdn", amount=1, event_id=new_id(at), timestamp=at, persona_id=persona, operation=who)
    (line,) = book([event], source="writers", prices=PriceBook()).lines
    return line._replace(model=f"model-{who}")


def _send_from_all_clients(
    sendings: list[Sent], chance: random.Random, *, largest: int = 40
) -> list[tuple[Receipt, Sent]]:
    """Each client sends its share in requests of one event to `largest`; returns what each one was answered."""

    def send(share: list[list[Sent]]) -> list[tuple[Receipt, Sent]]:
        return [pair for request in share for pair in zip(_accept(request), request, strict=True)]

    requests = _requests(sendings, chance, largest)
    answers = in_threads(send, [list(share) for share in shares(requests, CLIENTS)])
    return [pair for answer in answers for pair in answer.result()]


def _requests(sendings: list[Sent], chance: random.Random, largest: int) -> list[list[Sent]]:
    requests, start = [], 0
    while start < len(sendings):
        size = chance.randint(1, largest)
        requests.append(sendings[start : start + size])
        start += size
    return requests


def _accept(request: list[Sent]) -> list[Receipt]:
    return ingest.accept([encode(sent.fields) for sent in request], source="clients", at=now())


def _some_day(sent: Sent, chance: random.Random) -> Sent:
    at = datetime.now(UTC) - timedelta(days=chance.randrange(89))
    return Sent({**sent.fields, "timestamp": at}, sent.amount)


def _amount(event_id: str, amount: str) -> Sent:
    fields: dict[str, Any] = {"event_id": event_id, "cost_type": "cdn", "amount": amount}
    return Sent(fields, Decimal(amount))
