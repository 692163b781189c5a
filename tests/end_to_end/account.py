"""The oracle: what producers were told is accepted, kept outside the system and held against the ledger."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from costs.models import CostEvent
from costs.verify import Drift, verify

# The list price of gpt-4o, written down here by hand: dollars per million tokens in and out.
IN, OUT = Decimal("2.50"), Decimal("10.00")
MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event and what it costs, as its producer knows it."""

    fields: dict[str, Any]
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ledger beside the account: ids that are missing, stand there more than once, or with another amount."""

    accepted: int
    lost: set[str]
    doubled: set[str]
    wrong: set[str]
    unknown: set[str]
    difference: Decimal
    drifts: list[Drift]

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.unknown or self.difference or self.drifts)

    def __str__(self) -> str:
        return (
            f"{self.accepted:,} accepted: {len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.wrong)} wrong, "
            f"{len(self.unknown)} unknown; off by ${self.difference:f}; {len(self.drifts)} counters drift"
        )


class Account:
    """Ids and amounts that were accepted. Threads may share one."""

    def __init__(self) -> None:
        self._amounts: dict[str, Decimal] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._amounts)

    def note(self, event_id: str, amount: Decimal) -> None:
        """Write down an acceptance; telling it twice is one cost."""
        with self._lock:
            known = self._amounts.setdefault(event_id, amount)
        assert known == amount, f"{event_id} was accepted with two amounts"

    def merge(self, other: "Account") -> None:
        for event_id, amount in other._amounts.items():
            self.note(event_id, amount)

    def compare(self) -> Comparison:
        lines = list(CostEvent.objects.values_list("event_id", "cost_amount"))
        times = Counter(event_id for event_id, _ in lines)
        wrong = {event_id for event_id, amount in lines if self._amounts.get(event_id, amount) != amount}
        total = sum((amount or Decimal(0) for _, amount in lines), Decimal(0))
        return Comparison(
            accepted=len(self._amounts),
            lost=self._amounts.keys() - times.keys(),
            doubled={event_id for event_id, found in times.items() if found > 1},
            wrong=wrong,
            unknown=times.keys() - self._amounts.keys(),
            difference=total - sum(self._amounts.values(), Decimal(0)),
            drifts=verify().drifts,
        )


def random_events(count: int, chance: random.Random, *, prefix: str) -> Iterator[Sent]:
    """Events of a few posts and personas: half with an amount of 12 decimals, half with usage to be priced."""
    for number in range(count):
        fields: dict[str, Any] = {
            "event_id": f"{prefix}-{number}",
            "post_id": f"post-{chance.randrange(50)}",
            "persona_id": f"persona-{chance.randrange(5)}",
            "operation": chance.choice(["hook", "body", "review"]),
        }
        yield _with_usage(fields, chance) if chance.random() < 0.5 else _with_amount(fields, chance)


def _with_amount(fields: dict[str, Any], chance: random.Random) -> Sent:
    amount = Decimal(chance.randrange(1, 10**11)).scaleb(-12)
    return Sent({**fields, "cost_type": "vector_db", "amount": str(amount)}, amount)


def _with_usage(fields: dict[str, Any], chance: random.Random) -> Sent:
    tokens_in, tokens_out = chance.randrange(1, 5000), chance.randrange(1, 2000)
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    amount = (tokens_in * IN + tokens_out * OUT) / MILLION
    return Sent({**fields, "cost_type": "openai_api", "provider": "openai", "model": "gpt-4o", "usage": usage}, amount)
