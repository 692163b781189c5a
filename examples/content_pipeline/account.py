"""The producer's own account: every id it sent and what it should cost, computed without the engine.

The prices are public list prices in dollars per million tokens, and the engine's documented infrastructure rates.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

MILLION = Decimal(1_000_000)
LEDGER_UNIT = Decimal("0.000000000001")


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Dollars per million tokens."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def cost(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
        fresh = (input_tokens - cached_tokens) * self.input
        return (fresh + cached_tokens * self.cached + output_tokens * self.output) / MILLION


PRICES = {
    "gpt-4o-2024-08-06": ModelPrice(Decimal("2.50"), Decimal("1.25"), Decimal("10.00")),
    "gpt-4o-mini-2024-07-18": ModelPrice(Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
    "o3-mini-2025-01-31": ModelPrice(Decimal("1.10"), Decimal("0.55"), Decimal("4.40")),
}
SNAPSHOTS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "o3-mini": "o3-mini-2025-01-31",
}
# The rates that ship with the engine: Fargate's for cores and memory, Pinecone serverless' for vectors.
RATES = {
    "cpu_core_hours": Decimal("0.04048"),
    "memory_gb_hours": Decimal("0.004445"),
    "vector_reads": Decimal(16) / MILLION,
    "vector_writes": Decimal(4) / MILLION,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing bought. `asked_cost`: what it had cost with the model that was asked for, where it was switched."""

    event_id: str
    timestamp: datetime
    post_id: str
    persona_id: str
    cost_type: str
    operation: str
    provider: str | None
    model: str | None
    cost: Decimal
    asked_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was not made, and what it may have cost."""

    post_id: str
    operation: str
    estimate: Decimal


@dataclass(slots=True)
class Account:
    entries: dict[str, Entry] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        if entry.event_id in self.entries:
            raise ValueError(f"{entry.event_id} was bought before")
        self.entries[entry.event_id] = entry

    def totals(self, key: Callable[[Entry], Any]) -> dict[Any, Decimal]:
        sums: dict[Any, Decimal] = defaultdict(Decimal)
        for entry in self.entries.values():
            sums[key(entry)] += entry.cost
        return dict(sums)

    def total(self) -> Decimal:
        return sum((entry.cost for entry in self.entries.values()), Decimal(0))


def chat_cost(model: str, usage: Mapping[str, Any]) -> Decimal:
    """What a chat completion costs by its usage object. An undated name is that of the model's present date."""
    details = usage.get("prompt_tokens_details") or {}
    return PRICES[SNAPSHOTS.get(model, model)].cost(
        input_tokens=usage["prompt_tokens"],
        cached_tokens=details.get("cached_tokens") or 0,
        output_tokens=usage["completion_tokens"],
    )


def infrastructure_cost(quantities: Mapping[str, Decimal]) -> Decimal:
    """What cores, memory and vector operations cost, to the 12 decimals that the ledger keeps."""
    cost = sum((quantity * RATES[unit] for unit, quantity in quantities.items()), Decimal(0))
    return cost.quantize(LEDGER_UNIT, ROUND_HALF_EVEN)
