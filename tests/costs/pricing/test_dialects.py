"""What providers report, as disjoint buckets: every token is counted once, and what cannot be counted is refused."""

import json
from decimal import Decimal
from typing import Any

import pytest

from costs.pricing import DIALECTS, UsageError, normalise


def refusal(usage: Any) -> tuple[str, str]:
    with pytest.raises(UsageError) as raised:
        normalise(usage)
    return raised.value.path, raised.value.sentence


def parsed(text: str) -> Any:
    """As requests are parsed: no float is ever made of a number."""
    return json.loads(text, parse_float=Decimal)


class TestPlain:
    def test_a_part_is_taken_out_of_its_total(self) -> None:
        counted = normalise({"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 500})

        assert counted.buckets == {"input_tokens": 800, "cache_read_tokens": 200, "output_tokens": 500}
        assert counted.service_tier is None

    def test_every_part_is_taken_out_of_all_that_contain_it(self) -> None:
        counted = normalise(
            {
                "input_tokens": 1000,
                "cache_read_tokens": 300,
                "cache_write_tokens": 200,
                "cache_write_1h_tokens": 50,
                "input_audio_tokens": 100,
                "cache_read_audio_tokens": 40,
                "input_image_tokens": 10,
                "output_tokens": 500,
                "reasoning_tokens": 400,
                "output_audio_tokens": 30,
            }
        )

        assert counted.buckets == {
            "input_tokens": 1000 - 300 - 200 - (100 - 40) - 10,
            "cache_read_tokens": 300 - 40,
            "cache_write_tokens": 200 - 50,
            "cache_write_1h_tokens": 50,
            "input_audio_tokens": 100 - 40,
            "cache_read_audio_tokens": 40,
            "input_image_tokens": 10,
            "output_tokens": 500 - 400 - 30,
            "reasoning_tokens": 400,
            "output_audio_tokens": 30,
        }

    def test_a_total_that_is_all_one_part_leaves_no_empty_bucket(self) -> None:
        assert normalise({"input_tokens": 7, "cache_read_tokens": 7}).buckets == {"cache_read_tokens": 7}

    def test_infrastructure_may_be_fractions_and_text(self) -> None:
        counted = normalise({"cpu_core_hours": Decimal("0.25"), "memory_gb_hours": "1.5", "vector_reads": 3})

        assert counted.buckets == {
            "cpu_core_hours": Decimal("0.25"),
            "memory_gb_hours": Decimal("1.5"),
            "vector_reads": 3,
        }

    @pytest.mark.parametrize("dialect", [None, "plain"])
    def test_it_is_the_dialect_of_those_who_name_none(self, dialect: str | None) -> None:
        named = {} if dialect is None else {"dialect": dialect}

        assert normalise({**named, "images": 2}).buckets == {"images": 2}

    @pytest.mark.parametrize(
        ("usage", "path", "sentence"),
        [
            ({}, "usage", "names nothing that was used"),
            ({"dialect": "plain"}, "usage", "names nothing that was used"),
            ({"input_token": 1}, "usage.input_token", "is not a known usage field"),
            ({"prompt_tokens": 1}, "usage.prompt_tokens", "is not a known usage field"),
            ({"input_tokens": 1, "requests": 1}, "usage.requests", "is not a known usage field"),
            ({"input_tokens": 1, "service_tier": 3}, "usage.service_tier", "must be a string"),
            ({"input_tokens": 1, "service_tier": "a b"}, "usage.service_tier", "must be the name of a tier, up to 40"),
        ],
    )
    def test_what_it_does_not_know_is_refused(self, usage: Any, path: str, sentence: str) -> None:
        found = refusal(usage)

        assert found[0] == path
        assert found[1].startswith(sentence)

    @pytest.mark.parametrize(
        ("usage", "path", "sentence"),
        [
            (
                {"input_tokens": 9, "cache_read_tokens": 10},
                "usage.input_tokens",
                "is 9, but its parts are more: cache_read_tokens 10",
            ),
            (
                {"cache_read_tokens": 1},
                "usage.input_tokens",
                "is 0, but its parts are more: cache_read_tokens 1",
            ),
            (
                {"input_tokens": 1000, "cache_read_tokens": 600, "cache_write_tokens": 500},
                "usage.input_tokens",
                "is 1,000, but its parts are more: cache_read_tokens 600 + cache_write_tokens 500",
            ),
            (
                {"input_tokens": 9, "cache_write_tokens": 1, "cache_write_1h_tokens": 2},
                "usage.cache_write_tokens",
                "is 1, but its parts are more: cache_write_1h_tokens 2",
            ),
            (
                {"input_tokens": 9, "cache_read_tokens": 3, "cache_read_audio_tokens": 3},
                "usage.input_audio_tokens",
                "is 0, but its parts are more: cache_read_audio_tokens 3",
            ),
            (
                {"output_tokens": 5, "reasoning_tokens": 6},
                "usage.output_tokens",
                "is 5, but its parts are more: reasoning_tokens 6",
            ),
        ],
    )
    def test_parts_never_exceed_their_total(self, usage: Any, path: str, sentence: str) -> None:
        assert refusal(usage) == (path, sentence)


class TestNumbers:
    @pytest.mark.parametrize("text", ["0", "7", "7.0", "7e0", "0.7e1", "999999999999", "9.99999999999e11"])
    def test_a_count_is_any_json_number_that_is_whole(self, text: str) -> None:
        counted = normalise(parsed(f'{{"input_tokens": {text}}}'))

        assert sum(counted.buckets.values()) == Decimal(text)
        assert all(type(quantity) is int for quantity in counted.buckets.values())

    @pytest.mark.parametrize("value", [True, False, None, "7", "1_0", "\uff17", 1.0, [], {}, Decimal("NaN")])
    def test_anything_else_is_no_count(self, value: Any) -> None:
        assert refusal({"input_tokens": value}) == ("usage.input_tokens", "must be a whole number")

    @pytest.mark.parametrize("text", ["0.5", "1.000000000001", "1e-400"])
    def test_a_fraction_is_no_count(self, text: str) -> None:
        assert refusal(parsed(f'{{"input_tokens": {text}}}')) == ("usage.input_tokens", "must be a whole number")

    @pytest.mark.parametrize("text", ["-1", "-1.0", "1000000000000", "1e12", "1e400"])
    def test_a_count_has_bounds(self, text: str) -> None:
        path, sentence = refusal(parsed(f'{{"input_tokens": {text}}}'))

        assert (path, sentence) == ("usage.input_tokens", "must lie between 0 and 999,999,999,999")

    @pytest.mark.parametrize(
        ("value", "sentence"),
        [
            ("1_0", "must be a plain decimal number"),
            ("\uff11", "must be a plain decimal number"),
            (" 1", "must be a plain decimal number"),
            ("1e3", "must be a plain decimal number"),
            ("-1", "must be a plain decimal number"),
            ("NaN", "must be a plain decimal number"),
            (True, "must be a decimal number"),
            (0.5, "must be a decimal number"),
            (None, "must be a decimal number"),
            (Decimal("NaN"), "must lie between 0 and 999,999,999,999"),
            (Decimal("Infinity"), "must lie between 0 and 999,999,999,999"),
            (Decimal("-0.1"), "must lie between 0 and 999,999,999,999"),
            (Decimal(10**12), "must lie between 0 and 999,999,999,999"),
            (Decimal("1e-41"), "must not have more than 40 digits"),
            (Decimal("0." + "1" * 41), "must not have more than 40 digits"),
        ],
    )
    def test_a_quantity_of_infrastructure_is_a_plain_decimal(self, value: Any, sentence: str) -> None:
        assert refusal({"cpu_core_hours": value}) == ("usage.cpu_core_hours", sentence)


class TestOpenAIChat:
    def test_prompt_tokens_include_cached_ones_and_completion_tokens_include_reasoning(self) -> None:
        counted = normalise(
            {
                "dialect": "openai_chat",
                "prompt_tokens": 1000,
                "completion_tokens": 500,
                "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 200, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 300, "accepted_prediction_tokens": 0},
                "service_tier": "default",
            }
        )

        assert counted.buckets == {
            "input_tokens": 800,
            "cache_read_tokens": 200,
            "output_tokens": 200,
            "reasoning_tokens": 300,
        }
        assert counted.service_tier is None

    @pytest.mark.parametrize("field", ["prompt_cache_hit_tokens", "cached_tokens"])
    def test_cache_hits_may_stand_beside_the_details(self, field: str) -> None:
        counted = normalise({"dialect": "openai_chat", "prompt_tokens": 10, "completion_tokens": 0, field: 4})

        assert counted.buckets == {"input_tokens": 6, "cache_read_tokens": 4}

    def test_what_the_total_has_beyond_the_two_is_output(self) -> None:
        counted = normalise(
            {
                "dialect": "openai_chat",
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            }
        )

        assert counted.buckets == {"input_tokens": 10, "output_tokens": 5, "reasoning_tokens": 100}

    def test_citations_and_reasoning_of_perplexity_stand_beside_the_completion(self) -> None:
        counted = normalise(
            {
                "dialect": "openai_chat",
                "prompt_tokens": 33,
                "completion_tokens": 7163,
                "total_tokens": 7196,
                "citation_tokens": 20016,
                "reasoning_tokens": 73997,
                "num_search_queries": 18,
            }
        )

        assert counted.buckets == {
            "input_tokens": 33,
            "output_tokens": 7163,
            "citation_tokens": 20016,
            "reasoning_tokens": 73997,
            "web_search_requests": 18,
        }

    def test_audio_that_can_only_have_been_cached_is_cached_audio(self) -> None:
        details = {"cached_tokens": 80, "audio_tokens": 60}

        counted = normalise({"dialect": "openai_chat", "prompt_tokens": 100, "prompt_tokens_details": details})

        assert counted.buckets == {
            "input_audio_tokens": 20,
            "cache_read_tokens": 40,
            "cache_read_audio_tokens": 40,
        }

    @pytest.mark.parametrize(
        ("usage", "path", "sentence"),
        [
            ({"completion_tokens": 5}, "usage.prompt_tokens", "is missing: is the dialect the right one?"),
            ({"prompt_tokens": None}, "usage.prompt_tokens", "is missing: is the dialect the right one?"),
            ({"prompt_tokens": "12"}, "usage.prompt_tokens", "must be a whole number"),
            (
                {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 2},
                "usage.total_tokens",
                "is less than prompt_tokens + completion_tokens",
            ),
            (
                {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
                "usage.prompt_tokens",
                "is 1, but its parts are more: cache_read_tokens 2",
            ),
            (
                {"prompt_tokens": 1, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
                "usage.completion_tokens",
                "is 2, but its parts are more: reasoning_tokens 3",
            ),
            ({"prompt_tokens": 1, "prompt_tokens_details": [1]}, "usage.prompt_tokens_details", "must be an object"),
            (
                {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": "1"}},
                "usage.prompt_tokens_details.cached_tokens",
                "must be a whole number",
            ),
        ],
    )
    def test_what_does_not_add_up_is_refused_in_its_own_words(self, usage: Any, path: str, sentence: str) -> None:
        assert refusal({"dialect": "openai_chat", **usage}) == (path, sentence)


class TestOpenAIResponses:
    def test_input_tokens_include_cached_ones_and_output_tokens_include_reasoning(self) -> None:
        counted = normalise(
            {
                "dialect": "openai_responses",
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 100, "image_tokens": 50},
                "output_tokens": 500,
                "output_tokens_details": {"reasoning_tokens": 300, "image_tokens": 20},
                "total_tokens": 1500,
                "service_tier": "flex",
            }
        )

        assert counted.buckets == {
            "input_tokens": 650,
            "cache_read_tokens": 200,
            "cache_write_tokens": 100,
            "input_image_tokens": 50,
            "output_tokens": 180,
            "reasoning_tokens": 300,
            "output_image_tokens": 20,
        }
        assert counted.service_tier == "flex"

    def test_chat_usage_under_this_name_is_refused(self) -> None:
        usage = {"dialect": "openai_responses", "prompt_tokens": 1, "completion_tokens": 1}

        assert refusal(usage) == ("usage.input_tokens", "is missing: is the dialect the right one?")


class TestAnthropic:
    def test_input_tokens_exclude_what_the_cache_was_read_and_written(self) -> None:
        counted = normalise(
            {
                "dialect": "anthropic",
                "input_tokens": 100,
                "cache_read_input_tokens": 2000,
                "cache_creation_input_tokens": 500,
                "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
                "output_tokens": 50,
                "service_tier": "standard",
            }
        )

        assert counted.buckets == {
            "input_tokens": 100,
            "cache_read_tokens": 2000,
            "cache_write_tokens": 300,
            "cache_write_1h_tokens": 200,
            "output_tokens": 50,
        }
        assert counted.service_tier is None

    def test_cache_writes_of_unknown_kind_last_five_minutes(self) -> None:
        counted = normalise(
            {"dialect": "anthropic", "input_tokens": 0, "cache_creation_input_tokens": 5, "cache_creation": None}
        )

        assert counted.buckets == {"cache_write_tokens": 5}

    def test_a_server_tool_is_a_bucket_of_its_own_unless_it_is_free(self) -> None:
        tools = {"web_search_requests": 2, "web_fetch_requests": 9, "code_dancing_requests": Decimal(1)}

        counted = normalise({"dialect": "anthropic", "input_tokens": 1, "server_tool_use": tools})

        assert counted.buckets == {"input_tokens": 1, "web_search_requests": 2, "code_dancing_requests": 1}

    @pytest.mark.parametrize(
        ("fields", "tier"),
        [
            ({"service_tier": "standard"}, None),
            ({"service_tier": "batch"}, "batch"),
            ({"service_tier": "priority"}, "priority"),
            ({"speed": "fast"}, "fast"),
            ({"inference_geo": "global"}, None),
            ({"inference_geo": "not_available"}, None),
            ({"inference_geo": "us"}, "geo-us"),
            ({"service_tier": "batch", "speed": "fast", "inference_geo": "US"}, "batch+fast+geo-us"),
        ],
    )
    def test_all_that_changes_the_price_is_in_the_tier(self, fields: dict[str, str], tier: str | None) -> None:
        assert normalise({"dialect": "anthropic", "input_tokens": 1, **fields}).service_tier == tier

    def test_cache_writes_that_do_not_add_up_are_refused(self) -> None:
        usage = {
            "dialect": "anthropic",
            "input_tokens": 1,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 6},
        }

        assert refusal(usage) == ("usage.cache_creation", "adds up to more than cache_creation_input_tokens")


class TestGemini:
    def test_thoughts_stand_beside_the_candidates_and_tool_results_beside_the_prompt(self) -> None:
        counted = normalise(
            {
                "dialect": "gemini",
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 400,
                "toolUsePromptTokenCount": 50,
                "candidatesTokenCount": 200,
                "thoughtsTokenCount": 300,
                "totalTokenCount": 1550,
                "trafficType": "ON_DEMAND",
            }
        )

        assert counted.buckets == {
            "input_tokens": 650,
            "cache_read_tokens": 400,
            "output_tokens": 200,
            "reasoning_tokens": 300,
        }
        assert counted.service_tier is None

    def test_modalities_are_buckets_and_documents_are_images(self) -> None:
        counted = normalise(
            {
                "dialect": "gemini",
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 100,
                "candidatesTokenCount": 20,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 600},
                    {"modality": "AUDIO", "tokenCount": 200},
                    {"modality": "IMAGE", "tokenCount": 90},
                    {"modality": "DOCUMENT", "tokenCount": 10},
                    {"modality": "VIDEO", "tokenCount": 100},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 70}],
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 15}],
            }
        )

        assert counted.buckets == {
            "input_tokens": 570,
            "cache_read_tokens": 30,
            "cache_read_audio_tokens": 70,
            "input_audio_tokens": 130,
            "input_image_tokens": 100,
            "input_video_tokens": 100,
            "output_tokens": 5,
            "output_audio_tokens": 15,
        }

    @pytest.mark.parametrize(
        ("traffic", "tier"),
        [
            ("ON_DEMAND", None),
            ("TRAFFIC_TYPE_UNSPECIFIED", None),
            ("ON_DEMAND_PRIORITY", "priority"),
            ("ON_DEMAND_FLEX", "flex"),
            ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
        ],
    )
    def test_the_kind_of_traffic_is_the_tier(self, traffic: str, tier: str | None) -> None:
        assert normalise({"dialect": "gemini", "promptTokenCount": 1, "trafficType": traffic}).service_tier == tier

    @pytest.mark.parametrize(
        ("usage", "path", "sentence"),
        [
            ({"totalTokenCount": 9}, "usage.promptTokenCount", "is missing: is the dialect the right one?"),
            ({"prompt_token_count": 9}, "usage.promptTokenCount", "is missing: is the dialect the right one?"),
            ({"promptTokenCount": 1, "promptTokensDetails": {"a": 1}}, "usage.promptTokensDetails", "must be a list"),
            ({"promptTokenCount": 1, "promptTokensDetails": [1]}, "usage.promptTokensDetails[0]", "must be an object"),
            (
                {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": "1"}]},
                "usage.promptTokensDetails[0].tokenCount",
                "must be a whole number",
            ),
            (
                {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]},
                "usage.promptTokenCount",
                "is 1, but its parts are more: input_audio_tokens 2",
            ),
        ],
    )
    def test_what_does_not_add_up_is_refused(self, usage: Any, path: str, sentence: str) -> None:
        assert refusal({"dialect": "gemini", **usage}) == (path, sentence)


