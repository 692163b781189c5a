"""The parts of the example that need no stack: the simulated server, the account, the meter, the history."""

import csv
import gzip
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from openai import OpenAI

from examples.content_pipeline.account import Account, Entry, chat_cost
from examples.content_pipeline.history import write_history
from examples.content_pipeline.memory import VectorMemory
from examples.content_pipeline.meter import Meter, used
from examples.content_pipeline.readback import Comparison
from examples.content_pipeline.simulated_openai import completion, simulated_openai

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def request(model: str = "gpt-4o-mini", prompt: str = "Say something short.") -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": 100}


def entry(event_id: str = "a", cost: str = "0.01", post_id: str = "p1") -> Entry:
    return Entry(event_id, NOW, post_id, "persona", "openai_api", "draft", "openai", "gpt-4o", Decimal(cost))


class TestTheSimulatedServer:
    def test_the_real_sdk_reads_its_answer_and_its_request_id(self) -> None:
        with simulated_openai() as base_url, OpenAI(base_url=base_url, api_key="simulated") as client:
            answer = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "Say something."}], max_completion_tokens=50
            )

        assert answer.model == "gpt-4o-2024-08-06"
        assert "simulated" in answer.id
        assert (answer._request_id or "").startswith("req_simulated_")
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_the_same_request_costs_the_same(self) -> None:
        assert completion(request())["usage"] == completion(request())["usage"]

    @pytest.mark.parametrize(("characters", "may_be_cached"), [(4 * 1019, False), (4 * 1020, True)])
    def test_only_prompts_of_1024_tokens_and_more_are_cached(self, characters: int, may_be_cached: bool) -> None:
        prompts = ["x" * (characters - 1) + letter for letter in "abcdefghij"]
        usages = [completion(request(prompt=prompt))["usage"] for prompt in prompts]
        cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]

        assert any(cached) is may_be_cached
        assert all(tokens % 128 == 0 for tokens in cached)

    def test_only_reasoning_models_reason_and_their_output_includes_it(self) -> None:
        thinking, quick = completion(request("o3-mini"))["usage"], completion(request("gpt-4o"))["usage"]

        assert 0 < thinking["completion_tokens_details"]["reasoning_tokens"] < thinking["completion_tokens"]
        assert quick["completion_tokens_details"]["reasoning_tokens"] == 0

    @pytest.mark.parametrize("model", ["gpt-4o", "o3-mini"])
    def test_an_answer_with_its_thoughts_stays_within_the_most_that_was_asked_for(self, model: str) -> None:
        usages = [completion(request(model, f"Number {number}."))["usage"] for number in range(20)]

        assert max(usage["completion_tokens"] for usage in usages) <= 100


class TestTheAccount:
    def test_cached_tokens_are_cheaper(self) -> None:
        usage = {"prompt_tokens": 2_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 1_024}}

        assert chat_cost("gpt-4o-2024-08-06", usage) == Decimal("0.00472")

    def test_an_undated_name_costs_what_its_present_model_does(self) -> None:
        usage = {"prompt_tokens": 1_000, "completion_tokens": 500}

        assert chat_cost("gpt-4o", usage) == chat_cost("gpt-4o-2024-08-06", usage) == Decimal("0.0075")

    def test_nothing_is_bought_twice(self) -> None:
        account = Account()
        account.add(entry())

        with pytest.raises(ValueError, match="bought before"):
            account.add(entry())

    def test_a_difference_in_the_twelfth_decimal_is_found(self) -> None:
        comparison = Comparison()

        comparison.check("post", "p1", Decimal("0.010000000001"), Decimal("0.01"))
        comparison.check("post", "p2", Decimal("0.0100"), Decimal("0.01"))

        assert comparison.differences == ["post p1: the ledger says 0.010000000001, the account 0.01"]
        assert comparison.matched == {"post": 1}


class TestTheMeter:
    def test_it_rounds_up_to_ticks_of_3_6_milliseconds_that_are_exact_hours(self) -> None:
        spent = used(wall_seconds=0.010, cpu_seconds=0.00505, memory_bytes=123_000_000)

        assert spent.duration_minutes / 60 == Decimal("0.000003")
        assert spent.cpu_cores == Decimal("0.51")
        assert spent.memory_gb == Decimal("0.13")

    def test_it_measures_this_process(self) -> None:
        meter = Meter()
        sum(number * number for number in range(300_000))

        spent = meter.read()

        assert spent.cpu_cores > 0
        assert spent.memory_gb > 0
        assert spent.duration_minutes > 0


class TestTheHistory:
    def test_the_file_and_the_account_tell_the_same_story(self, tmp_path: Path) -> None:
        account, path = Account(), tmp_path / "history.csv.gz"

        write_history(path, "run1", ["a", "b"], NOW, 505, account)

        with gzip.open(path, "rt", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["id"] for row in rows] == list(account.entries)
        assert all(NOW - timedelta(days=14) < found.timestamp < NOW for found in account.entries.values())
        assert Counter(row["persona"] for row in rows).keys() == {"a", "b"}

    def test_evenings_are_busier_than_mornings(self, tmp_path: Path) -> None:
        account = Account()

        write_history(tmp_path / "history.csv.gz", "run1", ["a"], NOW, 10_000, account)

        hours = Counter(found.timestamp.hour for found in account.entries.values())
        assert hours[18] > 2 * hours[6]


def test_the_memory_finds_what_is_alike() -> None:
    memory = VectorMemory()
    memory.add("night trains to Lisbon")
    memory.add("sourdough needs patience")

    assert memory.nearest("trains at night", count=1) == ["night trains to Lisbon"]
