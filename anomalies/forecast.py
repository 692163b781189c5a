"""What a daily series will cost next, and how far such a forecast was off before. Pure.

A method draws many possible futures from a history; the forecast is their mean and the middle eight of ten. Two
methods compete, by forecasts made as of earlier days: the one that suits the series (mostly a damped trend under a
weekly rhythm), and last week once more. Floats live in the statistics only: money comes in and goes out as Decimal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

import numpy as np

from anomalies.futures import LAST_WEEK, METHODS, WEEK, Array, suited

HORIZON = 30
FEWEST_DAYS = 7
# The range leaves out the lowest and the highest tenth.
RANGE = (0.1, 0.9)
# The same history gives the same forecast, on every machine.
SEED = 20_26

# The back-test: forecasts of 7 days, made every third day of the last four weeks.
TESTED_DAYS = 7
ORIGINS = range(28, TESTED_DAYS - 1, -3)
FEWEST_TO_CHOOSE = 4
SUITED = "suited"
UNUSUAL = 1.5


@dataclass(frozen=True, slots=True)
class History:
    """What each full day cost, oldest first and without gaps; `last` is the newest of them."""

    last: date
    amounts: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Dollars: what is expected, and between what 8 of 10 outcomes should lie."""

    expected: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class DayAhead:
    day: date
    cost: Range


@dataclass(frozen=True, slots=True)
class Errors:
    """How a method did in the back-test, in percent; None where nothing was spent.

    The error of days is the sum of all misses over all that was spent; that of sums compares weeks with weeks, and
    `bias` keeps the sign: above 0 forecasts were too high. `held`: how often the cost lay in the range (80 is right).
    """

    origins: int
    day_error: float | None
    sum_error: float | None
    bias: float | None
    days_held: float
    sums_held: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """`today` is a whole day as if it had not begun; `total` is the sum of `days`, which begin with tomorrow.

    `reason` says why no back-test stands beside it.
    """

    method: str
    today: Range
    days: tuple[DayAhead, ...]
    total: Range
    errors: Errors | None
    errors_of_other: Errors | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NoForecast:
    reason: str


@dataclass(frozen=True, slots=True)
class BudgetOutlook:
    """What a budget's period will have spent at its end, and when that passes the limit (None: not before then).

    In 8 of 10 outcomes the limit is passed between `earliest` and `latest`; `chance` is the share that passes it.
    """

    expected: Decimal
    low: Decimal
    high: Decimal
    exceeded_at: datetime | None
    earliest: datetime | None
    latest: datetime | None
    chance: Decimal


def forecast(history: History, *, days: int = HORIZON) -> Forecast | NoForecast:
    """Forecast the day after the history, which is running, and as many full `days` after it."""
    full = len(history.amounts)
    if full < FEWEST_DAYS:
        return NoForecast(f"Only {full} full {_days(full)} of history: a forecast needs {FEWEST_DAYS}.")
    costs = _floats(history)
    errors, method = _tested(history)
    chosen, other = (LAST_WEEK, SUITED) if method == LAST_WEEK else (SUITED, LAST_WEEK)
    futures = _futures(method, costs, days + 1)
    today, *costs_ahead = _ranges(futures)
    ahead = [DayAhead(history.last + timedelta(days=2 + place), cost) for place, cost in enumerate(costs_ahead)]
    (total,) = _ranges(futures[:, 1:].sum(axis=1, keepdims=True))
    expected = sum((cost.expected for cost in costs_ahead), Decimal(0))
    total = Range(expected, min(total.low, expected), max(total.high, expected))
    reason = "" if errors else f"Only {full} full days of history: a back-test needs {FEWEST_DAYS + TESTED_DAYS}."
    return Forecast(method, today, tuple(ahead), total, errors.get(chosen), errors.get(other), reason)


@lru_cache(maxsize=512)
def _tested(history: History) -> tuple[Mapping[str, Errors], str]:
    """The back-test and the better method: nearly all of the work, and the same all day long."""
    costs = _floats(history)
    errors = backtest(costs)
    return errors, best(costs, errors)


def backtest(costs: Array) -> dict[str, Errors]:
    """How both competitors would have done with what was known at the time; empty without a week to test on."""
    origins = [len(costs) - back for back in ORIGINS if len(costs) - back >= FEWEST_DAYS]
    if not origins:
        return {}
    return {name: _errors(name, costs, origins) for name in (SUITED, LAST_WEEK)}


def best(costs: Array, errors: Mapping[str, Errors]) -> str:
    """The method with the smaller error of sums; the suited one where there is too little to tell."""
    if errors and errors[SUITED].origins >= FEWEST_TO_CHOOSE and _last_week_is_usual(costs):
        fitted, plain = errors[SUITED].sum_error, errors[LAST_WEEK].sum_error
        if fitted is not None and plain is not None and plain < fitted:
            return LAST_WEEK
    return suited(costs)


