"""Which listing a name means: what people and libraries write is understood, and no model gets its sibling's price."""

from collections.abc import Iterator

import pytest
from genai_prices.data import providers as listed_providers
from genai_prices.types import ClauseEquals, ClauseOr

from costs.pricing.providers import PROVIDERS
from costs.pricing.resolve import Resolution, resolve


def meant(model: str | None, provider: str | None = None, cost_type: str = "llm") -> str | None:
    """owner:listing, or None."""
    listing = resolve(cost_type, provider, model).listing
    return f"{listing.owner}:{listing.id}" if listing else None


def reason(model: str | None, provider: str | None = None, cost_type: str = "llm") -> str:
    found = resolve(cost_type, provider, model)
    assert found.listing is None
    assert found.reason
    return found.reason


class TestProviders:
    @pytest.mark.parametrize(
        ("provider", "model", "listing"),
        [
            ("openai", "gpt-4o", "openai:gpt-4o"),
            (" OpenAI ", " GPT-4o ", "openai:gpt-4o"),
            ("gemini", "gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("vertex_ai", "gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("gcp.gemini", "gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("vertex_ai-language-models", "gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("vertex_ai-anthropic_models", "claude-3-opus", "google:claude-3-opus"),
            ("cohere_chat", "command-r-plus", "cohere:command-r-plus"),
            ("xai", "grok-3", "x-ai:grok-3"),
            ("together_ai", "Qwen/Qwen3.7-Max", "together:Qwen/Qwen3.7-Max"),
            ("voyage", "voyage-3", "voyageai:voyage-3"),
            ("aws.bedrock", "meta.llama3-8b-instruct-v1:0", "aws:meta.llama3-8b-instruct-v1:0"),
            ("bedrock_converse", "meta.llama3-8b-instruct-v1:0", "aws:meta.llama3-8b-instruct-v1:0"),
            ("fireworks_ai", "glm-5p1", "fireworks:glm-5p1"),
            ("az.ai.openai", "gpt-4o", "openai:gpt-4o"),
            ("litellm", "openai/gpt-4o", "openai:gpt-4o"),
        ],
    )
    def test_they_have_many_spellings(self, provider: str, model: str, listing: str) -> None:
        assert meant(model, provider) == listing

    @pytest.mark.parametrize(
        ("cost_type", "model", "listing"),
        [
            ("openai_api", "gpt-4o", "openai:gpt-4o"),
            ("anthropic_api", "claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
            ("OPENAI_API", "openrouter/openai/gpt-4o", "openrouter:openai/gpt-4o"),
            ("llm", "anthropic/claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
            ("llm", "accounts/fireworks/models/glm-5p1", "fireworks:glm-5p1"),
            ("llm", "us.anthropic.claude-3-haiku-20240307-v1:0", "aws:regional.anthropic.claude-3-haiku-20240307-v1:0"),
            ("llm", "meta.llama3-8b-instruct-v1:0", "aws:meta.llama3-8b-instruct-v1:0"),
            ("llm", "models/gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("llm", "gpt-4o", "openai:gpt-4o"),
            ("llm", "claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ],
    )
    def test_who_is_not_named_is_known_by_prefix_cost_type_or_model(
        self, cost_type: str, model: str, listing: str
    ) -> None:
        assert meant(model, cost_type=cost_type) == listing

    def test_a_given_provider_is_never_overruled(self) -> None:
        assert meant("gpt-4o", "anthropic", "openai_api") is None
        assert meant("claude-sonnet-4-5", cost_type="openai_api") is None

    @pytest.mark.parametrize(
        ("provider", "model", "sentence"),
        [
            (None, None, "no model is named"),
            ("openai", "  ", "no model is named"),
            (None, "frobnicator-3", "no provider is named, and frobnicator-3 does not tell it"),
            ("acme", "gpt-4o", "provider acme has no list prices here"),
            ("ollama", "llama3", "provider ollama runs on own machines"),
            (None, "ollama/llama3", "provider ollama runs on own machines"),
            ("openai", "gpt-77", "openai has no list price for gpt-77"),
        ],
    )
    def test_what_is_not_known_is_said(self, provider: str | None, model: str | None, sentence: str) -> None:
        assert reason(model, provider) == sentence

    def test_a_prefix_that_nobody_knows_is_a_reseller_not_the_maker(self) -> None:
        assert meant("deepinfra/google/gemini-2.5-pro") is None
        assert meant("github/gpt-4o") is None

    def test_every_provider_of_the_list_can_be_named(self) -> None:
        assert {provider.id for provider in listed_providers} <= PROVIDERS.keys()


class TestModels:
    @pytest.mark.parametrize(
        ("provider", "model", "listing"),
        [
            ("openai", "gpt-4o-2024-08-06", "openai:gpt-4o"),
            ("openai", "gpt-4o-2024-05-13", "openai:gpt-4o-2024-05-13"),
            ("openai", "gpt-4.1-2025-04-14", "openai:gpt-4.1"),
            ("openai", "gpt-4o-2099-01-01", "openai:gpt-4o"),
            ("openai", "gpt-4o-audio-preview-2024-12-17", "openai:gpt-4o-audio-preview"),
            ("anthropic", "claude-3-7-sonnet-20250219", "anthropic:claude-3-7-sonnet-latest"),
            ("anthropic", "claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4-5"),
            ("anthropic", "claude-2.1", "anthropic:claude-2"),
            ("gemini", "gemini-2.0-flash-001", "google:gemini-2.0-flash"),
            ("gemini", "gemini-2.5-pro-preview-03-25", "google:gemini-2.5-pro"),
            ("gemini", "gemini-1.5-flash-8b", "google:gemini-flash-1.5-8b"),
            ("gemini", "gemma-3-27b-it", "google:gemma-3"),
            ("mistral", "mistral-large-2411", "mistral:mistral-large"),
            ("mistral", "magistral-medium-2509", "mistral:magistral-medium"),
            ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", "openai:ft:gpt-4o-mini"),
        ],
    )
    def test_snapshots_mean_the_model_unless_they_are_listed_themselves(
        self, provider: str, model: str, listing: str
    ) -> None:
        assert meant(model, provider) == listing

    @pytest.mark.parametrize(
        ("provider", "model", "listing"),
        [
            ("openai", "openai/gpt-4o", "openai:gpt-4o"),
            ("gemini", "gemini/gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("vertex_ai", "publishers/google/models/gemini-2.5-pro", "google:gemini-2.5-pro"),
            ("vertex_ai", "vertex_ai/claude-3-5-sonnet@20240620", "google:claude-3-5-sonnet"),
            ("vertex_ai", "vertex_ai/claude-opus-4-6@default", "google:claude-opus-4-6"),
            ("fireworks_ai", "fireworks_ai/accounts/fireworks/models/glm-5p1", "fireworks:glm-5p1"),
            ("azure", "azure/gpt-35-turbo", "openai:gpt-3.5-turbo"),
            ("azure", "azure/global/gpt-4o-2024-08-06", "openai:gpt-4o"),
            ("bedrock", "bedrock/us-east-1/meta.llama3-8b-instruct-v1:0", "aws:meta.llama3-8b-instruct-v1:0"),
            ("bedrock", "bedrock/invoke/meta.llama3-8b-instruct-v1:0", "aws:meta.llama3-8b-instruct-v1:0"),
            ("bedrock", "us.meta.llama3-1-8b-instruct-v1:0", "aws:meta.llama3-1-8b-instruct-v1:0"),
            (
                "bedrock",
                "eu.anthropic.claude-3-haiku-20240307-v1:0",
                "aws:regional.anthropic.claude-3-haiku-20240307-v1:0",
            ),
            (
                "bedrock",
                "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "aws:global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
        ],
    )
    def test_routes_and_prefixes_are_dropped(self, provider: str, model: str, listing: str) -> None:
        assert meant(model, provider) == listing

    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("openai", "gpt-4oo"),
            ("openai", "gpt-4o-mini-nano"),
            ("anthropic", "claude-opus-4-7-fast"),
            ("anthropic", "claude-opus-4-10"),
            ("anthropic", "claude-opus-4-55"),
            ("gemini", "gemini-3.8-flash-cyber"),
            ("gemini", "gemini-1.5-flash-70b"),
            ("gemini", "gemini-2.5-pro-exp-03-25"),
            ("cohere", "command-r-plus-ultra"),
        ],
    )
    def test_a_sibling_is_never_taken_for_the_model(self, provider: str, model: str) -> None:
        assert meant(model, provider) is None

    @pytest.mark.parametrize(
        ("provider", "model", "words"),
        [
            ("bedrock", "bedrock/eu-west-1/meta.llama3-8b-instruct-v1:0", "prices of this region are not on the list"),
            ("bedrock", "us-gov-west-1/amazon.nova-micro-v1:0", "prices of this region are not on the list"),
            ("bedrock", "us-gov.xai.grok-4.6", "prices of the government regions are not on the list"),
            ("bedrock", "us-east-1/1-month-commitment/cohere.command-text-v14", "commitments are priced apart"),
            ("azure", "azure/eu/gpt-4o", "data zone deployments are priced apart and not on the list"),
            ("azure", "us/o4-mini", "data zone deployments are priced apart and not on the list"),
        ],
    )
    def test_what_is_known_to_cost_something_else_is_refused(self, provider: str, model: str, words: str) -> None:
        assert words in reason(model, provider)

    def test_a_geography_has_a_price_only_where_the_list_says_so(self) -> None:
        assert meant("us.amazon.nova-micro-v1:0", "bedrock") == "aws:amazon.nova-micro-v1:0"
        assert meant("eu.amazon.nova-micro-v1:0", "bedrock") is None

    def test_the_night_discount_of_a_maker_does_not_hold_at_a_reseller(self) -> None:
        assert meant("deepseek-r1", "deepseek") == "deepseek:deepseek-reasoner"
        assert meant("deepseek-r1", "azure_ai") is None


class TestExplanation:
    def test_the_way_is_told_in_order(self) -> None:
        found = resolve("llm", "vertex_ai", "vertex_ai/publishers/google/models/gemini-2.5-pro")

        assert found.rules == (
            "provider vertex_ai: as given",
            "vertex_ai is listed as google",
            "the prefix vertex_ai/ names the provider",
            "the resource path is dropped",
            "gemini-2.5-pro is gemini-2.5-pro on the list of google",
        )

    def test_a_reseller_says_whose_price_it_takes(self) -> None:
        assert "azure sells it at the list price of openai" in resolve("llm", "azure", "gpt-4o").rules


def spelled_out(clause: object) -> Iterator[str]:
    if isinstance(clause, ClauseEquals):
        yield clause.equals
    if isinstance(clause, ClauseOr):
        for part in clause.or_:
            yield from spelled_out(part)


def test_every_name_on_the_list_means_its_own_listing() -> None:
    wrong: list[tuple[str, str, Resolution]] = []
    asked = 0
    for provider in listed_providers:
        for model in provider.models:
            for name in {model.id, *spelled_out(model.match)}:
                found = resolve("llm", provider.id, name)
                asked += 1
                if found.listing is None or found.listing.model is not model:
                    wrong.append((provider.id, name, found))

    assert asked > 2_000
    assert wrong == []
