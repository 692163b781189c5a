"""Dead letters: events were accepted that could not be booked, so the ledger lacks them until a person acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class DeadLetterReading:
    """How many dead letters of one source are open."""

    source: str
    letters: int
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"source": self.source}


@dataclass(frozen=True, slots=True)
class DeadLetters(Detector):
    """Fire at the first one; over once all of them were replayed."""

    levels: Levels = Levels(medium=Decimal(1))
    calm_for: timedelta = timedelta(0)

    def inspect(self, reading: DeadLetterReading) -> Judgement | None:
        return self.judge(Decimal(reading.letters), current=Decimal(reading.letters))
