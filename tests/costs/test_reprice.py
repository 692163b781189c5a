"""Correcting the past by adjustments."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costs.models import CostEvent, PostCost, PriceRate
from costs.reprice import Outcome, reprice, reprice_unpriced
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def add_price(price: str, **fields: Any) -> PriceRate:
    defaults = {"kind": "contract", "bucket": "input_tokens", "per": 1_000_000, "effective_from": NOW - 30 * DAY}
    return PriceRate.objects.create(unit_price=Decimal(price), **defaults | fields)


def total(post_id: str = "p") -> Decimal:
    return CostEvent.objects.for_post(post_id).total()


def reprice_all() -> Outcome:
    return reprice(NOW - DAY, NOW + DAY, at=NOW)


def record(ledger: Ledger, *events: dict[str, Any]) -> None:
    ledger.record([{"timestamp": NOW, "post_id": "p"} | event for event in events], at=NOW)


class TestCorrecting:
    def test_a_dated_contract_corrects_the_lines_of_its_period(self, ledger: Ledger) -> None:
        record(ledger, usage_event(), usage_event(timestamp=NOW - timedelta(hours=2), event_id="before"))
        add_price("1.25", model="gpt-4o", effective_from=NOW - timedelta(hours=1))

        outcome = reprice_all()

        assert (outcome.seen, outcome.corrected, outcome.change) == (2, 1, Decimal("-0.00125"))
        assert total() == Decimal("0.0075") + Decimal("0.00625")
        assert not verify().drifts

    def test_an_adjustment_stands_beside_the_line_with_its_own_price_sheet(self, ledger: Ledger) -> None:
        record(ledger, usage_event(event_id="call-1"))
        add_price("1.25", model="gpt-4o")

        reprice_all()

        charge, adjustment = CostEvent.objects.order_by("id")
        assert (adjustment.entry_type, adjustment.adjusts) == ("adjustment", charge.pk)
        assert (adjustment.timestamp, adjustment.event_id) == (charge.timestamp, "call-1")
        assert adjustment.price_sheet_id != charge.price_sheet_id
        explained = adjustment.explained()
        assert explained
        assert explained.formula == "1000 x $1.25/M + 500 x $10/M"

    def test_a_second_run_writes_nothing(self, ledger: Ledger) -> None:
        record(ledger, usage_event())
        add_price("1.25", model="gpt-4o")

        reprice_all()
        again = reprice_all()

        assert (again.seen, again.corrected) == (1, 0)
        assert CostEvent.objects.count() == 2

    def test_prices_may_change_again_and_each_version_corrects_once(self, ledger: Ledger) -> None:
        record(ledger, usage_event())
        for price in ("1.25", "5", "3.75"):
            add_price(price, model="gpt-4o")
            reprice_all()

        assert total() == Decimal("0.00875")
        assert not verify().drifts

    def test_a_price_that_is_taken_back_is_taken_back_in_the_ledger(self, ledger: Ledger) -> None:
        record(ledger, usage_event())
        mistake = add_price("1.25", model="gpt-4o")
        reprice_all()

        mistake.delete()
        outcome = reprice_all()
        add_price("1.25", model="gpt-4o")
        reprice_all()

        assert (outcome.corrected, outcome.change) == (1, Decimal("0.00125"))
        assert total() == Decimal("0.00625")
        assert not verify().drifts

    def test_a_line_that_would_burst_the_ledgers_bound_is_left_and_the_others_go_on(self, ledger: Ledger) -> None:
        huge = usage_event(model="our-own-model", provider="ours", usage={"images": 999_999_999_999})
        record(ledger, huge, usage_event(model="our-own-model", provider="ours", usage={"images": 1}))
        add_price("40", model="our-own-model", bucket="images", per=1000)

        assert reprice_unpriced(at=NOW).newly_priced == 1
        assert CostEvent.objects.unpriced().count() == 1

    def test_an_amount_that_the_caller_gave_stands(self, ledger: Ledger) -> None:
        record(ledger, usage_event(amount="1"), amount_event("2"))
        add_price("1.25", model="gpt-4o")

        assert reprice_all().seen == 0
        assert total() == 3

    def test_a_dry_run_writes_nothing(self, ledger: Ledger) -> None:
        record(ledger, usage_event())
        add_price("1.25", model="gpt-4o")

        outcome = reprice(NOW - DAY, NOW + DAY, at=NOW, dry_run=True)

        assert outcome.corrected == 1
        assert CostEvent.objects.count() == 1

    @pytest.mark.parametrize(("start", "end", "seen"), [(NOW, NOW + DAY, 1), (NOW - DAY, NOW, 0)])
    def test_the_period_is_half_open(self, ledger: Ledger, start: datetime, end: datetime, seen: int) -> None:
        record(ledger, usage_event())

        assert reprice(start, end, at=NOW).seen == seen


class TestUnpriced:
    def test_a_price_that_arrives_is_applied_and_counted(self, ledger: Ledger) -> None:
        record(ledger, usage_event(model="our-own-model", provider="ours", usage={"input_tokens": 1000}))
        assert PostCost.objects.get().unpriced == 1

        assert reprice_unpriced(at=NOW).newly_priced == 0
        add_price("2", model="our-own-model")
        assert reprice_unpriced(at=NOW).newly_priced == 1

        counted = PostCost.objects.get()
        assert (counted.unpriced, counted.amount, counted.events) == (0, Decimal("0.002"), 1)
        assert CostEvent.objects.unpriced().count() == 0
        assert reprice_unpriced(at=NOW).seen == 0
        assert not verify().drifts

    def test_what_was_priced_late_is_corrected_like_every_other_line(self, ledger: Ledger) -> None:
        record(ledger, usage_event(model="our-own-model", provider="ours", usage={"input_tokens": 1000}))
        add_price("2", model="our-own-model")
        reprice_unpriced(at=NOW)

        add_price("3", model="our-own-model")
        outcome = reprice_all()

        assert (outcome.corrected, outcome.newly_priced, total()) == (1, 0, Decimal("0.003"))

    def test_more_lines_than_one_chunk_are_all_priced(self, ledger: Ledger) -> None:
        event = usage_event(model="our-own-model", provider="ours", usage={"input_tokens": 1})
        record(ledger, *[event | {"event_id": str(number)} for number in range(1001)])
        add_price("1", model="our-own-model")

        assert reprice_unpriced(at=NOW).newly_priced == 1001
