"""Learned: an hour or five minutes of a persona's spending is unlike all that its series has shown so far."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window
from anomalies.detectors.learned import THRESHOLD

HOUR = "hour"
# The score of a change that lasts.
LASTING = Decimal(str(THRESHOLD))


@dataclass(frozen=True, slots=True)
class SeriesReading:
    """One closed window: what was spent, what the detector expected, and its score from 0 to 1.

    `away` is how many windows in a row were far from what was expected, up to this one.
    """

    persona_id: str
    grain: str
    amount: Decimal
    expected: Decimal | None
    score: Decimal
    window: Window
    away: int = 0

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id, "grain": self.grain}


@dataclass(frozen=True, slots=True)
class Learned(Detector):
    """Fire when the streaming detector's score reaches its frozen threshold, or when hours stay away from the expected.

    There are twelve times as many five minutes as hours, and they are noisier: they need a far higher score.
    The score is high at the start of an incident only; it is over when the amounts are near what is expected again.
    Amounts below the minimum, both as seen and as expected, are left alone: nobody wants to know.
    """

    levels: Levels = Levels(medium=Decimal(str(THRESHOLD)))
    minimum_amount: Decimal = Decimal("0.50")
    # Where less is expected in five minutes, most of them are empty, and any post is unlike them all.
    least_expected: Decimal = Decimal("0.05")
    calm_for: timedelta = timedelta(0)
    near: Decimal = Decimal("1.6")
    hours_away: int = 3
    finer: Decimal = Decimal("0.025")

    def inspect(self, reading: SeriesReading) -> Judgement | None:
        if max(reading.amount, reading.expected or Decimal(0)) < self.minimum_amount:
            return None
        if reading.grain != HOUR and (reading.expected or Decimal(0)) < self.least_expected:
            return None
        multiplier = reading.amount / reading.expected if reading.expected else None
        judged = self.judge(
            self.score_of(reading), current=reading.amount, baseline=reading.expected, multiplier=multiplier
        )
        is_near = multiplier is None or 1 / self.near <= multiplier <= self.near
        return replace(judged, is_calm=judged.is_calm and is_near)

    def score_of(self, reading: SeriesReading) -> Decimal:
        """What the levels are compared with: as likely to be chance as the score of an hour says."""
        if reading.grain != HOUR:
            return max(Decimal(0), 1 - (1 - reading.score) / self.finer)
        return max(reading.score, LASTING) if abs(reading.away) >= self.hours_away else reading.score

    def measure(self, judgement: Judgement) -> Decimal:
        """How many dollars away from what was expected: the score only says how unlikely that was."""
        return abs(judgement.current - (judgement.baseline or Decimal(0)))
