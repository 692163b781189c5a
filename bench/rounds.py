"""Figures and their yardstick, measured turn by turn, so that a busy moment of the machine meets both."""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

# A first, smaller turn that counts for nothing: caches, connections, imports.
WARM_UP_SHARE = 0.1
# What is counted in a run whose reading has this unit.
COUNTED = {"events/s": "events", "s": "incidents", "calls/s": "calls", "ms": "calls", "us": "calls", "MB": "events"}


@dataclass(frozen=True, slots=True)
class Trial:
    """Something to measure: `run` uses that many events and returns one reading in `unit`."""

    name: str
    run: Callable[[int], float]
    events: int
    conditions: str
    unit: str = "events/s"

    def scaled(self, scale: float) -> int:
        return max(int(self.events * scale), 10)


@dataclass(frozen=True, slots=True)
class Contest:
    """Trials that are measured against one yardstick in the same rounds; `stage` is entered around them."""

    yardstick: Trial
    trials: Sequence[Trial]
    stage: AbstractContextManager[object] = field(default_factory=nullcontext)

    @property
    def everyone(self) -> list[Trial]:
        return [self.yardstick, *self.trials]

    def is_wanted(self, names: Collection[str]) -> bool:
        return any(trial.name in names for trial in self.everyone)

    def only(self, names: Collection[str]) -> "Contest":
        """Without the trials that nobody asked for; the yardstick stays."""
        return replace(self, trials=[trial for trial in self.trials if trial.name in names])


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of the readings; `ratio` is the median of the rounds' own ratios, None for a yardstick."""

    name: str
    value: float
    unit: str
    yardstick: str | None
    ratio: float | None
    runs: int
    conditions: str

    def to_json(self) -> dict[str, Any]:
        names = ("value", "unit", "yardstick", "ratio", "runs", "conditions")
        return {name: getattr(self, name) for name in names}


def measure(contest: Contest, *, runs: int, scale: float, tell: Callable[[str], None]) -> list[Figure]:
    """Yardstick, then every trial, `runs` times over."""
    with contest.stage:
        for trial in contest.everyone:
            trial.run(trial.scaled(scale * WARM_UP_SHARE))
        readings: dict[str, list[float]] = {trial.name: [] for trial in contest.everyone}
        for turn in range(1, runs + 1):
            for trial in contest.everyone:
                readings[trial.name].append(trial.run(trial.scaled(scale)))
                tell(f"run {turn} of {runs}: {trial.name} {shown(readings[trial.name][-1])} {trial.unit}")
    beside = readings[contest.yardstick.name]
    return [
        _figure(contest.yardstick, beside, scale),
        *(_figure(trial, readings[trial.name], scale, contest.yardstick.name, beside) for trial in contest.trials),
    ]


def _figure(
    trial: Trial,
    readings: Sequence[float],
    scale: float,
    yardstick: str | None = None,
    beside: Sequence[float] = (),
) -> Figure:
    ratios = [reading / other for reading, other in zip(readings, beside, strict=False)]
    spread = f"{shown(min(readings))} to {shown(max(readings))}"
    return Figure(
        name=trial.name,
        value=round(median(readings), 3),
        unit=trial.unit,
        yardstick=yardstick,
        ratio=round(median(ratios), 3) if ratios else None,
        runs=len(readings),
        conditions=f"{trial.conditions}; {trial.scaled(scale):,} {COUNTED[trial.unit]} a run; runs from {spread}",
    )


def shown(value: float) -> str:
    """For people: whole numbers, and of small ones two decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
