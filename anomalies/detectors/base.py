"""What all detectors share: a score, levels, a judgement. Pure: values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, Self

from alerts.signal import Severity


class Reading(Protocol):
    """What a detector looks at."""

    @property
    def scope(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end), what a reading covers."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Levels:
    """From which score on a finding has which severity; None: never. Falling levels are reached from above."""

    low: Decimal | None = None
    medium: Decimal | None = None
    high: Decimal | None = None
    critical: Decimal | None = None
    falling: bool = False

    def severity_of(self, score: Decimal) -> Severity | None:
        for severity in reversed(Severity):
            level = getattr(self, severity)
            if level is not None and self._reaches(score, level):
                return severity
        return None

    def is_below(self, score: Decimal, share: Decimal) -> bool:
        """Whether the score has left even `share` of the first level."""
        entry = self.entry
        return entry is None or not self._reaches(score, entry * share)

    @property
    def entry(self) -> Decimal | None:
        return next((level for severity in Severity if (level := getattr(self, severity)) is not None), None)

    def _reaches(self, score: Decimal, level: Decimal) -> bool:
        return score <= level if self.falling else score >= level


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a detector says of one reading.

    `severity` None: nothing is wrong; `is_calm`: it is so far from wrong that an open incident may end.
    `score` is what the levels are compared with; `multiplier` is current over baseline.
    """

    score: Decimal
    severity: Severity | None
    is_calm: bool
    current: Decimal
    baseline: Decimal | None = None
    multiplier: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Detector:
    """A rule: its levels, and its two numbers of hysteresis, `leave` (a share of the first level) and `calm_for`.

    `minimum_amount` (dollars) and `minimum_events`: a reading of less says nothing, for three times nothing is nothing.
    """

    levels: Levels = Levels()
    leave: Decimal = Decimal("0.7")
    calm_for: timedelta = timedelta(seconds=60)
    # The same where nothing comes at all.
    quiet_for: timedelta = timedelta(0)
    minimum_amount: Decimal = Decimal("0.05")
    minimum_events: int = 1

    def inspect(self, reading: Any) -> Judgement | None:
        """None: this reading is too little to say anything."""
        raise NotImplementedError

    def with_levels(self, **levels: Decimal | None) -> Self:
        """Severities that are not given do not occur."""
        return replace(self, levels=Levels(**levels, falling=self.levels.falling))

    def with_minimum(self, amount: Decimal) -> Self:
        return replace(self, minimum_amount=amount)

    def measure(self, judgement: Judgement) -> Decimal:
        """How bad it is, larger is worse: what a person who calls it a false alarm declares normal."""
        return -judgement.score if self.levels.falling else judgement.score

    def judge(
        self,
        score: Decimal,
        *,
        current: Decimal,
        baseline: Decimal | None = None,
        multiplier: Decimal | None = None,
        levels: Levels | None = None,
    ) -> Judgement:
        by = levels or self.levels
        severity = by.severity_of(score)
        is_calm = severity is None and by.is_below(score, self.leave)
        return Judgement(score, severity, is_calm, current, baseline, multiplier)

    def too_little(self, judgement: Judgement) -> Judgement:
        """The same of a reading that is too small to find anything in; it may still show that all is calm."""
        return replace(judgement, severity=None, is_calm=self.levels.is_below(judgement.score, self.leave))
