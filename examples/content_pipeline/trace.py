"""A file of real messages whose cost somebody else recorded, and what the engine made of them.

Columns: time_unix, model, prompt_tokens, completion_tokens, cost_usd_recorded; others are left alone.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from examples.content_pipeline.readback import Ledger

# One audit trail shows the latest 1,000 lines of a post.
MESSAGES_PER_POST = 500
# The recorded costs are binary floats written out; the noise sits in the 17th digit, the ledger keeps 12 decimals.
DECIMALS = Decimal("0.000000000001")
COLUMNS = ("number", "time", "model", "prompt_tokens", "completion_tokens", "recorded", "booked", "verdict")
VENDORS = {"gpt": "openai", "o1": "openai", "o3": "openai", "claude": "anthropic", "gemini": "gemini"}


@dataclass(frozen=True, slots=True)
class Message:
    number: int
    at: datetime
    model: str
    prompt_tokens: int
    completion_tokens: int
    recorded: Decimal

    @property
    def is_named(self) -> bool:
        return self.model not in ("", "None") and not self.model.endswith("REDACTED")

    @property
    def provider(self) -> str | None:
        prefix, slash, _ = self.model.partition("/")
        if slash:
            return prefix
        return next((vendor for start, vendor in VENDORS.items() if self.model.startswith(start)), None)

    def post_id(self, run: str) -> str:
        return f"trace-{run}-{self.number // MESSAGES_PER_POST:03d}"

    def event(self, run: str) -> dict[str, Any]:
        provider = self.provider
        return {
            "event_id": f"trace-{run}-{self.number}",
            "timestamp": self.at,
            "post_id": self.post_id(run),
            "persona_id": f"trace-{run}",
            "cost_type": f"{provider or 'other'}_api",
            "operation": "message",
            "model": self.model,
            "usage": {"input_tokens": self.prompt_tokens, "output_tokens": self.completion_tokens},
            "metadata": {"message": self.number},
        } | ({"provider": provider} if provider else {})


@dataclass(frozen=True, slots=True)
class Judgement:
    """booked: None for no price. verdict: exact, different, unpriced, free, unnamed or missing."""

    message: Message
    booked: Decimal | None
    verdict: str


def messages(path: Path) -> list[Message]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        return [_message(number, row) for number, row in enumerate(csv.DictReader(stream))]


def posts_of(found: Sequence[Message], run: str) -> list[str]:
    return sorted({message.post_id(run) for message in found})


def judge(found: Sequence[Message], run: str, ledger: Ledger) -> list[Judgement]:
    """Compare what was booked with what was recorded, message by message."""
    booked = dict(_booked(ledger, posts_of(found, run)))
    return [Judgement(message, booked.get(message.number), _verdict(message, booked)) for message in found]


def write(judged: Iterable[Judgement], path: Path) -> None:
    """One line for each message, so that nobody has to believe the summary."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for judgement in judged:
            message, booked = judgement.message, judgement.booked
            counts = message.prompt_tokens, message.completion_tokens
            costs = f"{message.recorded:f}", "" if booked is None else f"{booked.normalize():f}"
            writer.writerow((message.number, message.at.isoformat(), message.model, *counts, *costs, judgement.verdict))


def _booked(ledger: Ledger, posts: Iterable[str]) -> Iterator[tuple[int, Decimal | None]]:
    for post in posts:
        status, body = ledger.post(post)
        for line in body["audit_trail"] if status == 200 else []:
            cost = line["cost_amount"]
            yield int(line["metadata"]["message"]), None if cost is None else Decimal(cost)


def _verdict(message: Message, booked: dict[int, Decimal | None]) -> str:
    if message.number not in booked:
        return "missing"
    cost = booked[message.number]
    if not message.is_named:
        return "unnamed"
    if cost is None:
        return "unpriced"
    if not message.recorded:
        return "free"
    return "exact" if cost == message.recorded.quantize(DECIMALS) else "different"


def _message(number: int, row: dict[str, str]) -> Message:
    return Message(
        number=number,
        at=datetime.fromtimestamp(int(row["time_unix"]), UTC),
        model=row["model"],
        prompt_tokens=int(row["prompt_tokens"]),
        completion_tokens=int(row["completion_tokens"]),
        recorded=Decimal(row["cost_usd_recorded"] or 0),
    )
