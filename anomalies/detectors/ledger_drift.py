"""Ledger drift: the counters of an hour do not equal its lines. If that happens, no sum can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class DriftReading:
    """What the counters and the lines of one closed hour say, in dollars."""

    counted: Decimal
    added_up: Decimal
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"ledger": "hourly costs"}


@dataclass(frozen=True, slots=True)
class LedgerDrift(Detector):
    """Fire at any difference, to the last decimal."""

    levels: Levels = Levels(critical=Decimal("1e-12"))
    calm_for: timedelta = timedelta(hours=1)

    def inspect(self, reading: DriftReading) -> Judgement | None:
        drift = abs(reading.counted - reading.added_up)
        return self.judge(drift, current=reading.counted, baseline=reading.added_up)
