"""Efficiency drop: a dollar brings much less than it used to."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class EfficiencyReading:
    """Outcomes of one kind (follow, engagement) per dollar; the baseline is the mean of earlier days' efficiencies."""

    persona_id: str
    kind: str
    outcomes: Decimal
    cost: Decimal
    baseline: Decimal
    days: int
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id, "outcome": self.kind}


@dataclass(frozen=True, slots=True)
class EfficiencyDrop(Detector):
    """Fire when efficiency is at least 30 % below its baseline average."""

    levels: Levels = Levels(medium=Decimal(30), high=Decimal(50))
    minimum_days: int = 3

    def inspect(self, reading: EfficiencyReading) -> Judgement | None:
        if reading.cost < self.minimum_amount or reading.days < self.minimum_days or reading.baseline <= 0:
            return None
        current = reading.outcomes / reading.cost
        drop = (reading.baseline - current) / reading.baseline * 100
        return self.judge(drop, current=current, baseline=reading.baseline, multiplier=current / reading.baseline)
