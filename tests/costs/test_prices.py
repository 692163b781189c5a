"""The price book of a process: right from the next batch on, however a row was changed."""

from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic

import pytest
from django.conf import settings
from django.db import connection

from costs.models import PriceRate
from costs.prices import current_book
from tests.costs.conftest import Ledger, usage_event

pytestmark = pytest.mark.django_db


def contract(price: str) -> PriceRate:
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return PriceRate.objects.create(
        kind="contract", bucket="input_tokens", unit_price=Decimal(price), per=1_000_000, effective_from=begin
    )


def test_an_unchanged_table_keeps_the_book_with_all_it_has_resolved() -> None:
    assert current_book() is current_book()


def test_what_it_has_resolved_is_kept_no_longer_than_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [monotonic()]
    monkeypatch.setattr("costs.prices.monotonic", lambda: clock[0])
    old = current_book()
    clock[0] += settings.FINOPS_CACHE_TTL_SECONDS + 1
    first = current_book()

    clock[0] += settings.FINOPS_CACHE_TTL_SECONDS - 1
    assert current_book() is first
    clock[0] += 1
    assert current_book() is not first
    assert first is not old


@pytest.mark.parametrize(
    "change", ["SET unit_price = 3", "SET unit_price = 3, changed_at = changed_at - interval '1 day'"]
)
def test_a_change_that_touches_no_time_stamp_counts_too(ledger: Ledger, change: str) -> None:
    row = contract("2")
    before = current_book()

    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE costs_pricerate {change} WHERE id = %s", [row.pk])

    assert current_book() is not before


def test_a_deleted_row_counts_no_more(ledger: Ledger) -> None:
    row = contract("2")
    before = current_book()

    row.delete()

    assert current_book() is not before
    ledger.record([usage_event()])
