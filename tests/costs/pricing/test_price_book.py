"""What a use costs at its own time: contract over correction over list over rate, exact, or unpriced with a reason."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from costs.pricing import LIBRARY_VERSION, Price, PriceBook, Rate, default_rates, normalise
from costs.pricing import book as book_module
from costs.pricing.library import Listing, list_prices
from costs.pricing.resolve import resolve

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def rate(kind: str = "contract", bucket: str = "input_tokens", price: str = "1", **fields: Any) -> Rate:
    """A dollar for a million input tokens, from 2026 on, for anything."""
    anything: dict[str, Any] = {"cost_type": None, "provider": None, "model": None, "per": 1_000_000}
    period: dict[str, Any] = {"effective_from": datetime(2026, 1, 1, tzinfo=UTC), "effective_to": None}
    given = {**anything, **period, "version": f"{kind}-1", **fields}
    return Rate(kind=kind, bucket=bucket, unit_price=Decimal(price), **given)


def price(
    usage: dict[str, Any],
    *rates: Rate,
    model: str | None = "gpt-4o",
    provider: str | None = "openai",
    cost_type: str = "openai_api",
    at: datetime = NOW,
) -> Price:
    counted = normalise(usage)
    return PriceBook(rates).price(cost_type=cost_type, provider=provider, model=model, quantities=counted, at=at)


def dollars(usage: dict[str, Any], *rates: Rate, **names: Any) -> Decimal | None:
    return price(usage, *rates, **names).amount


def dollars_a_million(*rates: Rate, bucket: str = "input_tokens", **names: Any) -> Decimal | None:
    whole = "input_tokens" if bucket.startswith(("input", "cache")) else "output_tokens"
    return dollars({whole: 1_000_000, bucket: 1_000_000}, *rates, **names)


class TestListPrices:
    def test_every_bucket_has_its_own_price(self) -> None:
        found = price({"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 500})

        assert found.amount == Decimal("0.00725")
        assert found.formula == "800 x $2.5/M + 200 x $1.25/M + 500 x $10/M"
        assert [component.amount for component in found.components] == [
            Decimal("0.002"),
            Decimal("0.00025"),
            Decimal("0.005"),
        ]
        assert {component.origin for component in found.components} == {LIBRARY_VERSION}

    def test_what_is_not_listed_costs_what_it_is_part_of(self) -> None:
        assert dollars_a_million(bucket="reasoning_tokens") == Decimal(10)
        assert dollars_a_million(bucket="cache_write_tokens") == Decimal("2.5")
        assert dollars_a_million(bucket="input_image_tokens") == Decimal("2.5")

    @pytest.mark.parametrize("bucket", ["input_audio_tokens", "output_audio_tokens", "cache_write_1h_tokens"])
    def test_what_always_costs_more_is_unpriced_when_not_listed(self, bucket: str) -> None:
        whole = {"cache_write_tokens": 1} if bucket == "cache_write_1h_tokens" else {}

        found = price({"input_tokens": 1, "output_tokens": 1, bucket: 1, **whole})

        assert found.amount is None
        assert found.reason == f"no price for {bucket}: the list has none for gpt-4o of openai"

    def test_cache_writes_of_an_hour_have_their_own_price(self) -> None:
        usage = {"input_tokens": 3_000_000, "cache_write_tokens": 3_000_000, "cache_write_1h_tokens": 1_000_000}

        assert dollars(usage, model="claude-opus-4-7", provider="anthropic") == 2 * Decimal("6.25") + 10

    def test_a_fee_per_request_is_added_once_and_only_to_tokens(self) -> None:
        usage = {"input_tokens": 1000, "output_tokens": 1000}

        assert dollars(usage, model="sonar", provider="perplexity") == Decimal("0.002") + Decimal("0.012")

    def test_searches_are_priced_per_thousand(self) -> None:
        usage = {"dialect": "anthropic", "input_tokens": 0, "server_tool_use": {"web_search_requests": 3}}

        assert dollars(usage, model="claude-opus-4-7", provider="anthropic") == Decimal("0.03")

    def test_one_search_without_a_price_leaves_the_whole_use_unpriced(self) -> None:
        usage = {"dialect": "anthropic", "input_tokens": 5, "server_tool_use": {"code_dancing_requests": 3}}

        found = price(usage, model="claude-opus-4-7", provider="anthropic")

        assert (found.amount, found.components) == (None, ())
        assert found.reason == "no price for code_dancing_requests: the list has none for claude-opus-4-7 of anthropic"

    @pytest.mark.parametrize(
        ("tokens", "expected"),
        [
            (199_999, "1.25"),
            (200_000, "1.25"),
            (200_001, "2.5"),
        ],
    )
    def test_a_long_context_changes_the_price_of_all_its_tokens(self, tokens: int, expected: str) -> None:
        found = price({"input_tokens": tokens}, model="gemini-2.5-pro", provider="google")

        assert found.amount == tokens * Decimal(expected) / 1_000_000
        assert found.components[0].tier == ("standard, over 200,000 input tokens" if tokens > 200_000 else "standard")

    def test_cached_tokens_belong_to_the_context_and_output_does_not(self) -> None:
        usage = {"input_tokens": 200_001, "cache_read_tokens": 200_000, "output_tokens": 1_000_000}
        short = {"input_tokens": 200_000, "cache_read_tokens": 200_000, "output_tokens": 1_000_000}

        assert dollars(usage, model="gemini-2.5-pro", provider="google") == Decimal("2.5e-6") + Decimal("0.05") + 15
        assert dollars(short, model="gemini-2.5-pro", provider="google") == Decimal("0.025") + 10

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            ("2026-10-18T23:59:59.999999+00:00", "0.014"),
            ("2026-10-19T00:00:00+00:00", "0.015"),
            ("2026-10-19T01:59:59+02:00", "0.014"),
            ("2026-10-19T02:00:00+02:00", "0.015"),
        ],
    )
    def test_a_price_holds_from_the_day_it_is_listed_for(self, at: str, expected: str) -> None:
        moment = datetime.fromisoformat(at)

        found = dollars_a_million(bucket="cache_read_tokens", model="gpt-oss-120b", provider="fireworks", at=moment)

        assert found == Decimal(expected)

    @pytest.mark.parametrize(
        ("clock", "expected"),
        [
            ("00:59:59.999999", "0.15"),
            ("01:00:00", "0.3"),
            ("03:59:59.999999", "0.3"),
            ("04:00:00", "0.15"),
            ("06:00:00", "0.3"),
            ("10:00:00", "0.15"),
        ],
    )
    def test_the_time_of_day_may_decide(self, clock: str, expected: str) -> None:
        moment = datetime.fromisoformat(f"2026-11-24T{clock}+00:00")

        assert dollars_a_million(model="deepseek-flash", provider="deepseek", at=moment) == Decimal(expected)

    def test_the_time_of_day_is_that_of_the_instant_not_of_its_zone(self) -> None:
        in_beijing = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=8)))

        assert dollars_a_million(model="deepseek-flash", provider="deepseek", at=in_beijing) == Decimal("0.3")

    def test_one_book_answers_for_all_times_of_a_day(self) -> None:
        book = PriceBook()
        counted = normalise({"input_tokens": 1_000_000})
        names: dict[str, Any] = {"cost_type": "llm", "provider": "deepseek", "model": "deepseek-flash"}
        hours = [NOW.replace(hour=hour) for hour in (*range(24), *reversed(range(24)))]

        found = [book.price(**names, quantities=counted, at=at).amount for at in hours]

        peak = {1, 2, 3, 6, 7, 8, 9}
        assert found == [Decimal("0.3") if at.hour in peak else Decimal("0.15") for at in hours]


class TestTiers:
    @pytest.mark.parametrize(
        ("tier", "expected"),
        [("default", "2.5"), ("priority", "4.25"), ("batch", "1.25")],
    )
    def test_a_served_tier_has_its_own_prices(self, tier: str, expected: str) -> None:
        found = price({"input_tokens": 1_000_000, "service_tier": tier})

        assert found.amount == Decimal(expected)
        assert found.components[0].tier == ("standard" if tier == "default" else tier)

    def test_a_tier_without_a_price_is_unpriced_not_standard(self) -> None:
        found = price({"input_tokens": 1_000_000, "service_tier": "flex"})

        assert found.amount is None
        assert found.reason == "no price for input_tokens: the list has no flex prices for gpt-4o of openai"

    @pytest.mark.parametrize(("day", "expected"), [(13, None), (14, Decimal("1.25"))])
    def test_a_tier_has_a_price_from_the_day_it_is_listed_for(self, day: int, expected: Decimal | None) -> None:
        at = datetime(2026, 10, day, 23, 59, 59, tzinfo=UTC)

        assert dollars({"input_tokens": 1_000_000, "service_tier": "batch"}, at=at) == expected

    def test_the_tiers_of_a_maker_do_not_hold_at_a_reseller(self) -> None:
        usage = {"input_tokens": 1_000_000, "service_tier": "batch"}

        assert dollars(usage, provider="openai") == Decimal("1.25")
        assert dollars(usage, provider="azure") is None

    def test_a_rate_is_for_its_own_tier_only(self) -> None:
        usage = {"input_tokens": 1_000_000}
        flex = rate(price="7", tier="flex")

        assert dollars({**usage, "service_tier": "flex"}, flex) == Decimal(7)
        assert dollars(usage, flex) == Decimal("2.5")
        assert dollars({**usage, "service_tier": "flex"}, rate(price="7")) is None


class TestFree:
    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("gemini", "gemma-3-27b-it"),
            ("openai", "omni-moderation-latest"),
            ("openrouter", "deepseek/deepseek-r1:free"),
        ],
    )
    def test_what_is_known_to_be_free_costs_nothing(self, provider: str, model: str) -> None:
        found = price({"input_tokens": 1000, "output_tokens": 500}, provider=provider, model=model)

        assert found.amount == 0
        assert found.formula.startswith("1000 x $0/M")

    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("vertex_ai", "gemma-3-27b-it"),
            ("github-copilot", "gpt-4.1"),
            ("cerebras", "qwen-3-coder-480b"),
        ],
    )
    def test_a_listing_without_a_price_is_not_free(self, provider: str, model: str) -> None:
        found = price({"input_tokens": 1000}, provider=provider, model=model)

        assert found.amount is None
        assert found.reason.startswith("no price for input_tokens: the list has none for")

    @pytest.mark.parametrize("model", ["gemini-2.5-pro-exp-03-25", "gemini-2.0-flash-exp", "gemini-exp-1206"])
    def test_experimental_models_of_google_were_free(self, model: str) -> None:
        at = datetime(2025, 3, 29, tzinfo=UTC)
        usage = {"input_tokens": 1000, "cache_read_tokens": 10, "output_tokens": 500}

        assert dollars(usage, *default_rates(), provider="gemini", model=model, at=at) == 0


class TestUnpriced:
    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            ("gpt-77", "no price for input_tokens: openai has no list price for gpt-77"),
            (None, "no price for input_tokens: no model is named"),
        ],
    )
    def test_the_unknown_has_no_price_and_a_sentence(self, model: str | None, reason: str) -> None:
        found = price({"input_tokens": 1000}, model=model)

        assert found.amount is None
        assert found.reason == reason

    def test_infrastructure_without_a_rate_has_no_price(self) -> None:
        found = price({"cpu_core_hours": 1}, model=None, provider=None, cost_type="kubernetes")

        assert found.reason == "no price for cpu_core_hours: there is no rate for it"

    def test_nothing_used_costs_nothing_whatever_the_price(self) -> None:
        assert dollars({"input_tokens": 0}, model="gpt-77") == 0


class TestPrecedence:
    def test_contract_over_correction_over_list_over_rate(self) -> None:
        contract, correction, plain = (
            rate("contract", price="1"),
            rate("correction", price="2"),
            rate("rate", price="3"),
        )

        assert dollars_a_million(plain, correction, contract) == 1
        assert dollars_a_million(plain, correction) == 2
        assert dollars_a_million(plain) == Decimal("2.5")
        assert dollars_a_million(plain, model="gpt-77") == 3

    def test_a_rate_answers_only_for_its_bucket(self) -> None:
        found = price({"input_tokens": 10, "output_tokens": 10}, rate(price="1"))

        assert found.formula == "10 x $1/M + 10 x $10/M"
        assert [component.origin for component in found.components] == ["contract contract-1", LIBRARY_VERSION]

    def test_what_a_contract_does_not_name_may_cost_what_its_parent_does(self) -> None:
        contract = rate(price="1", model="gpt-77")

        assert dollars_a_million(contract, bucket="cache_read_tokens", model="gpt-77") == 1

    @pytest.mark.parametrize(
        ("wide", "narrow"),
        [
            ({}, {"cost_type": "openai_api"}),
            ({"cost_type": "openai_api"}, {"provider": "openai"}),
            ({"provider": "openai", "cost_type": "openai_api"}, {"model": "gpt-4o"}),
            ({"model": "gpt-4o"}, {"model": "gpt-4o", "provider": "openai"}),
        ],
    )
    def test_the_more_specific_counts_though_it_began_earlier(
        self, wide: dict[str, str], narrow: dict[str, str]
    ) -> None:
        earlier = rate(price="1", effective_from=datetime(2020, 1, 1, tzinfo=UTC), **narrow)
        later = rate(price="2", **wide)

        assert dollars_a_million(earlier, later) == 1
        assert dollars_a_million(later, earlier) == 1

    def test_of_equally_specific_ones_the_later_begun_counts(self) -> None:
        earlier = rate(price="1", effective_from=datetime(2025, 1, 1, tzinfo=UTC))

        assert dollars_a_million(earlier, rate(price="2")) == 2
        assert dollars_a_million(rate(price="2"), earlier) == 2

    @pytest.mark.parametrize(
        "fields",
        [
            {"provider": "gemini"},
            {"provider": "Google"},
            {"model": "gemini-2.5-pro-preview-03-25"},
            {"model": "Gemini-2.5-Pro"},
            {"cost_type": "LLM"},
        ],
    )
    def test_names_match_as_given_and_as_resolved_without_case(self, fields: dict[str, str]) -> None:
        names = {"provider": "gemini", "model": "gemini-2.5-pro-preview-03-25", "cost_type": "llm"}

        assert dollars_a_million(rate(price="1", **fields), **names) == 1

    @pytest.mark.parametrize("fields", [{"provider": "azure"}, {"model": "gpt-4o-mini"}, {"cost_type": "llm"}])
    def test_a_rate_for_others_does_not_count(self, fields: dict[str, str]) -> None:
        assert dollars_a_million(rate(price="1", **fields)) == Decimal("2.5")

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (datetime(2026, 2, 1, tzinfo=UTC) - MICROSECOND, "2.5"),
            (datetime(2026, 2, 1, tzinfo=UTC), "1"),
            (datetime(2026, 3, 1, tzinfo=UTC) - MICROSECOND, "1"),
            (datetime(2026, 3, 1, tzinfo=UTC), "2.5"),
        ],
    )
    def test_a_period_is_half_open(self, at: datetime, expected: str) -> None:
        february = rate(
            price="1", effective_from=datetime(2026, 2, 1, tzinfo=UTC), effective_to=datetime(2026, 3, 1, tzinfo=UTC)
        )
        book = PriceBook([february])
        counted = normalise({"input_tokens": 1_000_000})

        for moment in (NOW, at, NOW):
            found = book.price(cost_type="x", provider="openai", model="gpt-4o", quantities=counted, at=moment)
            assert found.amount == (Decimal("2.5") if moment == NOW else Decimal(expected))

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"kind": "gift"}, "kind must be one of contract, correction, rate"),
            ({"unit_price": Decimal("-1")}, "unit_price must be a Decimal of at least 0"),
            ({"unit_price": Decimal("NaN")}, "unit_price must be a Decimal of at least 0"),
            ({"unit_price": 1.5}, "unit_price must be a Decimal of at least 0"),
            ({"per": 0}, "per must be at least 1"),
        ],
    )
    def test_a_rate_that_makes_no_sense_cannot_be_made(self, fields: dict[str, Any], sentence: str) -> None:
        good: dict[str, Any] = {"kind": "rate", "bucket": "images", "unit_price": Decimal(1), "per": 1}
        nothing: dict[str, Any] = {"cost_type": None, "provider": None, "model": None, "effective_to": None}

        with pytest.raises(ValueError, match=sentence):
            Rate(**{**good, **nothing, "effective_from": NOW, "version": "1", **fields})


class TestDefaults:
    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            ({"cpu_core_hours": Decimal("0.5")}, "0.02024"),
            ({"memory_gb_hours": 2}, "0.00889"),
            ({"vector_reads": 1000}, "0.016"),
            ({"vector_writes": 1000}, "0.004"),
            ({"storage_gb_months": 10}, "0.23"),
            ({"transfer_gb": 1}, "0.085"),
        ],
    )
    def test_infrastructure_has_a_price_from_the_start(self, usage: dict[str, Any], expected: str) -> None:
        found = dollars(usage, *default_rates(), model=None, provider=None, cost_type="kubernetes")

        assert found == Decimal(expected)

    @pytest.mark.parametrize(
        ("model", "at", "expected"),
        [
            ("deepseek-chat", "2025-02-08T15:59:59Z", "0.14 0.014 0.28"),
            ("deepseek-chat", "2025-02-08T16:00:00Z", "0.27 0.07 1.1"),
            ("deepseek-chat", "2025-02-26T16:29:59Z", "0.27 0.07 1.1"),
            ("deepseek-chat", "2025-02-26T16:30:00Z", "0.135 0.035 0.55"),
            ("deepseek-chat", "2025-09-05T15:59:59Z", "0.27 0.07 1.1"),
            ("deepseek-chat", "2025-09-05T16:30:00Z", "0.56 0.07 1.68"),
            ("deepseek-chat", "2025-09-29T00:00:00Z", "0.28 0.028 0.42"),
            ("deepseek-chat", "2026-04-24T00:00:00Z", "0.14 0.0028 0.28"),
            ("deepseek-coder", "2025-01-23T00:00:00Z", "0.14 0.014 0.28"),
            ("deepseek-reasoner", "2025-02-20T20:00:00Z", "0.55 0.14 2.19"),
            ("deepseek-reasoner", "2025-03-20T20:00:00Z", "0.135 0.035 0.55"),
            ("deepseek-reasoner", "2025-10-01T20:00:00Z", "0.28 0.028 0.42"),
            ("deepseek-v4-flash", "2026-08-16T09:00:00Z", "0.14 0.0028 0.28"),
            ("deepseek-v4-pro", "2026-08-16T09:00:00Z", "0.435 0.003625 0.87"),
        ],
    )
    def test_deepseek_costs_what_its_pages_said_on_that_day(self, model: str, at: str, expected: str) -> None:
        buckets = ("input_tokens", "cache_read_tokens", "output_tokens")
        moment = datetime.fromisoformat(at)

        found = [
            dollars_a_million(*default_rates(), bucket=bucket, provider="deepseek", model=model, at=moment)
            for bucket in buckets
        ]

        assert found == [Decimal(each) for each in expected.split()]

    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("anthropic", "claude-3-5-haiku-20241022"),
            ("bedrock", "us.anthropic.claude-3-5-haiku-20241022-v1:0"),
            ("vertex_ai", "claude-3-5-haiku@20241022"),
        ],
    )
    @pytest.mark.parametrize(("day", "expected"), [("2024-12-02", "1"), ("2024-12-03", "0.8")])
    def test_claude_3_5_haiku_was_dearer_in_its_first_month(
        self, provider: str, model: str, day: str, expected: str
    ) -> None:
        at = datetime.fromisoformat(f"{day}T00:00:00+00:00")

        assert dollars_a_million(*default_rates(), provider=provider, model=model, at=at) == Decimal(expected)

    def test_a_correction_stands_where_the_list_is_wrong_and_only_there(self) -> None:
        """A correction that says what the list says would hide the next change of the list."""
        needless = []
        for correction in default_rates():
            if correction.kind != "correction" or correction.bucket == "cache_read_tokens":
                continue
            listing = resolve("llm", correction.provider, correction.model).listing
            if listing and all(
                listed(listing, correction.bucket, at) == correction.unit_price for at in hours(correction)
            ):
                needless.append(correction.version)

        assert needless == []


def hours(correction: Rate) -> list[datetime]:
    end = correction.effective_to or correction.effective_from + timedelta(days=30)
    return [correction.effective_from, end - MICROSECOND, *(end - timedelta(hours=hour) for hour in range(1, 25))]


def listed(listing: Listing, bucket: str, at: datetime) -> Decimal | None:
    key = {"input_tokens": "input_mtok", "output_tokens": "output_mtok", "cache_write_tokens": "cache_write_mtok"}[
        bucket
    ]
    unit = list_prices(listing, at).get(key)
    return unit.price if unit else None


class TestCache:
    def test_what_is_resolved_is_kept(self) -> None:
        book, counted = PriceBook(), normalise({"input_tokens": 1})

        first, second = (
            book.price(cost_type="x", provider="openai", model="gpt-4o", quantities=counted, at=at)
            for at in (NOW, NOW + timedelta(days=1))
        )

        assert first.sheet is second.sheet

    def test_names_from_outside_cannot_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(book_module, "CACHE_LIMIT", 5)
        book, counted = PriceBook(), normalise({"input_tokens": 1})

        for i in range(23):
            book.price(cost_type="x", provider="openai", model=f"gpt-{i}x", quantities=counted, at=NOW)

        assert len(book._tariffs) <= 5
