"""Prices against two accounts that others kept: litellm's price list, and what real messages were recorded to cost."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from costs.pricing import Price, PriceBook, default_rates, normalise

DATA = Path(__file__).parents[4] / "shared" / "data"
WORKED_CASES = DATA / "pricing" / "expected_prices_dev.csv"
TRACE = DATA / "traces" / "aider_messages_to_2025-03.csv.gz"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOK = PriceBook(default_rates())


def needs(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not path.exists(), reason=f"../shared/data/{path.relative_to(DATA)} is not here")


@dataclass(frozen=True)
class WorkedCase:
    """One row of litellm's list, worked out; `agree` says whether genai-prices names the same amount."""

    model: str
    provider: str
    usage: dict[str, int]
    expected: Decimal
    agree: str

    @property
    def price(self) -> Price:
        counted = normalise(self.usage)
        return BOOK.price(cost_type="llm", provider=self.provider, model=self.model, quantities=counted, at=NOW)


@cache
def worked_cases() -> list[WorkedCase]:
    with WORKED_CASES.open(newline="") as file:
        return [
            WorkedCase(
                model=row["litellm_model"],
                provider=row["litellm_provider"],
                usage={
                    "input_tokens": int(row["input_tokens_total"]),
                    "cache_read_tokens": int(row["cache_read_tokens"]),
                    "cache_write_tokens": int(row["cache_write_tokens"]),
                    "output_tokens": int(row["output_tokens"]),
                },
                expected=Decimal(row["expected_usd_litellm"]),
                agree=row["agree"],
            )
            for row in csv.DictReader(file)
        ]


@needs(WORKED_CASES)
class TestWorkedCases:
    def test_all_that_both_lists_agree_on_are_exact(self) -> None:
        agreed = [case for case in worked_cases() if case.agree == "yes"]

        wrong = [
            (case.model, case.price.amount, case.expected) for case in agreed if case.price.amount != case.expected
        ]

        print(f"{len(agreed) - len(wrong)} of {len(agreed)} agreed cases are exact")
        assert len(agreed) > 200
        assert wrong == []

    def test_of_the_whole_list_what_has_a_price_here_is_nearly_always_the_same(self) -> None:
        """What differs is where the two lists differ: 1.10 for regional endpoints, cache prices that one lacks, …"""
        outcomes = Counter(outcome(case.price.amount, case.expected) for case in worked_cases())

        share = Decimal(outcomes["exact"]) / (outcomes["exact"] + outcomes["different"])
        print(f"all cases: {dict(outcomes)}, {share:.1%} of the priced ones exact")
        assert share > Decimal("0.89")
        assert outcomes["exact"] > 790


def outcome(amount: Decimal | None, expected: Decimal) -> str:
    if amount is None:
        return "unpriced"
    return "exact" if amount == expected else "different"


# Prices, (input, output) per million, at which aider went on recording when they were no longer, or not, those of the
# provider: its own list (litellm's of that day) lagged behind.
OUTDATED: dict[str, list[tuple[str, str]]] = {
    # Cut to 0.80/4 on 2024-12-03; recorded at the old price until 2025-02-09.
    "claude-3-5-haiku": [("1", "5")],
    # Recorded without the discount between 16:30 and 00:30 UTC that began on 2025-02-26.
    "deepseek/deepseek-chat": [("0.27", "1.10")],
    "deepseek/deepseek-reasoner": [("0.55", "2.19")],
    # Cut on 2024-10-01; "latest" was recorded with the output price of another model.
    "gemini/gemini-1.5-pro": [("3.5", "10.5"), ("3.5", "1.05")],
    "gemini/gemini-pro": [("0.35", "1.05")],
    "gemini/gemini-1.5-flash-8b": [("0", "0")],
    # Cut with the model of 2024-08-06, respectively 2024-09-17.
    "openrouter/openai/gpt-4o": [("5", "15")],
    "openrouter/mistralai/mistral-large": [("8", "24")],
    "mistral/codestral": [("1", "3")],
}
# A market place: its list has today's prices only, without their history.
WITHOUT_HISTORY = "openrouter/"


@dataclass(frozen=True)
class Message:
    """One call as aider recorded it."""

    at: datetime
    model: str
    input_tokens: int
    output_tokens: int
    recorded: Decimal

    @property
    def amount(self) -> Decimal | None:
        counted = normalise({"input_tokens": self.input_tokens, "output_tokens": self.output_tokens})
        return BOOK.price(cost_type="llm", provider=None, model=self.model, quantities=counted, at=self.at).amount

    @property
    def is_recorded_at_an_outdated_price(self) -> bool:
        known = [prices for name, prices in OUTDATED.items() if name in self.model]
        amounts = [
            (self.input_tokens * Decimal(price_in) + self.output_tokens * Decimal(price_out)) / 1_000_000
            for prices in known
            for price_in, price_out in prices
        ]
        return self.recorded in amounts


def messages() -> Iterator[Message]:
    with gzip.open(TRACE, "rt", newline="") as file:
        for row in csv.DictReader(file):
            yield Message(
                at=datetime.fromtimestamp(int(row["time_unix"]), UTC),
                model=row["model"],
                input_tokens=int(row["prompt_tokens"]),
                output_tokens=int(row["completion_tokens"]),
                # Recorded as a binary float: its last digits are noise.
                recorded=Decimal(row["cost_usd_recorded"] or 0).quantize(Decimal("1e-12")),
            )


@needs(TRACE)
def test_real_messages_cost_what_they_were_recorded_to_cost() -> None:
    told: dict[str, Counter[str]] = {}
    for message in messages():
        verdict = outcome(message.amount, message.recorded)
        if verdict == "different" and message.is_recorded_at_an_outdated_price:
            verdict = "outdated"
        elif verdict == "different" and message.model.startswith(WITHOUT_HISTORY):
            verdict = "history unknown"
        told.setdefault(message.model, Counter())[verdict] += 1

    for model, verdicts in sorted(told.items()):
        print(f"{model:55} {dict(verdicts)}")
    all_of_them = sum(told.values(), Counter())
    exact, different = all_of_them["exact"], all_of_them["different"]
    priced = all_of_them.total() - all_of_them["unpriced"]
    print(f"{exact} of {priced} priced messages as recorded: {exact / priced:.2%}")
    print(f"{exact} of {exact + different} recorded at a price of that day: {exact / (exact + different):.2%}")
    assert exact > 3_600
    assert exact >= Decimal("0.99") * (exact + different)
    # Prompt caching, which the trace does not tell apart: no list price gives these.
    assert different <= 40
