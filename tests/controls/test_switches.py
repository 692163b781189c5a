"""Which model stands in for a dear one: alive then, cheaper for these tokens, large enough, in the list's order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from controls import switches
from controls.models import Switch
from controls.switches import Lists, Target, targets_of, why_none
from costs.pricing import PriceBook, Quantities, default_rates
from tests.costs.pricing.test_price_book import rate

RETIREMENT = date(2026, 10, 23)
LAST = datetime(2026, 10, 22, 23, 59, 59, 999999, tzinfo=UTC)
FIRST_WITHOUT = datetime(2026, 10, 23, tzinfo=UTC)
BOOK = PriceBook(default_rates())


@dataclass(frozen=True, slots=True)
class Listed:
    target: str
    retires_on: date | None = None
    context_tokens: int | None = None

    def is_alive(self, day: date) -> bool:
        return self.retires_on is None or day < self.retires_on


SHIPPED = (Listed("gpt-3.5-turbo-0125", RETIREMENT, 16_385), Listed("gpt-4o-mini", None, 128_000))
LISTS: Lists = {"gpt-4o": SHIPPED, "gpt-4": SHIPPED}


def call(model: str = "gpt-4o", given: int = 1000, back: int = 500, **fields: Any) -> dict[str, Any]:
    names = {"model": model, "cost_type": "openai_api", "provider": "openai", "at": LAST, "prices": BOOK}
    usage = Quantities({"input_tokens": given, "output_tokens": back})
    return names | {"usage": usage, "among": LISTS} | fields


def names(targets: Iterable[Target]) -> list[str]:
    return [target.model for target in targets]


BOTH, ONLY_MINI = ["gpt-3.5-turbo-0125", "gpt-4o-mini"], ["gpt-4o-mini"]


class TestTheShippedLists:
    @pytest.mark.parametrize(
        ("model", "given", "back", "at", "expected"),
        [
            ("gpt-4o", 1000, 500, LAST, BOTH),
            ("gpt-4o", 1000, 500, FIRST_WITHOUT, ONLY_MINI),
            ("gpt-4", 1000, 500, LAST, BOTH),
            ("gpt-4", 1000, 500, FIRST_WITHOUT, ONLY_MINI),
            ("gpt-4o", 16_000, 385, LAST, BOTH),
            ("gpt-4o", 16_000, 386, LAST, ONLY_MINI),
            ("gpt-4o", 120_000, 8_000, LAST, ONLY_MINI),
            ("gpt-4o", 120_000, 8_001, LAST, []),
            ("gpt-4o-mini", 1000, 500, LAST, []),
            ("gpt-4-turbo", 1000, 500, LAST, []),
            ("gpt-3.5-turbo-0125", 1000, 500, LAST, []),
            ("claude-opus-4-1", 1000, 500, LAST, []),
        ],
    )
    def test_the_first_that_is_alive_and_large_enough_comes_first(
        self, model: str, given: int, back: int, at: datetime, expected: list[str]
    ) -> None:
        assert names(targets_of(**call(model, given, back, at=at))) == expected

    def test_a_target_knows_what_it_costs_and_saves(self) -> None:
        old, mini = targets_of(**call())

        assert old == Target("gpt-3.5-turbo-0125", "openai", "openai_api", Decimal("0.00125"), Decimal("0.0075"))
        assert (mini.amount, mini.saves) == (Decimal("0.00045"), Decimal("0.00705"))

    @pytest.mark.django_db
    def test_the_engine_ships_with_them(self) -> None:
        switches.forget()

        stored = switches.stored(LAST)

        assert {model: [switch.target for switch in listed] for model, listed in stored.items()} == {
            "gpt-4o": BOTH,
            "gpt-4": BOTH,
        }
        assert names(targets_of(**call(at=FIRST_WITHOUT, among=stored))) == ONLY_MINI


class TestNames:
    @pytest.mark.parametrize(
        ("model", "provider", "cost_type"),
        [
            ("GPT-4o", "openai", "openai_api"),
            (" gpt-4o ", "openai", "openai_api"),
            ("gpt-4o-2024-08-06", "openai", "openai_api"),
            ("gpt-4o-2024-11-20", None, "openai_api"),
            ("openai/gpt-4o", "openai", "openai_api"),
            ("gpt-4o", "azure", "azure_api"),
            ("gpt-4-0613", "openai", "openai_api"),
        ],
    )
    def test_a_model_is_found_however_it_is_written(self, model: str, provider: str | None, cost_type: str) -> None:
        found = targets_of(**call(model, provider=provider, cost_type=cost_type, at=FIRST_WITHOUT))

        assert [(target.model, target.provider, target.cost_type) for target in found] == [
            ("gpt-4o-mini", provider, cost_type)
        ]

    def test_a_list_of_its_own_goes_before_that_of_the_plain_name(self) -> None:
        among = {**LISTS, "gpt-4o-2024-08-06": [Listed("gpt-4.1-mini")]}

        assert names(targets_of(**call("gpt-4o-2024-08-06", among=among))) == ["gpt-4.1-mini"]
        assert names(targets_of(**call("gpt-4o-2024-11-20", among=among))) == BOTH

    def test_a_target_may_be_another_providers(self) -> None:
        (target,) = targets_of(**call(among={"gpt-4o": [Listed("claude-3-haiku-20240307")]}))

        assert (target.provider, target.cost_type) == ("anthropic", "anthropic_api")
        assert target.amount == Decimal("0.000875")


class TestCheaper:
    @pytest.mark.parametrize(
        ("given", "back", "is_cheaper"),
        [(1000, 999, False), (1000, 1000, False), (1000, 1001, True)],
    )
    def test_what_counts_is_the_price_of_these_tokens(self, given: int, back: int, is_cheaper: bool) -> None:
        prices = PriceBook(
            [
                rate(model="even", bucket="input_tokens", price="1"),
                rate(model="even", bucket="output_tokens", price="2"),
                rate(model="odd", bucket="input_tokens", price="2"),
                rate(model="odd", bucket="output_tokens", price="1"),
            ]
        )
        asked = call("even", given, back, prices=prices, among={"even": [Listed("odd")]})

        assert names(targets_of(**asked)) == (["odd"] if is_cheaper else [])

    def test_a_contract_may_turn_it_round(self) -> None:
        prices = PriceBook(
            [rate(model="gpt-4o", bucket=bucket, price="0.1") for bucket in ("input_tokens", "output_tokens")]
        )

        assert targets_of(**call(prices=prices)) == []

    def test_a_target_without_a_price_never_serves(self) -> None:
        assert targets_of(**call(among={"gpt-4o": [Listed("house-model")]})) == []

    def test_a_model_without_a_price_is_compared_with_what_it_is_held_for(self) -> None:
        asked = call("house-model", among={"house-model": SHIPPED})

        assert targets_of(**asked) == []
        assert [target.saves for target in targets_of(**asked, asked_amount=Decimal("0.45"))] == [
            Decimal("0.44875"),
            Decimal("0.44955"),
        ]

    def test_a_size_that_nobody_knows_is_large_enough(self) -> None:
        among = {"gpt-4o": [Listed("house-model")]}
        prices = PriceBook(
            [rate(model="house-model", bucket=b, price="0.1") for b in ("input_tokens", "output_tokens")]
        )

        assert names(targets_of(**call(prices=prices, among=among, given=10**9))) == ["house-model"]

    def test_the_list_knows_the_size_where_the_row_has_none(self) -> None:
        among = {"gpt-4o": [Listed("gpt-3.5-turbo-0125")]}

        assert names(targets_of(**call(among=among, given=16_000, back=385))) == ["gpt-3.5-turbo-0125"]
        assert names(targets_of(**call(among=among, given=16_000, back=386))) == []


class TestWhyNone:
    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            (call(), []),
            (call(at=FIRST_WITHOUT), ["gpt-3.5-turbo-0125 was retired on 2026-10-23."]),
            (
                call(given=120_000, back=8_001),
                [
                    "gpt-3.5-turbo-0125 takes 16,385 tokens, and these are 128,001.",
                    "gpt-4o-mini takes 128,000 tokens, and these are 128,001.",
                ],
            ),
            (
                call("gpt-4o-mini", among={"gpt-4o-mini": [Listed("gpt-4o")]}),
                ["gpt-4o is not cheaper for these tokens: $0.0075, not below $0.00045."],
            ),
            (call(among={"gpt-4o": [Listed("house-model")]}), ["What house-model costs is not known."]),
            (call("house-model", among={"house-model": SHIPPED}), ["What house-model costs is not known."]),
            (call("gpt-4o-mini"), ["No cheaper model is listed for gpt-4o-mini."]),
        ],
    )
    def test_each_that_does_not_serve_has_a_sentence(self, asked: dict[str, Any], expected: list[str]) -> None:
        assert why_none(**asked) == expected


@pytest.mark.django_db
class TestStored:
    def test_the_lists_are_read_once_a_second(self) -> None:
        switches.forget()
        at = datetime(2026, 11, 24, 12, tzinfo=UTC)
        before = switches.stored(at)
        Switch.objects.create(model="GPT-5", position=1, target="gpt-5-mini")

        with CaptureQueriesContext(connection) as queries:
            assert switches.stored(at + timedelta(seconds=1, microseconds=-1)) is before
        after = switches.stored(at + timedelta(seconds=1))

        assert len(queries) == 0
        assert [switch.target for switch in after["gpt-5"]] == ["gpt-5-mini"]
        switches.forget()

    def test_they_are_in_the_order_of_their_positions(self) -> None:
        switches.forget()
        for position, target in ((3, "c"), (1, "a"), (2, "b"), (2, "b2")):
            Switch.objects.create(model="dear", position=position, target=target)

        stored = switches.stored(LAST)

        assert [switch.target for switch in stored["dear"]] == ["a", "b", "b2", "c"]
        switches.forget()

    def test_a_clock_that_is_set_back_reads_anew(self) -> None:
        switches.forget()
        before = switches.stored(LAST)

        assert switches.stored(LAST - timedelta(microseconds=1)) is not before
        switches.forget()
