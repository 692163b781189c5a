"""Which cheaper model would have saved what: exactly what its own lines cost anew, and nothing that could not serve."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from controls import mix, switches
from controls import recommendations as module
from controls.models import Switch
from controls.recommendations import kind_of, recommendations
from controls.retirements import RETIRED_ON, Retirements
from costs import outcomes
from costs.events import encode
from costs.models import CostEvent
from costs.periods import InvalidQuery, Span
from costs.pricing import PriceBook, Quantities, default_rates, library
from tests.costs.conftest import Ledger, usage_event
from tests.costs.pricing.test_price_book import rate

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 34, tzinfo=UTC)
USED = NOW - timedelta(days=1)
BOOK = PriceBook(default_rates())


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()


def recommended(prices: PriceBook = BOOK, at: datetime = NOW, **asked: Any) -> dict[str, Any]:
    switches.forget()
    return recommendations(at=at, prices=prices, lists=switches.stored(at), **asked)


def options(found: dict[str, Any], place: int = 0) -> list[str]:
    return [option["model"] for option in found["recommendations"][place]["options"]]


def used(ledger: Ledger, given: int = 1000, back: int = 500, count: int = 1, **fields: Any) -> None:
    usage = {"input_tokens": given, "output_tokens": back}
    event: dict[str, Any] = {"usage": usage, "timestamp": USED, "persona_id": "a", "operation": "hook"} | fields
    ledger.record([usage_event(**event) for _ in range(count)], at=max(NOW, event["timestamp"]))


def one_by_one(lines: Sequence[CostEvent], prices: PriceBook, model: str, provider: str | None = None) -> Decimal:
    """Each line repriced with a model, at its own time."""
    total = Decimal(0)
    for line in lines:
        assert line.counted is not None
        amount = prices.price(
            cost_type=line.cost_type,
            provider=provider or line.provider,
            model=model,
            quantities=line.counted,
            at=line.timestamp,
        ).amount
        assert amount is not None
        total += amount
    return total


class TestWhatItWouldHaveSaved:
    def test_the_dearest_first_with_the_listed_target_and_what_else_the_provider_sells(self, ledger: Ledger) -> None:
        used(ledger, count=3)
        used(ledger, count=2, operation="image", persona_id="b")

        found = recommended()

        first = found["recommendations"][0]
        assert (first["persona_id"], first["operation"], first["model"], first["calls"]) == ("a", "hook", "gpt-4o", 3)
        assert (first["cost"], first["largest_call_tokens"]) == (Decimal("0.0225"), 1500)
        listed = next(option for option in first["options"] if option["is_listed"])
        assert (listed["model"], listed["cost"], listed["saved"]) == (
            "gpt-4o-mini",
            Decimal("0.00135"),
            Decimal("0.02115"),
        )
        assert (listed["saved_percent"], listed["retires_on"]) == (94, date(2027, 1, 14))
        assert first["saved"] == first["options"][0]["saved"] >= listed["saved"]
        assert [each["persona_id"] for each in found["recommendations"]] == ["a", "b"]
        assert found["saved"] == sum(each["saved"] for each in found["recommendations"])

    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_to_the_last_decimal_what_the_same_lines_cost_anew(self, ledger: Ledger, seed: int) -> None:
        dice = random.Random(seed)
        models = [("openai", "gpt-4o"), ("google", "gemini-2.5-pro"), ("deepseek", "deepseek-reasoner")]
        models += [("anthropic", "claude-opus-4-1"), ("perplexity", "sonar-pro")]
        events = []
        for _ in range(120):
            provider, model = dice.choice(models)
            given = dice.choice([7, 1000, 31_999, 128_000, 200_000, 200_001, 260_000])
            usage = {
                "input_tokens": given,
                "cache_read_tokens": dice.randrange(given),
                "output_tokens": dice.randrange(900),
            }
            names = {"provider": provider, "model": model, "cost_type": f"{provider}_api"}
            at = NOW - timedelta(seconds=dice.randrange(3600, 30 * 86_400))
            events.append(usage_event(**names, usage=usage, timestamp=at, persona_id=dice.choice("ab")))
        ledger.record(events, at=NOW)
        lines = list(CostEvent.objects.charges())

        found = recommended()

        assert len(found["recommendations"]) >= 4
        for each in found["recommendations"]:
            own = [line for line in lines if (line.persona_id, line.model) == (each["persona_id"], each["model"])]
            assert each["calls"] == len(own)
            assert each["cost"] == one_by_one(own, BOOK, each["model"])
            for option in each["options"]:
                assert option["cost"] == one_by_one(own, BOOK, option["model"], option["provider"])
                assert option["saved"] == each["cost"] - option["cost"]

    def test_prices_that_change_in_between_count_for_the_lines_of_their_time(self, ledger: Ledger) -> None:
        change = USED + timedelta(hours=1)
        book = PriceBook(
            [
                rate(model="gpt-4o-mini", bucket="output_tokens", price="0"),
                rate(model="gpt-4o-mini", price="1", effective_to=change),
                rate(model="gpt-4o-mini", price="2", effective_from=change),
            ]
        )
        for at in (change - timedelta(microseconds=1), change):
            used(ledger, 1_000, 0, timestamp=at)

        found = recommended(book)

        mini = next(option for option in found["recommendations"][0]["options"] if option["is_listed"])
        assert mini["cost"] == Decimal("0.003")

    def test_a_fee_for_each_request_counts_for_each(self, ledger: Ledger) -> None:
        used(ledger, count=3, provider="perplexity", model="sonar-pro", cost_type="perplexity_api")

        (found,) = recommended()["recommendations"]

        sonar = next(option for option in found["options"] if option["model"] == "sonar")
        assert sonar["cost"] == 3 * (Decimal("0.0015") + Decimal("0.012"))

    @pytest.mark.parametrize("at", [NOW - timedelta(days=30, hours=1), NOW])
    def test_only_the_full_hours_of_the_last_days_count(self, ledger: Ledger, at: datetime) -> None:
        used(ledger, timestamp=at)

        assert recommended()["recommendations"] == []


class TestWhatServes:
    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (datetime(2026, 10, 22, 23, 59, tzinfo=UTC), ["gpt-3.5-turbo-0125", "gpt-4o-mini"]),
            (datetime(2026, 10, 23, tzinfo=UTC), ["gpt-4o-mini"]),
            (datetime(2027, 1, 14, tzinfo=UTC), []),
        ],
    )
    def test_what_is_retired_by_now_is_not_proposed(self, ledger: Ledger, at: datetime, expected: list[str]) -> None:
        used(ledger, timestamp=at - timedelta(days=1))

        (found,) = recommended(at=at)["recommendations"]

        assert sorted(option["model"] for option in found["options"] if option["is_listed"]) == expected
        for option in found["options"]:
            assert option["retires_on"] is None or at.date() < option["retires_on"]

    def test_a_day_that_a_person_has_entered_counts_before_ours(self, ledger: Ledger) -> None:
        Switch.objects.filter(target="gpt-4o-mini").update(retired_on=NOW.date())
        used(ledger)

        assert "gpt-4o-mini" not in options(recommended())

    def test_what_is_too_small_for_the_largest_call_is_not_proposed(self, ledger: Ledger) -> None:
        at = datetime(2026, 9, 1, tzinfo=UTC)
        used(ledger, 16_000, 385, timestamp=at - timedelta(days=1))
        assert "gpt-3.5-turbo-0125" in options(recommended(at=at))

        used(ledger, 16_000, 386, timestamp=at - timedelta(days=1))

        assert "gpt-3.5-turbo-0125" not in options(recommended(at=at))
        assert "gpt-4o-mini" in options(recommended(at=at))

    def test_what_has_no_price_for_something_that_was_used_is_not_proposed(self, ledger: Ledger) -> None:
        usage = {"input_tokens": 1000, "input_audio_tokens": 900, "output_tokens": 10}
        used(ledger, model="gpt-4o-audio-preview", usage=usage)

        for option in (each for found in recommended()["recommendations"] for each in found["options"]):
            assert "audio" in option["model"]

    def test_an_embedding_is_not_replaced_by_a_model_that_writes(self, ledger: Ledger) -> None:
        used(ledger, model="text-embedding-3-large", usage={"input_tokens": 8_000})

        assert options(recommended()) == ["text-embedding-3-small", "text-embedding-ada-002"]

    def test_the_cheapest_has_nothing_to_save(self, ledger: Ledger) -> None:
        used(ledger, model="gpt-5-nano")
        found = recommended()

        cheapest = found["recommendations"][0]["options"][0]["model"] if found["recommendations"] else "gpt-5-nano"
        used(ledger, model=cheapest, persona_id="z")

        assert "z" not in [each["persona_id"] for each in recommended()["recommendations"]]

    def test_a_tier_is_compared_with_the_same_tier(self, ledger: Ledger) -> None:
        usage = {"dialect": "openai_chat", "prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
        used(ledger, model="gpt-5.4", usage={**usage, "service_tier": "flex"})
        line = CostEvent.objects.get()
        assert line.service_tier == "flex"
        assert line.cost_amount is not None

        (found,) = recommended()["recommendations"]

        assert (found["service_tier"], found["cost"]) == ("flex", line.cost_amount)
        for option in found["options"]:
            assert option["cost"] == one_by_one([line], BOOK, option["model"])

    def test_what_has_no_price_itself_is_left_out(self, ledger: Ledger) -> None:
        used(ledger, model="house-model")

        assert recommended()["recommendations"] == []

    @pytest.mark.parametrize(
        ("one", "other", "is_alike"),
        [
            ("gpt-4o", "gpt-4o-mini", True),
            ("gpt-4o", "gpt-4o-mini-tts", False),
            ("gpt-4o-audio-preview", "gpt-4o-mini-audio-preview", True),
            ("gpt-4o-audio-preview", "gpt-audio", False),
            ("openai/gpt-4o:batch", "openai/gpt-4o", False),
        ],
    )
    def test_names_tell_what_a_model_is_for(self, one: str, other: str, is_alike: bool) -> None:
        assert (kind_of(one) == kind_of(other)) is is_alike


class TestRanks:
    def outcome(self, persona_id: str, **fields: Any) -> None:
        told = {"event_id": persona_id, "timestamp": USED, "post_id": "p", "persona_id": persona_id} | fields
        receipts = outcomes.accept([encode(told)], source="default", personas=None, at=NOW, using="default")
        assert receipts[0].status == "accepted"

    def test_by_return_who_gains_most_for_each_dollar_comes_first(self, ledger: Ledger) -> None:
        for persona_id, count in (("big", 4), ("sells", 2), ("followed", 3)):
            used(ledger, persona_id=persona_id, count=count)
        self.outcome("sells", kind="revenue", amount="3")
        self.outcome("followed", kind="follow", quantity=9)

        by_money, by_return = (recommended(rank_by=rank)["recommendations"] for rank in ("saved", "return_per_dollar"))

        assert [each["persona_id"] for each in by_money] == ["big", "followed", "sells"]
        assert [each["persona_id"] for each in by_return] == ["sells", "followed", "big"]
        sells = by_return[0]
        assert sells["return_per_dollar"]["now"] == 200
        assert sells["return_per_dollar"]["then"] == (3 / (Decimal("0.015") - sells["saved"])).quantize(Decimal("1e-6"))
        assert by_return[1]["follows_per_dollar"]["now"] == 400
        assert by_return[2]["return_per_dollar"] is None

    def test_what_else_a_persona_spends_lowers_its_return(self, ledger: Ledger) -> None:
        used(ledger)
        ledger.record([{"cost_type": "cdn", "amount": "0.0225", "persona_id": "a", "timestamp": USED}], at=NOW)
        self.outcome("a", kind="revenue", amount="3")

        (found,) = recommended()["recommendations"]

        assert found["return_per_dollar"]["now"] == 100


class TestWhose:
    def test_one_persona_and_what_a_key_may_see(self, ledger: Ledger) -> None:
        for persona_id in ("a", "b"):
            used(ledger, persona_id=persona_id)

        for asked in ({"persona_id": "a"}, {"personas": ["a"]}):
            assert [each["persona_id"] for each in recommended(**asked)["recommendations"]] == ["a"]
        assert recommended(persona_id="b", personas=["a"])["recommendations"] == []

    def test_too_many_lines_for_a_request_are_refused_before_they_are_read(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used(ledger, count=3)
        monkeypatch.setattr(module, "MOST_CHARGES", 2)

        with pytest.raises(InvalidQuery, match="days: has 3 charges, more than 2: ask for fewer or a persona"):
            recommended()

    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            ({"days": 0}, "days: must lie between 1 and 90"),
            ({"days": 91}, "days: must lie between 1 and 90"),
            ({"rank_by": "luck"}, "rank_by: must be saved or return_per_dollar, not 'luck'"),
        ],
    )
    def test_wrong_parameters_are_named(self, asked: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InvalidQuery, match=sentence):
            recommended(**asked)


class TestMix:
    def test_edges_are_where_prices_change(self) -> None:
        models = [mix.Model("deepseek_api", "deepseek", "deepseek-chat")]
        span = Span(datetime(2025, 9, 4, tzinfo=UTC), datetime(2025, 9, 6, tzinfo=UTC))

        edges = mix.edges_of(span, models, BOOK)

        assert edges[0] == span.start
        assert datetime(2025, 9, 5, 16, tzinfo=UTC) in edges
        for edge in edges[1:]:
            assert span.start < edge < span.end

    def test_a_sum_costs_what_its_parts_do_on_both_sides_of_a_step(self) -> None:
        sheet = BOOK.tariff(("google_api", "google", "gemini-2.5-pro", None), NOW).sheet
        short, long = ({"input_tokens": count, "output_tokens": 10} for count in (200_000, 200_001))

        for usage in (short, long):
            thrice = {name: 3 * count for name, count in usage.items()}
            amount = sheet.price(Quantities(usage)).amount
            assert amount is not None
            assert sheet.price_of_many(thrice, requests=3, context=usage["input_tokens"]) == 3 * amount


class TestRetirements:
    def test_every_name_is_one_of_the_price_list(self) -> None:
        listed = {each.id for provider in ("openai", "anthropic", "google") for each in library.listings(provider)}

        assert RETIRED_ON.keys() <= listed

    def test_the_last_day_is_the_one_before(self) -> None:
        assert Retirements().is_alive(datetime(2026, 10, 22, 23, 59, tzinfo=UTC), "GPT-4")
        assert not Retirements().is_alive(datetime(2026, 10, 23, tzinfo=UTC), "GPT-4")
        assert Retirements().is_alive(NOW, "house-model", None)


class TestCommand:
    def test_it_prints_a_line_for_each_work(self, ledger: Ledger) -> None:
        at = now() - timedelta(hours=2)
        ledger.record([usage_event(persona_id="a", operation="hook", timestamp=at)])
        switches.forget()
        out = StringIO()

        call_command("recommend", "--days", "7", stdout=out)

        assert "gpt-4o " in out.getvalue()
        assert "a / hook" in out.getvalue()

    def test_nothing_to_recommend_is_said(self) -> None:
        out = StringIO()

        call_command("recommend", "--persona", "nobody", stdout=out)

        assert "No cheaper model" in out.getvalue()

    def test_wrong_days_are_refused(self) -> None:
        with pytest.raises(CommandError, match="days: must lie between 1 and 90"):
            call_command("recommend", "--days", "0")
