"""A bare series as a rule reads it: the value is what the rule compares, the baseline comes from the values before.

No database and no server is needed. Amounts and floors in dollars do not apply: nobody knows what the values are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from anomalies.backtest.judge import Look
from anomalies.backtest.series import Row
from anomalies.backtest.trailing import TRAILING, Trailing
from anomalies.detectors import Detector
from anomalies.detectors.base import Reading, Window
from anomalies.detectors.budget_overrun import BudgetReading
from anomalies.detectors.cost_spike import COST_PER_POST, CostReading
from anomalies.detectors.cost_threshold import PostReading
from anomalies.detectors.efficiency_drop import EfficiencyReading
from anomalies.detectors.learned import StreamingDetector
from anomalies.detectors.learned_rule import HOUR, SeriesReading
from anomalies.detectors.negative_roi import ReturnReading
from anomalies.detectors.no_data import SilenceReading
from costs.attribution import Target

LEAST_VALUES = 20
HUNDRED = Decimal(100)
# Below every value: a series may be negative and still have something to say.
NO_MINIMUM = Decimal("-Infinity")


# A value in its window as the rule's reading, and what of it is too much.
Read = Callable[[Decimal, Window], tuple[Reading, Decimal | None]]


class Reader(Protocol):
    """One series before one rule. Called once for each row, in order."""

    def looks(self, row: Row) -> list[Look]: ...


class Learned:
    """The streaming detector itself."""

    def __init__(self, detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> None:
        self._detector, self._scope, self._step = detector.with_minimum(NO_MINIMUM), scope, step
        self._stream = StreamingDetector(step)

    def looks(self, row: Row) -> list[Look]:
        score = self._stream.update(row.at, None if row.value is None else float(row.value))
        if row.value is None:
            return [Look(row.at, self._detector, self._scope, None)]
        expected = self._stream.expected()
        center, spread = (None, None) if expected is None else (Decimal(repr(float(each))) for each in expected)
        window = Window(row.at, row.at + self._step)
        reading = SeriesReading("", HOUR, row.value, center, Decimal(repr(float(score))), window)
        excess = Decimal(0) if center is None else row.value - center
        return [Look(row.at, self._detector, self._scope, reading, excess, spread)]


class CostSpike:
    """Against the median of the values of seven days; against the target while there are fewer than twenty."""

    def __init__(self, detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> None:
        self._detector, self._scope, self._target = detector.with_minimum(NO_MINIMUM), scope, target.per_post
        self._before = Trailing()

    def looks(self, row: Row) -> list[Look]:
        self._before.forget(row.at)
        if row.value is None:
            return [Look(row.at, self._detector, self._scope, None)]
        baseline = self._before.median if len(self._before) >= LEAST_VALUES else self._target
        window = Window(row.at, row.at)
        reading = CostReading("", COST_PER_POST, row.value, baseline, row.value, events=1, window=window)
        if row.value > 0:
            self._before.add(row.at, row.value)
        return [Look(row.at, self._detector, self._scope, reading, row.value - baseline)]


class EfficiencyDrop:
    """The value is what a dollar brings; against the mean of the values of seven days."""

    def __init__(self, detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> None:
        self._detector, self._scope = detector.with_minimum(NO_MINIMUM), scope
        self._before = Trailing()

    def looks(self, row: Row) -> list[Look]:
        self._before.forget(row.at)
        if row.value is None:
            return [Look(row.at, self._detector, self._scope, None)]
        mean = self._before.mean if len(self._before) else Decimal(0)
        days, window = self._before.days, Window(row.at, row.at)
        reading = EfficiencyReading("", "", row.value, Decimal(1), mean, days=days, window=window)
        self._before.add(row.at, row.value)
        return [Look(row.at, self._detector, self._scope, reading)]


class Plain:
    """A rule that compares each value alone."""

    def __init__(
        self,
        detector: Detector,
        scope: Mapping[str, str],
        read: Callable[[Decimal, Window], tuple[Reading, Decimal | None]],
    ) -> None:
        self._detector, self._scope, self._read = detector.with_minimum(NO_MINIMUM), scope, read

    def looks(self, row: Row) -> list[Look]:
        if row.value is None:
            return [Look(row.at, self._detector, self._scope, None)]
        reading, excess = self._read(row.value, Window(row.at, row.at))
        return [Look(row.at, self._detector, self._scope, reading, excess)]


def cost_threshold(detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> Reader:
    """The value is what a post costs."""
    threshold = target.per_post * target.alert_multiplier
    above = detector.levels.entry or threshold
    return Plain(detector, scope, lambda value, window: (PostReading("", "", value, threshold, window), value - above))


def negative_roi(detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> Reader:
    """The value is the return in percent of the cost."""
    return Plain(detector, scope, lambda value, window: (ReturnReading("", HUNDRED + value, HUNDRED, window), None))


def budget_overrun(detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> Reader:
    """The value is how many percent of the limit are used."""
    return Plain(detector, scope, lambda value, window: (BudgetReading(0, "", {}, value, HUNDRED, (), window), None))


class NoData:
    """Gaps, in steps of the series: a missing row and a row without a value are the same."""

    def __init__(self, detector: Detector, scope: Mapping[str, str], step: timedelta, target: Target) -> None:
        self._detector, self._scope, self._step = detector, scope, step
        self._heard: deque[datetime] = deque()

    def looks(self, row: Row) -> list[Look]:
        looks = [self._look(at, silent) for at, silent in self._silence(row.at)]
        if row.value is not None:
            self._heard.append(row.at)
            looks.append(self._look(row.at, 0))
        return looks

    def _silence(self, until: datetime) -> Iterator[tuple[datetime, int]]:
        """When one more step has passed without a value, and how many that makes; at most a week of them."""
        if not self._heard:
            return
        for silent in range(1, TRAILING // self._step):
            at = self._heard[-1] + self._step * (silent + 1)
            if at > until:
                return
            yield at, silent

    def _look(self, at: datetime, silent: int) -> Look:
        last = self._heard[-1]
        while self._heard[0] < at - TRAILING and len(self._heard) > 1:
            self._heard.popleft()
        steps = (last - self._heard[0]) // self._step + 1
        reading = SilenceReading("", min(len(self._heard), steps), steps, silent, Window(last, at))
        return Look(at, self._detector, self._scope, reading)


READERS: dict[str, Callable[[Detector, Mapping[str, str], timedelta, Target], Reader]] = {
    "learned": Learned,
    "cost_spike": CostSpike,
    "cost_threshold": cost_threshold,
    "efficiency_drop": EfficiencyDrop,
    "negative_roi": negative_roi,
    "budget_overrun": budget_overrun,
    "no_data": NoData,
}


def looks(reader: Reader, rows: Iterable[Row]) -> Iterator[tuple[Row, list[Look]]]:
    for row in rows:
        yield row, reader.looks(row)
