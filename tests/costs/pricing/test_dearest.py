"""What the catalogue knows of models: the dearest of a provider, how large they are, who sells them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter

import pytest

from costs.pricing import (
    PriceBook,
    Quantities,
    canonical,
    context_tokens,
    dearest,
    default_rates,
    library,
    models_of,
    seller_of,
)
from tests.costs.pricing.test_price_book import rate

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOK = PriceBook(default_rates())


def tokens(given: int, back: int) -> Quantities:
    counts = {"input_tokens": given, "output_tokens": back}
    return Quantities({name: count for name, count in counts.items() if count})


def one_by_one(book: PriceBook, provider: str, quantities: Quantities, at: datetime = NOW) -> Decimal | None:
    amounts = [
        book.price(cost_type="", provider=provider, model=listing.id, quantities=quantities, at=at).amount
        for listing in library.listings(provider)
    ]
    return max((amount for amount in amounts if amount is not None), default=None)


class TestTheDearest:
    @pytest.mark.parametrize(
        ("provider", "given", "back", "expected"),
        [
            ("openai", 1_000_000, 0, "150"),
            ("openai", 0, 1_000_000, "600"),
            ("openai", 1000, 500, "0.45"),
            ("OpenAI", 1000, 500, "0.45"),
            ("anthropic", 1000, 500, "0.0525"),
            ("openai", 0, 0, "0"),
        ],
    )
    def test_the_dearest_of_a_provider_counts(self, provider: str, given: int, back: int, expected: str) -> None:
        assert dearest(BOOK, provider, tokens(given, back), NOW) == Decimal(expected)

    @pytest.mark.parametrize("provider", [None, "", "acme", "ollama"])
    def test_without_a_known_provider_the_dearest_of_all_counts(self, provider: str | None) -> None:
        assert dearest(BOOK, provider, tokens(1000, 500), NOW) == Decimal("0.45")

    @pytest.mark.parametrize(
        ("given", "back"), [(1000, 500), (1, 0), (0, 1), (10, 100_000), (128_001, 1), (200_000, 9), (600_000, 64_000)]
    )
    @pytest.mark.parametrize("provider", ["openai", "google", "aws", "deepseek", "perplexity", "azure", "x-ai"])
    def test_it_is_what_a_look_at_every_model_finds(self, provider: str, given: int, back: int) -> None:
        quantities = tokens(given, back)

        assert dearest(BOOK, provider, quantities, NOW) == one_by_one(BOOK, provider, quantities)

    def test_a_contract_may_make_a_model_the_dearest_or_no_longer_so(self) -> None:
        dear = PriceBook([rate(provider="openai", model="house", bucket="input_tokens", price="999")])
        cheap = PriceBook([rate(provider="openai", model="o1-pro", bucket="input_tokens", price="1")])

        assert dearest(dear, "openai", tokens(1_000_000, 0), NOW) == Decimal(999)
        assert dearest(cheap, "openai", tokens(1_000_000, 0), NOW) == one_by_one(cheap, "openai", tokens(1_000_000, 0))
        assert dearest(cheap, "openai", tokens(1_000_000, 0), NOW) == Decimal(75)

    def test_a_provider_that_only_rates_know_has_its_own_dearest(self) -> None:
        book = PriceBook([rate(provider="acme", model=model, price=price) for model, price in (("s", "2"), ("l", "7"))])

        assert dearest(book, "Acme", tokens(1_000_000, 0), NOW) == Decimal(7)

    def test_it_changes_when_prices_do(self) -> None:
        until = rate(provider="acme", model="m", price="2", effective_to=NOW)
        book = PriceBook([until, rate(provider="acme", model="m", price="3", effective_from=NOW)])

        before = dearest(book, "acme", tokens(1_000_000, 0), NOW - timedelta(minutes=1))

        assert (before, dearest(book, "acme", tokens(1_000_000, 0), NOW)) == (Decimal(2), Decimal(3))

    def test_what_is_cached_or_heard_is_held_for_as_plain_tokens(self) -> None:
        heard = Quantities({"input_tokens": 400_000, "cache_read_tokens": 500_000, "input_audio_tokens": 100_000})

        assert dearest(BOOK, "openai", heard, NOW) == Decimal(150)

    def test_asking_again_takes_no_search(self) -> None:
        dearest(BOOK, None, tokens(1000, 500), NOW)

        begin = perf_counter()
        for count in range(100):
            dearest(BOOK, None, tokens(count, 500), NOW)

        # Half a millisecond here; a search through the list takes 80.
        assert perf_counter() - begin < 4


class TestModels:
    @pytest.mark.parametrize(
        ("cost_type", "provider", "model", "expected"),
        [
            ("openai_api", "openai", "gpt-4o", 128_000),
            ("openai_api", None, "GPT-4o-2024-08-06", 128_000),
            ("openai_api", "openai", "gpt-3.5-turbo-0125", 16_385),
            ("openai_api", "openai", "gpt-4", 8_192),
            ("openai_api", "openai", "house-model", None),
            ("openai_api", "openai", "ft:gpt-3.5-turbo:acme::1", None),
        ],
    )
    def test_the_list_says_how_large_a_model_is(
        self, cost_type: str, provider: str | None, model: str, expected: int | None
    ) -> None:
        assert context_tokens(cost_type, provider, model) == expected

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("openai/GPT-4o", "gpt-4o"),
            ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
            ("house-model", None),
        ],
    )
    def test_a_model_has_one_name_on_the_list(self, model: str, expected: str | None) -> None:
        assert canonical("openai_api", "openai", model) == expected

    @pytest.mark.parametrize(
        ("cost_type", "provider", "model", "expected"),
        [
            ("openai_api", "azure_openai", "gpt-4o", "azure"),
            ("openai_api", None, "gpt-4o", "openai"),
            ("llm", None, "claude-opus-4-1", "anthropic"),
            ("llm", "acme", "m", "acme"),
            ("llm", None, "house-model", None),
        ],
    )
    def test_the_seller_is_told_by_provider_cost_type_or_name(
        self, cost_type: str, provider: str | None, model: str, expected: str | None
    ) -> None:
        assert seller_of(cost_type, provider, model) == expected

    def test_a_provider_sells_what_its_list_recommends(self) -> None:
        assert "gpt-4o-mini" in models_of("openai")
        assert "gemini-2.0-flash" not in models_of("google")
        assert models_of("acme") == []
