"""Budget overrun: most of a budget's limit is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class BudgetReading:
    """What a budget's running period has used, in dollars. `scope` names the budget and what it covers.

    `limit` has temporary increases in it; `committed` is what is spent and what decisions let in that may still be.
    """

    budget_id: int
    name: str
    covers: Mapping[str, str]
    spent: Decimal
    limit: Decimal
    warn_levels: Sequence[Decimal]
    window: Window
    committed: Decimal | None = None

    @property
    def scope(self) -> Mapping[str, str]:
        return {**self.covers, "budget_id": str(self.budget_id)}


@dataclass(frozen=True, slots=True)
class BudgetOverrun(Detector):
    """Fire from 80 % of the limit on; a budget's own warn levels stand above the rule's."""

    levels: Levels = Levels(medium=Decimal(80), high=Decimal(85), critical=Decimal(95))
    leave: Decimal = Decimal("0.95")
    calm_for: timedelta = timedelta(0)

    def inspect(self, reading: BudgetReading) -> Judgement | None:
        if reading.limit <= 0:
            return None
        used = reading.spent / reading.limit * 100
        own = levels_of(reading.warn_levels) if reading.warn_levels else None
        return self.judge(
            used, current=reading.spent, baseline=reading.limit, multiplier=reading.spent / reading.limit, levels=own
        )


def levels_of(warn_levels: Sequence[Decimal]) -> Levels:
    """Up to three: the first one is medium, the others are high and critical."""
    medium, high, critical = (*warn_levels, None, None)[:3]
    return Levels(medium=medium, high=high, critical=critical)
