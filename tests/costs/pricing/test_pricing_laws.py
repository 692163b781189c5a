"""Laws that hold for any usage: nothing is counted twice or lost, and a price is the sum of its parts."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from costs.pricing import PriceBook, Quantities, default_rates, normalise
from costs.pricing.buckets import INFRASTRUCTURE, PIECES, TOKENS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BOOK = PriceBook(default_rates())

counts = st.integers(0, 10**9)
# Whole numbers as JSON writes them.
spelled = counts | counts.map(Decimal) | counts.map(lambda number: Decimal(f"{number}.0"))
fractions = st.decimals(0, 10**6, places=9)


def total(counted: Quantities, plain: str) -> int | Decimal:
    return sum(quantity for name, quantity in counted.buckets.items() if plain in TOKENS[name].shown_in)


@st.composite
def quantities(draw: st.DrawFn, names: tuple[str, ...] = tuple([*TOKENS, *PIECES])) -> Quantities:
    """Any disjoint buckets."""
    picked = draw(st.dictionaries(st.sampled_from(names), counts.filter(bool), min_size=1))
    return Quantities(picked, draw(st.sampled_from([None, "batch", "flex"])))


@given(quantities(), st.dictionaries(st.sampled_from([*INFRASTRUCTURE]), fractions.filter(bool)))
def test_plain_totals_and_disjoint_buckets_are_the_same_thing(
    counted: Quantities, infrastructure: dict[str, Decimal]
) -> None:
    whole = Quantities({**counted.buckets, **infrastructure}, counted.service_tier)

    assert normalise({**whole.as_plain(), "service_tier": whole.service_tier}) == whole


@given(quantities())
def test_counting_what_was_counted_changes_nothing(counted: Quantities) -> None:
    once = normalise(counted.as_plain())

    assert normalise(once.as_plain()) == once


@given(spelled, spelled, spelled, spelled, spelled)
def test_chat_tokens_add_up(fresh: Any, cached: Any, audio: Any, said: Any, thought: Any) -> None:
    usage = {
        "dialect": "openai_chat",
        "prompt_tokens": fresh + cached + audio,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
        "completion_tokens": said + thought,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }

    counted = normalise(usage)

    assert total(counted, "input_tokens") == usage["prompt_tokens"]
    assert total(counted, "output_tokens") == usage["completion_tokens"]
    assert total(counted, "cache_read_tokens") == cached
    assert total(counted, "reasoning_tokens") == thought


@given(counts, counts, counts)
def test_audio_and_cache_may_overlap_in_chat_and_still_add_up(prompt: int, cached: int, audio: int) -> None:
    prompt = max(prompt, cached, audio)
    details = {"cached_tokens": cached, "audio_tokens": audio}

    counted = normalise({"dialect": "openai_chat", "prompt_tokens": prompt, "prompt_tokens_details": details})

    assert total(counted, "input_tokens") == prompt
    assert total(counted, "cache_read_tokens") == cached
    assert total(counted, "input_audio_tokens") == audio


@given(spelled, spelled, spelled, spelled, spelled)
def test_response_tokens_add_up(fresh: Any, cached: Any, image: Any, said: Any, thought: Any) -> None:
    usage = {
        "dialect": "openai_responses",
        "input_tokens": fresh + cached + image,
        "input_tokens_details": {"cached_tokens": cached, "image_tokens": image},
        "output_tokens": said + thought,
        "output_tokens_details": {"reasoning_tokens": thought},
    }

    counted = normalise(usage)

    assert total(counted, "input_tokens") == usage["input_tokens"]
    assert total(counted, "output_tokens") == usage["output_tokens"]


@given(spelled, spelled, spelled, spelled, spelled)
def test_tokens_of_anthropic_add_up(fresh: Any, read: Any, minutes: Any, hour: Any, said: Any) -> None:
    usage = {
        "dialect": "anthropic",
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": minutes + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour},
        "output_tokens": said,
    }

    counted = normalise(usage)

    assert total(counted, "input_tokens") == fresh + read + minutes + hour
    assert total(counted, "cache_write_tokens") == minutes + hour
    assert counted.buckets.get("cache_write_1h_tokens", 0) == hour


@given(spelled, spelled, spelled, spelled, spelled, spelled)
def test_tokens_of_gemini_add_up(text: Any, cached: Any, audio: Any, tools: Any, said: Any, thought: Any) -> None:
    usage = {
        "dialect": "gemini",
        "promptTokenCount": text + cached + audio,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": audio}],
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": said,
        "thoughtsTokenCount": thought,
        "totalTokenCount": text + cached + audio + tools + said + thought,
    }

    counted = normalise(usage)

    assert sum(counted.buckets.values()) == usage["totalTokenCount"]
    assert total(counted, "output_tokens") == said + thought


# Buckets that gpt-4o has a price for, so few tokens that no context step is in reach.
priced = quantities(("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens", "web_search_requests"))
infrastructure = st.dictionaries(st.sampled_from([*INFRASTRUCTURE]), fractions, min_size=1).map(Quantities)


def dollars(counted: Quantities) -> Decimal:
    untiered = Quantities(counted.buckets)
    found = BOOK.price(cost_type="openai_api", provider="openai", model="gpt-4o", quantities=untiered, at=NOW)
    assert found.amount is not None, found.reason
    return found.amount


def together(one: Quantities, other: Quantities) -> Quantities:
    names = {**one.buckets, **other.buckets}
    return Quantities({name: one.buckets.get(name, 0) + other.buckets.get(name, 0) for name in names})


@given(priced, priced)
def test_two_uses_cost_as_much_as_both_in_one(one: Quantities, other: Quantities) -> None:
    assert dollars(together(one, other)) == dollars(one) + dollars(other)


@given(priced, st.integers(0, 1000))
def test_as_many_times_the_tokens_cost_as_many_times_the_dollars(counted: Quantities, times: int) -> None:
    many = Quantities({name: quantity * times for name, quantity in counted.buckets.items()})

    assert dollars(many) == times * dollars(counted)


@given(priced | infrastructure)
def test_a_price_is_the_sum_of_its_components_and_each_is_its_formula(counted: Quantities) -> None:
    untiered = Quantities(counted.buckets)
    found = BOOK.price(cost_type="llm", provider="openai", model="gpt-4o", quantities=untiered, at=NOW)

    assert found.amount == sum((part.amount for part in found.components), Decimal(0)).quantize(Decimal("1e-12"))
    for part in found.components:
        assert part.amount * part.per == part.quantity * part.unit_price
        assert part.amount >= 0


@given(quantities())
def test_a_price_is_whole_or_has_a_reason(counted: Quantities) -> None:
    found = BOOK.price(cost_type="openai_api", provider="openai", model="gpt-4o", quantities=counted, at=NOW)

    assert (found.amount is None) == bool(found.reason)
    assert {part.bucket for part in found.components} == (set(counted.buckets) if found.amount is not None else set())