class TestTiers:
    @pytest.mark.parametrize("name", ["", "standard", "Default", " auto ", "on_demand", "not_available"])
    def test_the_ordinary_ones_have_no_name(self, name: str) -> None:
        assert normalise({"input_tokens": 1, "service_tier": name}).service_tier is None

    @pytest.mark.parametrize(("name", "tier"), [("Flex", "flex"), ("batch", "batch"), ("scale-2", "scale-2")])
    def test_the_others_keep_theirs_in_lower_case(self, name: str, tier: str) -> None:
        assert normalise({"input_tokens": 1, "service_tier": name}).service_tier == tier


def test_an_unknown_dialect_is_refused_with_the_known_ones() -> None:
    known = "must be one of anthropic, gemini, openai_chat, openai_responses, plain"

    assert refusal({"dialect": "klingon", "input_tokens": 1}) == ("usage.dialect", known)
    assert refusal({"dialect": ["plain"]}) == ("usage.dialect", known)
    assert refusal({"dialect": None}) == ("usage.dialect", known)


@pytest.mark.parametrize("usage", [None, [], "plain", 7])
def test_usage_is_an_object(usage: Any) -> None:
    assert refusal(usage) == ("usage", "must be an object")


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"plain"}))
def test_fields_of_a_provider_that_nobody_knows_are_let_pass(dialect: str) -> None:
    main = {"openai_chat": "prompt_tokens", "gemini": "promptTokenCount"}.get(dialect, "input_tokens")

    counted = normalise({"dialect": dialect, main: 3, "something_new": {"tokens": 5}})

    assert counted.buckets == {"input_tokens": 3}
