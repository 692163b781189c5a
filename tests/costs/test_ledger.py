"""What the database itself refuses, whoever asks."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.db.utils import DataError, InternalError

from costs import booking, partitions
from costs import ledger as writing
from costs.events import completed, encode, parse
from costs.models import CostEvent
from costs.pricing import PriceBook
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Refused = (IntegrityError, DataError, InternalError)


def line(**changes: Any) -> booking.Line:
    event = completed(parse(encode(amount_event("1"))), NOW)
    (made,) = booking.book([event], source="default", prices=PriceBook()).lines
    return made._replace(**changes)


def run(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE cost_events SET cost_amount = 0",
            "DELETE FROM cost_events",
            "TRUNCATE cost_events",
            f"UPDATE cost_events_y{NOW:%Y}m{NOW:%m} SET cost_amount = 0",
            f"DELETE FROM cost_events_y{NOW:%Y}m{NOW:%m}",
            f"TRUNCATE cost_events_y{NOW:%Y}m{NOW:%m}",
            "UPDATE costs_pricesheet SET content = '{}'",
            "DELETE FROM costs_pricesheet",
            "TRUNCATE costs_pricesheet",
        ],
    )
    def test_lines_and_price_sheets_are_never_changed(self, ledger: Ledger, statement: str) -> None:
        ledger.record([usage_event(post_id="p")], at=NOW)

        with pytest.raises(Refused, match="append-only"):
            run(statement)

        assert CostEvent.objects.for_post("p").total() == Decimal("0.0075")


@pytest.mark.django_db
class TestConstraints:
    @pytest.mark.parametrize(
        "changes",
        [
            {"cost_amount": Decimal("NaN")},
            {"cost_amount": Decimal("-0.01")},
            {"cost_amount": Decimal(10) ** 9},
            {"cost_amount": None},
            {"unpriced": 1},
            {"entry_type": "adjustment"},
            {"adjusts": 1},
            {"entry_type": "refund"},
        ],
        ids=str,
    )
    def test_a_line_that_contradicts_itself_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(Refused), transaction.atomic():
            writing.write([line(**changes)], at=NOW)

    def test_an_adjustment_may_be_negative(self) -> None:
        adjustment = line(entry_type="adjustment", adjusts=1, cost_amount=Decimal("-0.5"))

        with transaction.atomic():
            writing.write([adjustment], at=NOW)

        assert CostEvent.objects.total() == Decimal("-0.5")


@pytest.mark.django_db(transaction=True)
def test_lines_are_written_only_inside_a_transaction() -> None:
    with pytest.raises(TransactionManagementError):
        writing.write([line()], at=NOW)


@pytest.mark.django_db
class TestPartitions:
    def test_the_months_ahead_can_be_booked_already(self) -> None:
        partitions.ensure(NOW)

        assert partitions.months_ahead(NOW) >= 3

    def test_a_line_lies_in_the_month_of_its_booking_whenever_it_happened(self) -> None:
        booked = datetime(2031, 12, 31, 23, 59, 59, tzinfo=UTC)
        partitions.ensure(booked, ahead=1)

        with transaction.atomic():
            writing.write([line()], at=booked)

        with connection.cursor() as cursor:
            cursor.execute("SELECT tableoid::regclass::text FROM cost_events")
            assert cursor.fetchall() == [("cost_events_y2031m12",)]

    def test_making_them_twice_is_harmless(self) -> None:
        partitions.ensure(NOW)
        partitions.ensure(NOW)
