"""Figures and their yardstick, measured turn by turn, so that a busy moment of the machine meets both."""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# A first, smaller turn that counts for nothing: caches, connections, imports.
WARM_UP_SHARE = 0.1
# What is counted in a run whose reading has this unit.
COUNTED = {"events/s": "events", "s": "incidents", "calls/s": "calls", "ms": "calls", "us": "calls", "MB": "events"}
COUNTED |= dict.fromkeys(("cores", "queries/s", "posts/min", "posts"), "queries")


@dataclass(frozen=True, slots=True)
class Trial:
    """Something to measure: `run` uses that many events and returns one reading in `unit`.

    `beside` names the trial of the same contest that its ratio is taken to, where that is not the contest's yardstick;
    `counted` says what a run uses, where that is not what the unit tells.
    """

    name: str
    run: Callable[[int], float]
    events: int
    conditions: str
    unit: str = "events/s"
    beside: str = ""
    counted: str = ""

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

    @property
    def yardsticks(self) -> set[str]:
        return {self.yardstick.name, *(trial.beside for trial in self.trials if trial.beside)}

    def only(self, names: Collection[str]) -> "Contest":
        """Without the trials that nobody asked for; their yardsticks stay."""
        wanted = {*names, *(trial.beside for trial in self.trials if trial.name in names)}
        return replace(self, trials=[trial for trial in self.trials if trial.name in wanted])


class Shared(Generic[T]):
    """One measurement that several trials take their readings from: made anew once a trial asks a second time."""

    def __init__(self, measure: Callable[[int], T]) -> None:
        self._measure = measure
        self._found: tuple[int, T] | None = None
        self._taken: set[str] = set()

    def take(self, name: str, count: int) -> T:
        if self._found is None or self._found[0] != count or name in self._taken:
            self._found, self._taken = (count, self._measure(count)), set()
        self._taken.add(name)
        return self._found[1]


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
    yardsticks = contest.yardsticks
    figures = []
    for trial in contest.everyone:
        beside = None if trial.name in yardsticks else trial.beside or contest.yardstick.name
        figures.append(_figure(trial, readings[trial.name], scale, beside, readings[beside] if beside else ()))
    return figures


def _figure(
    trial: Trial, readings: Sequence[float], scale: float, yardstick: str | None, beside: Sequence[float]
) -> Figure:
    counted = trial.counted or COUNTED[trial.unit]
    ratios = [reading / other for reading, other in zip(readings, beside, strict=False)]
    spread = f"{shown(min(readings))} to {shown(max(readings))}"
    return Figure(
        name=trial.name,
        value=round(median(readings), 3),
        unit=trial.unit,
        yardstick=yardstick,
        ratio=round(median(ratios), 3) if ratios else None,
        runs=len(readings),
        conditions=f"{trial.conditions}; {trial.scaled(scale):,} {counted} a run; runs from {spread}",
    )


def shown(value: float) -> str:
    """For people: whole numbers, and of small ones two decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
