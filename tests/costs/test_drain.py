"""From the inbox into the ledger: once, priced, counted, and what cannot be booked set aside."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from costs import drain
from costs.booking import Line
from costs.models import CostEvent, DeadLetter, InboxRow, PostCost
from costs.signals import events_recorded, lines_recorded
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CONTRADICTION = {"dialect": "openai_chat", "prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}


@contextmanager
def listening(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def refuse_post_bad(lines: list[Line], **_: object) -> None:
    if any(line.post_id == "bad" for line in lines):
        raise RuntimeError("this one is poison")


def end_leases() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE costs_inboxrow SET leased_until = NULL")


def drain_until_quiet(rounds: int = 20) -> None:
    """As if time went by between the rounds: back-off and leases are over each time."""
    for _ in range(rounds):
        end_leases()
        drain.drain(at=NOW)


class TestBooking:
    def test_a_replayed_event_is_counted_once(self, ledger: Ledger) -> None:
        event = usage_event(event_id="call-1", post_id="p1")

        ledger.record([event])
        (replay,) = ledger.record([event])

        assert replay.status == "duplicate"
        assert CostEvent.objects.for_post("p1").total() == Decimal("0.0075")

    def test_the_row_goes_when_its_lines_come(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1"), amount_event("2")], at=NOW)
        assert CostEvent.objects.count() == 0

        drain.drain(at=NOW)

        assert CostEvent.objects.total() == 3
        assert not InboxRow.objects.exists()

    @pytest.mark.parametrize("batch", [1, 1000])
    def test_a_backlog_of_many_batches_is_booked_in_one_go(
        self, ledger: Ledger, settings: Settings, batch: int
    ) -> None:
        settings.FINOPS_COST_EVENT_BATCH_SIZE = batch
        for _ in range(12):
            ledger.accept([amount_event("1"), amount_event("1")], at=NOW)

        assert drain.drain(at=NOW) == 24

    def test_events_with_much_in_them_come_fewer_at_a_time_and_all_the_same_in_one_go(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drain, "CLAIMED_BYTES", 2000)
        monkeypatch.setattr(drain, "CLAIMED_CHARACTERS", 500)
        for _ in range(5):
            ledger.accept([amount_event("1", metadata={"prompt": "x" * 1200})], at=NOW)

        assert len(drain._claim(drain.FRESH.condition, 1000)) == 2
        end_leases()
        assert drain.drain(at=NOW) == 5

    def test_a_line_says_everything_that_the_event_said(self, ledger: Ledger) -> None:
        usage = {"dialect": "openai_chat", "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        ledger.record(
            [
                usage_event(
                    event_id="call-1",
                    timestamp=NOW,
                    post_id="p",
                    persona_id="ai_jesus",
                    operation="hook",
                    usage=usage,
                    correlation_id="c",
                    request_id="r",
                    hold_id="h",
                    metadata={"temperature": Decimal("0.7")},
                )
            ],
            source="studio",
        )

        line = CostEvent.objects.get()
        assert (line.event_id, line.source, line.timestamp) == ("call-1", "studio", NOW)
        assert (line.post_id, line.persona_id, line.operation) == ("p", "ai_jesus", "hook")
        assert (line.correlation_id, line.request_id, line.hold_id) == ("c", "r", "h")
        assert line.cost_metadata == {"temperature": Decimal("0.7")}
        assert line.usage == usage
        assert line.quantities == {"input_tokens": 10, "output_tokens": 5}

    def test_empty_names_are_absent_names(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", post_id="", persona_id="", correlation_id="", operation="")])

        line = CostEvent.objects.get()
        assert (line.post_id, line.persona_id, line.correlation_id, line.operation) == (None, None, None, None)
        assert not PostCost.objects.exists()

    def test_usage_without_a_known_price_is_unpriced_and_never_free(self, ledger: Ledger) -> None:
        ledger.record([usage_event(provider="ours", model="our-own-model", post_id="p")])

        line = CostEvent.objects.get()
        explained = line.explained()
        assert (line.cost_amount, line.unpriced) == (None, 1)
        assert explained
        assert "ours" in explained.reason
        assert PostCost.objects.get().unpriced == 1

    @pytest.mark.parametrize(
        ("given", "deviating"), [("0.007575", 0), ("0.0075751", 1), ("0.007425", 0), ("0.0074", 1)]
    )
    def test_a_given_amount_stands_and_one_that_is_over_a_percent_off_is_counted(
        self, ledger: Ledger, given: str, deviating: int
    ) -> None:
        ledger.record([usage_event(amount=given, post_id="p")])

        line = CostEvent.objects.get()
        assert (line.cost_amount, line.computed_amount) == (Decimal(given), Decimal("0.0075"))
        assert (line.evidence, line.deviating) == ("reported", deviating)
        assert PostCost.objects.get().deviating == deviating

    def test_those_above_are_told_inside_the_transaction_and_after_it(self, ledger: Ledger) -> None:
        told: list[tuple[str, int]] = []
        with (
            listening(lines_recorded, lambda lines, **_: told.append(("inside", CostEvent.objects.count()))),
            listening(events_recorded, lambda lines, **_: told.append(("after", len(lines)))),
        ):
            ledger.record([amount_event("1"), amount_event("2")])

        assert told == [("inside", 2), ("after", 2)]


class TestSettingAside:
    def test_usage_that_contradicts_itself_is_a_dead_letter_and_the_rest_is_booked(self, ledger: Ledger) -> None:
        ledger.record([usage_event(usage=CONTRADICTION, event_id="odd", post_id="p"), amount_event("1", post_id="p")])

        letter = DeadLetter.objects.get()
        assert (letter.event_id, letter.post_id) == ("odd", "p")
        assert "its parts are more" in letter.reason
        assert CostEvent.objects.total() == 1

    def test_a_cost_beyond_the_ledgers_bound_is_a_dead_letter(self, ledger: Ledger) -> None:
        ledger.record([usage_event(usage={"cpu_core_hours": 999_999_999_999})])

        assert "beyond the ledger's bound" in DeadLetter.objects.get().reason

    def test_one_poison_event_stands_alone_at_last(self, ledger: Ledger) -> None:
        with listening(lines_recorded, refuse_post_bad):
            ledger.accept([amount_event("1", post_id=post) for post in ("good", "bad", "fine")], at=NOW)
            ledger.accept([amount_event("1", post_id="other")], at=NOW)
            drain_until_quiet()

        letter = DeadLetter.objects.get()
        assert (letter.post_id, letter.reason) == ("bad", "RuntimeError: this one is poison")
        assert CostEvent.objects.total() == 3
        assert not InboxRow.objects.exists()
        assert not verify().drifts

    def test_a_row_whose_drain_dies_is_set_aside_after_three_deaths(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", post_id="killer")], at=NOW)

        for _ in range(3):
            end_leases()
            for company in (drain.FRESH, *drain.TROUBLED):
                drain._claim(company.condition, company.rows)
        drain_until_quiet(1)

        assert "3 workers died" in DeadLetter.objects.get().reason

    def test_a_leased_row_is_left_to_its_owner(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1")], at=NOW)
        drain._claim(drain.FRESH.condition, 1)

        assert drain.drain(at=NOW) == 0

    def test_an_owner_that_lost_its_lease_books_nothing(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1")], at=NOW)
        slow = drain._claim(drain.FRESH.condition, 1)
        end_leases()
        drain.drain(at=NOW)

        drain._process(slow, at=NOW)

        assert CostEvent.objects.total() == 1

    def test_replaying_books_a_dead_letter_once_and_says_who_did_it(self, ledger: Ledger) -> None:
        with listening(lines_recorded, refuse_post_bad):
            ledger.accept([amount_event("1", post_id="bad", event_id="a")], at=NOW)
            drain_until_quiet()
        letter = DeadLetter.objects.get()

        replayed = [drain.replay([letter.pk], by="ann", at=NOW) for _ in range(2)]
        drain.drain(at=NOW)

        letter.refresh_from_db()
        assert replayed == [1, 0]
        assert (letter.replayed_by, letter.replayed_at) == ("ann", NOW)
        assert CostEvent.objects.get().event_id == "a"

    def test_one_that_is_written_off_is_open_no_more_and_can_still_be_replayed(self, ledger: Ledger) -> None:
        letter = DeadLetter.objects.create(source="default", event_id="e", payload="{}", reason="so")
        call_command(
            "dead_letters", "--write-off", str(letter.pk), "--because", "the producer is mended", stdout=StringIO()
        )

        letter.refresh_from_db()
        assert not DeadLetter.objects.open().exists()
        assert letter.written_off_because == "the producer is mended"
        assert drain.write_off([letter.pk], by="ann", because="again", at=NOW) == 0
        assert drain.replay([letter.pk], by="ann", at=NOW) == 1

    def test_nothing_is_written_off_by_the_command_without_a_reason(self, ledger: Ledger) -> None:
        with pytest.raises(CommandError, match="Say why"):
            call_command("dead_letters", "--write-off", "1")


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
def test_a_post_can_be_drained_alone() -> None:
    ledger = Ledger()
    ledger.accept([amount_event("1", post_id="mine")], at=NOW)
    ledger.accept([amount_event("1", post_id="yours")], at=NOW)

    drain.drain_post("mine", at=NOW)

    assert CostEvent.objects.get().post_id == "mine"
    assert InboxRow.objects.get().post_ids == ["yours"]
