"""Burn rate: a budget is being spent many times faster than its period allows, now and for a while already."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget burned over a long and a short window: 1 would use up the limit exactly at the period's end."""

    long: Decimal
    short: Decimal


@dataclass(frozen=True, slots=True)
class BurnReading:
    """The fast pair is an hour and five minutes, the slow one six hours and thirty minutes."""

    budget_id: int
    name: str
    covers: Mapping[str, str]
    fast: Burn
    slow: Burn
    spent: Decimal
    limit: Decimal
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {**self.covers, "budget_id": str(self.budget_id)}


# A slow burn, however hot, stays just below the level of the fast one.
BELOW = Decimal("0.999")


@dataclass(frozen=True, slots=True)
class BurnRate(Detector):
    """Both windows of a pair must burn: the long one shows that it matters, the short one that it still goes on.

    The slow pair fires from `medium`, the fast one from `high` on (the multi-window burn rates of the SRE workbook).
    """

    levels: Levels = Levels(medium=Decimal(6), high=Decimal("14.4"))
    calm_for: timedelta = timedelta(minutes=5)

    def inspect(self, reading: BurnReading) -> Judgement | None:
        if reading.limit <= 0 or reading.spent < self.minimum_amount:
            return None
        fast, slow = _both(reading.fast), _both(reading.slow)
        high = self.levels.high
        score = fast if high is not None and fast >= high else min(slow, high * BELOW) if high is not None else slow
        return self.judge(score, current=max(fast, slow), baseline=Decimal(1), multiplier=max(fast, slow))


def _both(burn: Burn) -> Decimal:
    return min(burn.long, burn.short)
