"""Cost threshold: one post costs more than the alert threshold, or one follow more than its target."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from anomalies.detectors.base import Detector, Judgement, Levels, Window


@dataclass(frozen=True, slots=True)
class PostReading:
    """What one post cost by now; `threshold` is the configured $0.04, unless the rule's own levels say otherwise."""

    persona_id: str
    post_id: str
    cost: Decimal
    threshold: Decimal
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id, "post_id": self.post_id}


@dataclass(frozen=True, slots=True)
class CostThreshold(Detector):
    """Fire when a post costs more than the threshold; exactly the threshold is still good."""

    # In dollars. Empty: medium from the configured threshold on.
    levels: Levels = Levels()
    calm_for: timedelta = timedelta(minutes=15)

    def inspect(self, reading: PostReading) -> Judgement | None:
        levels = self.levels if self.levels.entry is not None else Levels(medium=reading.threshold)
        judged = self.judge(
            reading.cost,
            current=reading.cost,
            baseline=levels.entry,
            multiplier=reading.cost / levels.entry if levels.entry else None,
            levels=levels,
        )
        return None if reading.cost == levels.entry else judged


@dataclass(frozen=True, slots=True)
class FollowReading:
    """What a persona spent and how many follows that brought, in the window."""

    persona_id: str
    cost: Decimal
    follows: Decimal
    target: Decimal
    window: Window

    @property
    def scope(self) -> Mapping[str, str]:
        return {"persona_id": self.persona_id, "reading": "cost_per_follow"}


@dataclass(frozen=True, slots=True)
class CostPerFollow(Detector):
    """A low finding when a follow costs more than its target."""

    leave: Decimal = Decimal("0.9")

    def inspect(self, reading: FollowReading) -> Judgement | None:
        if reading.cost < self.minimum_amount or reading.follows <= 0 or reading.target <= 0:
            return None
        current = reading.cost / reading.follows
        levels = Levels(low=reading.target)
        if current == reading.target:
            return None
        return self.judge(
            current, current=current, baseline=reading.target, multiplier=current / reading.target, levels=levels
        )
