"""A sheet is what a ledger line keeps: it prices exactly, names itself by its content, and survives storage."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest

from costs.pricing import PriceBook, Quantities, Sheet, default_rates, normalise

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHEET = """
from datetime import UTC, datetime
from costs.pricing import PriceBook, normalise
names = dict(cost_type="openai_api", provider="openai", model="gpt-4o")
price = PriceBook().price(**names, quantities=normalise({"input_tokens": 1}), at=datetime(2026, 11, 24, tzinfo=UTC))
print(price.sheet.id)
"""


def sheet(model: str = "gpt-4o", provider: str = "openai", usage: dict[str, Any] | None = None) -> Sheet:
    counted = normalise(usage or {"input_tokens": 1})
    book = PriceBook(default_rates())
    return book.price(cost_type="openai_api", provider=provider, model=model, quantities=counted, at=NOW).sheet


def of_one_price(unit_price: str, per: int = 1) -> Sheet:
    found = {"unit_price": unit_price, "per": per, "steps": [], "tier": "standard", "origin": "rate 1"}
    return Sheet.from_json({"prices": {"images": found}, "resolution": {}, "missing": ""})


class TestIdentity:
    def test_equal_content_is_one_sheet(self) -> None:
        assert sheet().id == sheet().id

    @pytest.mark.parametrize("hash_seed", ["1", "2"])
    def test_it_is_the_same_in_every_process(self, hash_seed: str) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        printed = subprocess.run(
            [sys.executable, "-c", SHEET], capture_output=True, text=True, check=True, env=environment
        ).stdout

        assert printed.strip() == str(PriceBook().price(**gpt_4o()).sheet.id)

    def test_another_price_is_another_sheet(self) -> None:
        assert of_one_price("1").id != of_one_price("2").id
        assert of_one_price("1").id != of_one_price("1", per=1_000).id

    def test_the_number_counts_not_its_spelling(self) -> None:
        assert of_one_price("1").id == of_one_price("1.00").id == of_one_price("1e0").id

    def test_the_way_to_the_listing_is_part_of_it(self) -> None:
        assert sheet("gpt-4o").id != sheet("openai/gpt-4o").id


def gpt_4o() -> dict[str, Any]:
    names = {"cost_type": "openai_api", "provider": "openai", "model": "gpt-4o"}
    return {**names, "quantities": normalise({"input_tokens": 1}), "at": NOW}


class TestStorage:
    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("openai", "gpt-4o"),
            ("google", "gemini-2.5-pro"),
            ("deepseek", "deepseek-chat"),
            ("anthropic", "claude-opus-4-7"),
            ("perplexity", "sonar"),
            ("openai", "gpt-77"),
        ],
    )
    @pytest.mark.parametrize(
        "usage",
        [
            {"input_tokens": 1000, "cache_read_tokens": 123, "output_tokens": 7},
            {"input_tokens": 300_001, "cache_read_tokens": 100_000, "output_tokens": 1000, "reasoning_tokens": 999},
            {"cpu_core_hours": Decimal("0.123456789"), "input_tokens": 1},
        ],
    )
    def test_what_comes_back_prices_the_same(self, provider: str, model: str, usage: dict[str, Any]) -> None:
        kept = sheet(model, provider, usage)
        counted = normalise(usage)

        back = Sheet.from_json(json.loads(json.dumps(kept.to_json())))

        assert back == kept
        assert back.id == kept.id
        assert back.price(counted)[:2] == kept.price(counted)[:2]
        assert back.price(counted).reason == kept.price(counted).reason

    def test_no_number_is_stored_as_a_float(self) -> None:
        def numbers(value: object) -> list[object]:
            if isinstance(value, dict):
                return [number for item in value.values() for number in numbers(item)]
            if isinstance(value, list):
                return [number for item in value for number in numbers(item)]
            return [value]

        assert not [value for value in numbers(sheet("gemini-2.5-pro", "google").to_json()) if type(value) is float]


class TestExactness:
    @pytest.mark.parametrize(
        ("images", "unit_price", "per", "amount"),
        [
            (1, "0.0000000000005", 1, "0.000000000000"),
            (1, "0.0000000000015", 1, "0.000000000002"),
            (1, "0.00000000000050000000001", 1, "0.000000000001"),
            (1, "0.0000000000025", 1, "0.000000000002"),
            (1, "1", 3, "0.333333333333"),
            (2, "1", 3, "0.666666666667"),
            (999_999_999_999, "999999.999999999999", 1, "999999999998999999.000000000001"),
            (999_999_999_999, "0.000001", 1_000_000, "0.999999999999"),
        ],
    )
    def test_only_the_sum_is_rounded_to_twelve_decimals_half_even(
        self, images: int, unit_price: str, per: int, amount: str
    ) -> None:
        found = of_one_price(unit_price, per).price(Quantities({"images": images}))

        assert found.amount is not None
        assert format(found.amount, "f") == amount

    def test_shares_too_small_for_the_ledger_still_add_up(self) -> None:
        prices = {
            bucket: {"unit_price": "0.0000004", "per": 1_000_000, "steps": [], "tier": "standard", "origin": "rate 1"}
            for bucket in ("input_tokens", "output_tokens")
        }
        kept = Sheet.from_json({"prices": prices, "resolution": {}, "missing": ""})

        found = kept.price(Quantities({"input_tokens": 1, "output_tokens": 1}))

        assert [component.amount for component in found.components] == [Decimal("4E-13"), Decimal("4E-13")]
        assert found.amount == Decimal("0.000000000001")

    def test_the_caller_s_decimal_context_has_no_say(self) -> None:
        counted = normalise({"input_tokens": 123_456_789, "output_tokens": 987_654_321})
        exact = sheet().price(counted).amount

        with localcontext() as context:
            context.prec = 3
            assert sheet().price(counted).amount == exact == Decimal("10185.1851825")

    def test_numbers_are_shown_plainly(self) -> None:
        found = of_one_price("0.00000045").price(Quantities({"images": Decimal("1.50")}))

        assert found.formula == "1.5 x $0.00000045"
        assert of_one_price("2", 1000).price(Quantities({"images": 100})).formula == "100 x $2/K"
        assert of_one_price("2", 12).price(Quantities({"images": 100})).formula == "100 x $2/12"
