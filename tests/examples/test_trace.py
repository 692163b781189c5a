"""Real messages with recorded costs: how they are read, judged and reported."""

import csv
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from examples.content_pipeline.readback import Ledger
from examples.content_pipeline.report import trace_rows
from examples.content_pipeline.trace import Judgement, Message, judge, messages, write

HEAD = "time_unix,user,model,prompt_tokens,completion_tokens,cost_usd_recorded\n"


class Booked(Ledger):
    """A ledger that answers with these costs, in the order of the messages."""

    def __init__(self, *costs: str | None) -> None:
        trail = [
            {"metadata": {"message": number}, "cost_amount": None if cost is None else Decimal(cost)}
            for number, cost in enumerate(costs)
        ]
        self._answer = {"audit_trail": trail}

    def post(self, post_id: str) -> tuple[int, Any]:
        return 200, self._answer


def trace(folder: Path, *rows: str) -> list[Message]:
    path = folder / "trace.csv.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(HEAD + "".join(f"{row}\n" for row in rows))
    return messages(path)


def verdict(folder: Path, row: str, cost: str | None) -> str:
    (judgement,) = judge(trace(folder, row), "run", Booked(cost))
    return judgement.verdict


class TestAMessage:
    @pytest.mark.parametrize(
        ("model", "provider"),
        [
            ("gpt-4o", "openai"),
            ("o3-mini", "openai"),
            ("claude-3-5-sonnet-20241022", "anthropic"),
            ("openrouter/anthropic/claude-3.7-sonnet", "openrouter"),
            ("something-else", None),
        ],
    )
    def test_its_provider_is_the_prefix_or_the_maker_of_a_well_known_name(
        self, tmp_path: Path, model: str, provider: str | None
    ) -> None:
        (message,) = trace(tmp_path, f"1733000000,a,{model},10,5,0.1")

        assert message.event("run").get("provider") == provider

    def test_it_keeps_its_own_time(self, tmp_path: Path) -> None:
        (message,) = trace(tmp_path, "1733000000,a,gpt-4o,10,5,0.1")

        assert message.event("run")["timestamp"].isoformat() == "2024-11-30T20:53:20+00:00"


class TestTheVerdict:
    @pytest.mark.parametrize(
        ("recorded", "cost", "expected"),
        [
            ("0.0075", "0.0075", "exact"),
            # A binary float written out: its noise lies beyond the twelve decimals.
            ("0.010291999999999999", "0.010292", "exact"),
            ("0.0075", "0.007500000001", "different"),
            ("0.0075", None, "unpriced"),
            ("0", "0.0075", "free"),
        ],
    )
    def test_it_is_exact_to_the_twelfth_decimal(
        self, tmp_path: Path, recorded: str, cost: str | None, expected: str
    ) -> None:
        assert verdict(tmp_path, f"1733000000,a,gpt-4o,10,5,{recorded}", cost) == expected

    @pytest.mark.parametrize("model", ["openrouter/REDACTED", "None", ""])
    def test_a_message_without_a_name_proves_nothing(self, tmp_path: Path, model: str) -> None:
        assert verdict(tmp_path, f"1733000000,a,{model},10,5,0.1", "0.2") == "unnamed"

    def test_what_was_not_booked_is_missing(self, tmp_path: Path) -> None:
        (judgement,) = judge(trace(tmp_path, "1733000000,a,gpt-4o,10,5,0.1"), "run", Booked())

        assert (judgement.verdict, judgement.booked) == ("missing", None)


def judgements(folder: Path) -> list[Judgement]:
    """Two exact, one different, one unpriced, one redacted."""
    row = "1733000000,a,{},10,5,0.1"
    found = trace(folder, *map(row.format, ["gpt-4o", "gpt-4o", "o1", "new-model", "openai/REDACTED"]))
    return judge(found, "run", Booked("0.1", "0.1", "0.2", None, "0.1"))


class TestTheReport:
    def test_the_share_counts_only_what_can_be_compared(self, tmp_path: Path) -> None:
        said = "\n".join(trace_rows(judgements(tmp_path), shown=10))

        assert "66.67 % of 3 messages are priced exactly as recorded" in said
        assert "1 redacted or nameless, 1 without a list price, 0 recorded as free, 0 missing" in said

    def test_rare_models_share_a_line(self, tmp_path: Path) -> None:
        said = list(trace_rows(judgements(tmp_path), shown=1))

        assert said[1].split() == ["gpt-4o", "2", "2", "0", "0"]
        assert said[2].split() == ["3", "other", "models", "3", "0", "1", "1"]

    def test_every_message_is_written_down(self, tmp_path: Path) -> None:
        path = tmp_path / "judged.csv"

        write(judgements(tmp_path), path)

        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["verdict"] for row in rows] == ["exact", "exact", "different", "unpriced", "unnamed"]
        assert (rows[2]["recorded"], rows[2]["booked"]) == ("0.1", "0.2")
