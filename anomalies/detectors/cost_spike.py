"""Cost spike: the cost per post, or the spend rate, is far above its baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window

COST_PER_POST, SPEND_RATE = "cost_per_post", "spend_rate"


@dataclass(frozen=True, slots=True)
class CostReading:
    """`current` and `baseline` in dollars, for one post or for five minutes; `amount` is all that the window holds."""

    persona_id: str
    kind: str
    current: Decimal
    baseline: Decimal
    amount: Decimal
    events: int
    window: Window
    baseline_source: str = "median"
    samples: int = 0

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id, "reading": self.kind}


@dataclass(frozen=True, slots=True)
class CostSpike(Detector):
    """Fire when the current value is at least three times its baseline.

    A spend rate counts from `minimum_rate` dollars in five minutes: a persona that wakes up is no runaway.
    """

    levels: Levels = Levels(medium=Decimal("3.0"), high=Decimal("3.5"), critical=Decimal("5.0"))
    # Who posts three times an hour is not calm between two posts.
    quiet_for: timedelta = timedelta(minutes=10)
    minimum_rate: Decimal = Decimal("0.50")

    def inspect(self, reading: CostReading) -> Judgement | None:
        if reading.baseline <= 0:
            return None
        multiplier = reading.current / reading.baseline
        judged = self.judge(multiplier, current=reading.current, baseline=reading.baseline, multiplier=multiplier)
        return judged if self.is_enough(reading) else self.too_little(judged)

    def is_enough(self, reading: CostReading) -> bool:
        least = self.minimum_rate if reading.kind == SPEND_RATE else self.minimum_amount
        return reading.amount >= least and reading.events >= self.minimum_events
