"""Forecast: if spending goes on like this, a budget is used up before its period ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class OutlookReading:
    """What a budget's period is expected to have spent at its end, and when the limit is reached (None: not)."""

    budget_id: int
    name: str
    covers: Mapping[str, str]
    expected: Decimal
    limit: Decimal
    exceeded_at: datetime | None
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {**self.covers, "budget_id": str(self.budget_id)}


@dataclass(frozen=True, slots=True)
class ForecastOverrun(Detector):
    """Fire when the expected spend at the period's end is above the limit."""

    levels: Levels = Levels(low=Decimal(100))
    leave: Decimal = Decimal("0.95")
    calm_for: timedelta = timedelta(0)

    def inspect(self, reading: OutlookReading) -> Judgement | None:
        if reading.limit <= 0:
            return None
        share = reading.expected / reading.limit
        return self.judge(share * 100, current=reading.expected, baseline=reading.limit, multiplier=share)
