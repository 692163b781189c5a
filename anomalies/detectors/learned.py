"""A streaming detector that learns what is normal for one series: one pass, no look ahead, 48 KB of state.

Two views judge each value against what came before; each answers in decades of surprise (2 = once in a hundred).
1. Novelty: how far the value lies outside everything seen near this time of day and in the last rows. The rank of that
   distance among the largest ones so far is the surprise; beyond the record a Pareto tail extends it. Asked of sixteen
   views (a day to two weeks, each with the last one to four rows), up and down apart, and averaged: one
   view's luck moves the mean little.
2. Forecast: the residual against the daily or the weekly rhythm, whichever erred less so far, with and without what the
   last hours were off by. It counts as far as the rhythm has shown skill: a series without one is judged by novelty.
The larger surprise wins and a tenth of the other is added. It must also exceed the fading echo of the last one: an
incident is told once, at its start. Novelty counts for less where a trusted rhythm foresaw the value. A record
grows by half at most, so the second incident is found like the first. The score is 1 - 10^-surprise.
Beside the score it counts how long values stay away from what was expected: a shallow change scores low, but lasts.
Values are compared after asinh(value / scale): differences near zero, ratios far from it, and zero is allowed.
Floats throughout: these are statistics about money, not money.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

# One in fifty, on the detector's own scale. Frozen: it suited the 13 benchmark series in tests/anomalies/test_nab.py.
THRESHOLD = 0.98

DAY_SECONDS = 86_400
MEMORY_SLOTS = 4_096
MEMORY_DAYS = (1, 3, 7, 14)
RECENT_ROWS = 4  # with each memory, one row to this many: every pair is its own view of novelty
SLACK_SECONDS = 1_800  # a daily job may start this much earlier or later
WOBBLE_SECONDS = 900  # and the forecast counts as right when it was right this much earlier or later
REFRESH_ROWS = 48  # how often the scale is measured again
NOVELTY_SCALE = 2.0  # in typical values: differences up to here, ratios beyond
FORECAST_SCALE = 0.1

SAME = 1e-6  # a distance that is only rounding
RANKED = 32  # records kept; a distance that ranks lower is no surprise
RANK_FROM = 20  # no surprise before this many values
RANK_OF = 350  # a record in a longer history is no more surprising than in one of this length
RECORD_GROWTH = 1.5

RESIDUALS = 512
RESIDUALS_FROM = 40
SKILL_NEEDED = 0.25  # below it a rhythm is noise
SKILL_TRUSTED = 0.5  # below it each 0.1 of skill costs 0.3 decades
FORECAST_HANDICAP = 1.7  # decades: forecasts err more often than novelty does
FORESEEN = 2.0  # in largest usual errors: a trusted forecast within them makes the value less of a novelty
FORESEEN_DISCOUNT = 0.5  # decades
AGREEMENT = 0.1  # of the smaller surprise, added to the larger
ECHO_FADING: float = 0.5 ** (1 / 30)  # a row: half after thirty
AWAY = (0.45, 2.2)  # of the expected value: below or above, a value is away
AWAY_FROM_DAYS = 3
# Raise it whenever the state's meaning changes: states of another layout are refused, and the series learns anew.
LAYOUT = 3

Floats = NDArray[np.float64]
Offsets = NDArray[np.int64]
PLAIN_STATE = (
    "slot",
    "seen",
    "scale",
    "middle",
    "forecasts",
    "forecast_error",
    "plain_error",
    "echo",
    "normal",
    "away",
)


@dataclass(slots=True)
class Records:
    """The largest distances so far, smallest first."""

    top: list[float] = field(default_factory=list)
    seen: int = 0

    def surprise(self, distance: float) -> float:
        """Decades of surprise at this distance; learns it."""
        distance = distance if distance > SAME else 0.0
        decades = self._surprise(distance) if distance and self.seen >= RANK_FROM else 0.0
        self.seen += 1
        if distance:
            grown = self.top[-1] * RECORD_GROWTH if self.top and self.seen > RANK_FROM else distance
            insort(self.top, round(min(distance, grown), 6))  # rounded, so that the state stays small
            del self.top[:-RANKED]
        return decades

    def _surprise(self, distance: float) -> float:
        history = min(self.seen, RANK_OF) + 1
        if not self.top:
            return math.log10(history)
        rank = len(self.top) - bisect_left(self.top, distance)
        if rank >= RANKED:
            return 0.0
        if rank:
            return math.log10(history / (rank + 1))
        # Hill's tail index of the ten largest, drawn towards 1/4 by the weight of five.
        tail = self.top[-11:]
        index = (sum(math.log(value / tail[0]) for value in tail) + 5 * 0.25) / (len(tail) + 4)
        return math.log10(history) + min(9.0, math.log10(distance / self.top[-1]) / index)


@dataclass(slots=True)
class Residuals:
    """The last forecast errors, as distances; surprise is their Pareto tail beyond the largest fiftieth."""

    ring: Floats = field(default_factory=lambda: np.zeros(RESIDUALS))
    seen: int = 0
    tenth: float = 0.0
    fiftieth: float = 0.0

    def surprise(self, distance: float) -> float:
        if self.seen >= RESIDUALS_FROM and (self.seen % 16 == 0 or not self.fiftieth):
            tenth, fiftieth = np.quantile(self.ring[: self.seen], [0.9, 0.98])
            self.tenth, self.fiftieth = max(float(tenth), 0.01), max(float(fiftieth), 0.02)
        decades = 0.0
        if self.fiftieth and distance > self.fiftieth:
            index = max(math.log(self.fiftieth / self.tenth) / math.log(5), 0.2)
            decades = math.log10(50) + min(9.0, math.log10(distance / self.fiftieth) / ((index + 0.2) / 2))
        self.ring[self.seen % RESIDUALS] = distance
        self.seen += 1
        return decades


@dataclass(slots=True)
class Rhythm:
    """One way to forecast from earlier days or weeks: how it erred last, and usually."""

    last: list[float] = field(default_factory=list)
    error: float = 0.3

    def errors(self, error: float) -> list[float]:
        """The error as it is, and after taking off what the last three rows were off by."""
        return [error, error - sorted(self.last)[1]] if len(self.last) == 3 else [error]

    def learn(self, error: float, rate: float) -> None:
        self.last = [*self.last[-2:], error]
        self.error += rate * (min(abs(error), 2.0) - self.error)


class StreamingDetector:
    """Feed it one value per interval, in order; the state is plain numbers."""

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval
        self.ring: Floats = np.full(MEMORY_SLOTS, np.nan)
        self.slot: int | None = None
        self.seen = 0
        self.scale = 1.0
        self.middle = 0.0
        self.records = [[Records(), Records()] for _ in range(len(MEMORY_DAYS) * RECENT_ROWS)]
        self.residuals = Residuals()
        self.rhythms = [Rhythm(), Rhythm()]
        self.forecasts = 0
        self.forecast_error = 0.0
        self.plain_error = 0.0
        self.echo = 0.0
        self.normal: tuple[float, float] | None = None
        # How many values in a row were away from what was expected, negative when they were below it.
        self.away = 0
        self._lay_out(max(1, round(DAY_SECONDS / interval.total_seconds())))

    def _lay_out(self, day: int) -> None:
        """How many slots ago the neighbours of a value lie."""
        slack, wobble = (int(seconds // self.interval.total_seconds()) for seconds in (SLACK_SECONDS, WOBBLE_SECONDS))
        days = [np.arange(1, min(depth, MEMORY_SLOTS // day) + 1)[:, None] * day for depth in MEMORY_DAYS]
        near = np.arange(-max(1, slack), max(1, slack) + 1)
        self._near = [_valid((depth + near).ravel()) for depth in days]
        self._recent = np.arange(1, RECENT_ROWS + 1)
        self._daily = _valid(days[-1].ravel())
        self._wobble = _valid((days[-1] + np.delete(np.arange(-wobble, wobble + 1), wobble)).ravel())
        self._weekly = _valid((np.arange(1, 4)[:, None] * 7 * day + np.arange(-1, 2)).ravel())

    def update(self, at: datetime, value: float | None) -> float:
        """The anomaly score, 0 to 1, of the value at that time; None is a missing value. NaN and infinity are refused.

        A time that is not later than the last one counts for the last one's slot.
        """
        if value is not None and not math.isfinite(value):
            raise ValueError(f"The value at {at} is {value}; send None for a missing one.")
        slot = self._advance(at)
        self.normal = None
        if value is None:
            return 0.0
        if self.seen % REFRESH_ROWS == 0 or self.seen < 3:
            self._measure(value)
        unforeseen, discount = self._against_forecast(slot, value)
        novelty = self._novelty(slot, value) - discount
        decades = max(novelty, unforeseen) + AGREEMENT * max(0.0, min(novelty, unforeseen))
        self.ring[slot % MEMORY_SLOTS] = value
        self.seen += 1
        self.away = self._away(value)
        self.echo *= ECHO_FADING
        if decades <= self.echo:
            return 0.0
        self.echo = decades
        return 1 - math.pow(10, -decades)

    def expected(self) -> tuple[float, float] | None:
        """(center, spread) of what would have been normal for the last value; None where nothing was known."""
        return self.normal

    def _away(self, value: float) -> int:
        """A slow or shallow change scores low value by value; that it lasts is what gives it away."""
        expected = self.normal[0] if self.normal else 0.0
        if expected <= 0 or self.seen * self.interval < timedelta(days=AWAY_FROM_DAYS):
            return 0
        if value < AWAY[0] * expected:
            return min(self.away, 0) - 1
        return max(self.away, 0) + 1 if value > AWAY[1] * expected else 0

    def _advance(self, at: datetime) -> int:
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        slot = int(seconds // self.interval.total_seconds())
        if self.slot is not None:
            slot = max(slot, self.slot)
            for missed in range(max(self.slot, slot - MEMORY_SLOTS) + 1, slot + 1):
                self.ring[missed % MEMORY_SLOTS] = np.nan
        self.slot = slot
        return slot

    def _ago(self, slot: int, offsets: Offsets) -> Floats:
        values = self.ring[(slot - offsets) % MEMORY_SLOTS]
        return values[~np.isnan(values)]

    def _measure(self, value: float) -> None:
        known = self.ring[~np.isnan(self.ring)]
        sizes = np.abs(known[known != 0])
        self.scale = float(np.median(sizes)) if len(sizes) else abs(value) or 1.0
        self.middle = float(np.median(known)) if len(known) else value

    def _novelty(self, slot: int, value: float) -> float:
        scale = self.scale * NOVELTY_SCALE
        here = _bent(value, scale)
        above = below = 0.0
        for (low, high), (up, down) in zip(self._views(slot), self.records, strict=True):
            if not math.isnan(low):
                self.normal = self.normal or ((low + high) / 2, (high - low) / 4)
                above += up.surprise(max(0.0, here - _bent(high, scale)))
                below += down.surprise(max(0.0, _bent(low, scale) - here))
        return max(above, below) / len(self.records)

    def _views(self, slot: int) -> Iterator[tuple[float, float]]:
        """The lowest and highest value that each view knows; NaN where it knows none."""
        recent = self.ring[(slot - self._recent) % MEMORY_SLOTS]
        near = [self.ring[(slot - offsets) % MEMORY_SLOTS] for offsets in self._near]
        lows = np.fmin.outer([np.fmin.reduce(known, initial=np.nan) for known in near], np.fmin.accumulate(recent))
        highs = np.fmax.outer([np.fmax.reduce(known, initial=np.nan) for known in near], np.fmax.accumulate(recent))
        return zip(lows.ravel().tolist(), highs.ravel().tolist(), strict=True)

    def _against_forecast(self, slot: int, value: float) -> tuple[float, float]:
        """The surprise, and what novelty loses because the rhythm foresaw the value."""
        scale = self.scale * FORECAST_SCALE
        here = _bent(value, scale)
        errors = {}
        for rhythm, (offsets, needed) in zip(self.rhythms, ((self._daily, 2), (self._weekly, 1)), strict=True):
            known = self._ago(slot, offsets)
            if len(known) >= needed:
                errors[id(rhythm)] = here - _bent(float(np.median(known)), scale)
        usable = [rhythm for rhythm in self.rhythms if id(rhythm) in errors]
        if not usable:
            return 0.0, 0.0
        best = min(usable, key=lambda rhythm: rhythm.error)
        error = errors[id(best)]
        candidates = best.errors(error)
        wobble = self._ago(slot, self._wobble)
        if len(wobble):
            candidates += [here - _bent(float(edge), scale) for edge in (wobble.min(), wobble.max())]
        # The nearest of all forecasts; none at all when they lie on both sides.
        nearest = max(0.0, min(candidates), -max(candidates))
        decades = self.residuals.surprise(nearest)
        self.normal = _back(here - error, self.residuals.fiftieth or 0.2, scale)
        skill = self._skill(error, here - _bent(self.middle, scale))
        for rhythm in usable:
            rhythm.learn(errors[id(rhythm)], self._rate())
        if skill <= SKILL_NEEDED:
            return 0.0, 0.0
        foreseen = skill >= SKILL_TRUSTED and abs(error) < FORESEEN * self.residuals.fiftieth
        return decades - FORECAST_HANDICAP - 3 * max(0.0, SKILL_TRUSTED - skill), FORESEEN_DISCOUNT * foreseen

    def _rate(self) -> float:
        return max(0.006, 1 / self.forecasts)

    def _skill(self, forecast: float, plain: float) -> float:
        """1: the rhythm explains everything; 0: no better than the median of all values. Outliers are cut."""
        self.forecasts += 1
        rate = self._rate()
        self.forecast_error += rate * (min(abs(forecast), 3 * self.forecast_error + 0.1) - self.forecast_error)
        self.plain_error += rate * (min(abs(plain), 3 * self.plain_error + 0.1) - self.plain_error)
        return 1 - self.forecast_error / (self.plain_error + 1e-9)

    def state(self) -> bytes:
        """Everything learned: a line of JSON, then the two rings."""
        plain = {name: getattr(self, name) for name in PLAIN_STATE}
        parts = {
            "layout": LAYOUT,
            "interval": self.interval.total_seconds(),
            "records": [[asdict(side) for side in memory] for memory in self.records],
            "rhythms": [asdict(rhythm) for rhythm in self.rhythms],
            "residuals": [self.residuals.seen, self.residuals.tenth, self.residuals.fiftieth],
        }
        rings = self.ring.astype("<f8").tobytes() + self.residuals.ring.astype("<f8").tobytes()
        return json.dumps(plain | parts).encode() + b"\n" + rings

    @classmethod
    def restore(cls, state: bytes) -> StreamingDetector:
        """The detector that `state()` was taken of: later scores are the same. Raises ValueError for another layout."""
        head, _, tail = state.partition(b"\n")
        parts = json.loads(head)
        if parts.get("layout") != LAYOUT:
            raise ValueError("This state is of another layout: let the series learn anew.")
        rings = np.frombuffer(tail, "<f8").astype(np.float64)
        detector = cls(timedelta(seconds=parts["interval"]))
        for name in PLAIN_STATE:
            setattr(detector, name, parts[name])
        detector.normal = tuple(parts["normal"]) if parts["normal"] else None
        detector.records = [[Records(**side) for side in memory] for memory in parts["records"]]
        detector.rhythms = [Rhythm(**rhythm) for rhythm in parts["rhythms"]]
        detector.residuals = Residuals(rings[MEMORY_SLOTS:].copy(), *parts["residuals"])
        detector.ring = rings[:MEMORY_SLOTS].copy()
        return detector


def _valid(offsets: Offsets) -> Offsets:
    return np.unique(offsets[(offsets > 0) & (offsets < MEMORY_SLOTS)]).astype(np.int64)


def _bent(value: float, scale: float) -> float:
    """Near zero a difference in units of the scale, far from it a ratio."""
    return math.asinh(max(-1e300, min(1e300, value / scale)))


def _back(center: float, spread: float, scale: float) -> tuple[float, float]:
    """A forecast and its largest usual error, as values again."""
    low, middle, high = (scale * math.sinh(min(x, 700.0)) for x in (center - spread, center, center + spread))
    return middle, (high - low) / 4


def scores(rows: Iterable[tuple[datetime, float]]) -> Iterator[float]:
    """One score per row. The interval is the median step of the first fifty rows, read ahead for that alone."""
    rest = iter(rows)
    first = list(islice(rest, 50))
    steps = [(b - a).total_seconds() for (a, _), (b, _) in pairwise(first) if b > a]
    detector = StreamingDetector(timedelta(seconds=median(steps) if steps else 3600))
    for at, value in chain(first, rest):
        yield detector.update(at, value)
