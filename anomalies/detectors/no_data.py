"""No data: a persona that always spent has stopped, so perhaps its tracking has."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class SilenceReading:
    """`active` of `hours` full hours of the past week had costs; none of the last `silent` hours did."""

    persona_id: str
    active: int
    hours: int
    silent: int
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id}


@dataclass(frozen=True, slots=True)
class NoData(Detector):
    """Fire after two silent hours where at least nine hours in ten had costs before."""

    levels: Levels = Levels(low=Decimal(2))
    leave: Decimal = Decimal("0.5")
    calm_for: timedelta = timedelta(0)
    minimum_hours: int = 100
    always: Decimal = Decimal("0.9")

    def inspect(self, reading: SilenceReading) -> Judgement | None:
        if reading.hours < self.minimum_hours or reading.active < self.always * reading.hours:
            return None
        share = Decimal(reading.active) / reading.hours
        return self.judge(Decimal(reading.silent), current=Decimal(0), baseline=share)