def budget_outlook(
    *,
    spent: Decimal,
    limit: Decimal,
    at: datetime,
    period_end: datetime,
    history: History,
    hour_shares: Sequence[float] | None = None,
) -> BudgetOutlook | None:
    """Go on from `spent` at `at` as the history lets expect; None: too little history, or the period is over.

    The history ends with the UTC day before `at`. `hour_shares`: how a day's cost spreads over its 24 UTC hours;
    evenly when absent.
    """
    at, period_end = at.astimezone(UTC), period_end.astimezone(UTC)
    if len(history.amounts) < FEWEST_DAYS or at >= period_end:
        return None
    costs = _floats(history)
    edges = _hours_between(at, period_end)
    futures = _futures(_tested(history)[1], costs, (edges[-1].date() - at.date()).days + 1)
    spending = np.array(
        [
            _share(start, end, hour_shares) * futures[:, (start.date() - at.date()).days]
            for start, end in pairwise(edges)
        ]
    ).T
    paths = float(spent) + np.concatenate([np.zeros((len(spending), 1)), spending.cumsum(axis=1)], axis=1)
    low, high = np.quantile(paths, RANGE, axis=0)
    (at_end,) = _ranges(paths[:, -1:])
    return BudgetOutlook(
        at_end.expected,
        at_end.low,
        at_end.high,
        exceeded_at=_crossing(paths.mean(axis=0), edges, limit),
        earliest=_crossing(high, edges, limit),
        latest=_crossing(low, edges, limit),
        chance=Decimal(round(float((paths[:, -1] > float(limit)).mean()), 2)).quantize(Decimal("0.01")),
    )


def _last_week_is_usual(costs: Array) -> bool:
    """Whether it may be repeated: a week that cost over half as much again as one of the two before may be chance."""
    third, second, last = costs[-3 * WEEK :].reshape(3, WEEK).sum(axis=1)
    return bool(last <= UNUSUAL * min(third, second))


def _futures(method: str, costs: Array, days: int) -> Array:
    """Possible costs, futures x days."""
    name = suited(costs) if method == SUITED else method
    return METHODS[name](costs, days, np.random.default_rng(SEED))


def _errors(method: str, costs: Array, origins: Sequence[int]) -> Errors:
    actual = np.array([costs[origin : origin + TESTED_DAYS] for origin in origins])
    futures = np.array([_futures(method, costs[:origin], TESTED_DAYS) for origin in origins])
    expected = futures.mean(axis=1)
    low, high = np.quantile(futures, RANGE, axis=1)
    sum_low, sum_high = np.quantile(futures.sum(axis=2), RANGE, axis=1)
    sums, spent = actual.sum(axis=1), float(actual.sum())
    misses = expected.sum(axis=1) - sums
    return Errors(
        origins=len(origins),
        day_error=_percent(float(np.abs(expected - actual).sum()), spent),
        sum_error=_percent(float(np.abs(misses).sum()), spent),
        bias=_percent(float(misses.sum()), spent),
        days_held=round(float(((low <= actual) & (actual <= high)).mean()) * 100, 1),
        sums_held=round(float(((sum_low <= sums) & (sums <= sum_high)).mean()) * 100, 1),
    )


def _hours_between(at: datetime, end: datetime) -> list[datetime]:
    """`at`, every full hour after it, `end`."""
    first = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    count = max(0, -(-(end - first) // timedelta(hours=1)))
    return [at, *(first + timedelta(hours=number) for number in range(count)), end]


def _share(start: datetime, end: datetime, hour_shares: Sequence[float] | None) -> float:
    """The part of its day's cost that falls into this part of an hour."""
    of_hour = 1 / 24 if hour_shares is None else hour_shares[start.hour]
    return of_hour * ((end - start) / timedelta(hours=1))


def _crossing(path: Array, edges: Sequence[datetime], limit: Decimal) -> datetime | None:
    """When a rising path passes the limit, to the minute."""
    above = np.nonzero(path > float(limit))[0]
    if not len(above):
        return None
    place = int(above[0])
    if place == 0:
        return edges[0]
    before, after = path[place - 1], path[place]
    moment = edges[place - 1] + (edges[place] - edges[place - 1]) * float((float(limit) - before) / (after - before))
    return max(edges[0], moment.replace(second=0, microsecond=0))


def _ranges(futures: Array) -> list[Range]:
    """One for each column. The mean lies in it even where a cost comes on fewer than one day in ten."""
    low, high = np.quantile(futures, RANGE, axis=0)
    expected = futures.mean(axis=0)
    edges = zip(expected, np.minimum(low, expected), np.maximum(high, expected), strict=True)
    return [Range(*(_money(float(edge)) for edge in column)) for column in edges]


def _money(value: float) -> Decimal:
    """Six decimals: a forecast knows no more."""
    return Decimal(f"{value:.6f}")


def _floats(history: History) -> Array:
    # Corrections may make a day negative; a forecast never is.
    return np.array([max(0.0, float(amount)) for amount in history.amounts])


def _percent(part: float, whole: float) -> float | None:
    return round(part / whole * 100, 1) if whole > 0 else None


def _days(count: int) -> str:
    return "day" if count == 1 else "days"
