"""Unpriced: usage was booked for which no price is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class UnpricedReading:
    """How many lines of one model wait for a price."""

    provider: str
    model: str
    cost_type: str
    events: int
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"provider": self.provider, "model": self.model, "cost_type": self.cost_type}


@dataclass(frozen=True, slots=True)
class Unpriced(Detector):
    """Fire at the first line without a price; over once all of them have one."""

    levels: Levels = Levels(low=Decimal(1))
    calm_for: timedelta = timedelta(0)

    def inspect(self, reading: UnpricedReading) -> Judgement | None:
        return self.judge(Decimal(reading.events), current=Decimal(reading.events))
