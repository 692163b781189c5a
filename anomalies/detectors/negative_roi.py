"""Negative return: the posts bring back less than half of what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class ReturnReading:
    """Revenue and cost of a persona in the window, in dollars."""

    persona_id: str
    revenue: Decimal
    cost: Decimal
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id}


@dataclass(frozen=True, slots=True)
class NegativeROI(Detector):
    """Fire when (revenue - cost) / cost is at most -50 %."""

    levels: Levels = Levels(medium=Decimal(-50), critical=Decimal(-55), falling=True)

    def inspect(self, reading: ReturnReading) -> Judgement | None:
        if reading.cost < self.minimum_amount:
            return None
        roi = (reading.revenue - reading.cost) / reading.cost * 100
        return self.judge(roi, current=roi, multiplier=reading.revenue / reading.cost)
