"""Ways to draw possible futures of a daily series from its history. Pure.

A method takes what each day cost, oldest first, and returns possible costs of the days after them, futures x days.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Draw = np.random.Generator
Method = Callable[[Array, int, Draw], Array]

WEEK = 7
FUTURES = 400

# The damped trend. How much of a day's surprise the level takes; a quicker one must be clearly better.
QUICKNESS = (0.1, 0.2, 0.4)
CLEARLY_BETTER = 0.95
TREND_SHARE = 0.05
DAMPING = 0.98
FEWEST_FOR_RHYTHM = 21
LONGEST_RHYTHM_WEEKS = 8
# A weekday with less than this share of an average day tells nothing about the level.
SILENT_SHARE = 0.1
OUTLIER = 3.0
RECENT = 56
OFTEN_ZERO = 0.2


def damped_trend(costs: Array, days: int, draw: Draw) -> Array:
    """A level with a fading trend under a weekly rhythm; single outliers move it little, two in a row count in full."""
    rhythm = weekly_rhythm(costs)
    ahead = rhythm[np.arange(days) % WEEK]
    back = rhythm[(np.arange(len(costs)) - len(costs)) % WEEK]
    telling = back >= SILENT_SHARE
    levels = np.divide(costs, back, out=np.full(len(costs), np.nan), where=telling)
    bound = _outlier_bound(levels[telling])
    quickness, level, trend, surprises = _best_fit(levels, bound)

    recent = np.clip(surprises[-RECENT:], -2 * bound, 2 * bound)
    recent = recent - recent.mean()
    # A fit knows its own past a little too well, the more so the shorter it is.
    recent = recent * np.sqrt((len(recent) + WEEK) / len(recent))
    unsure = draw.choice(recent - recent.mean(), (FUTURES, len(recent))).mean(axis=1)
    at_level, at_trend = level + unsure, np.full(FUTURES, trend)
    levels_ahead = np.empty((FUTURES, days))
    for day in range(days):
        expected = at_level + DAMPING * at_trend
        surprise = draw.choice(recent, FUTURES)
        levels_ahead[:, day] = expected + surprise
        news = np.clip(surprise, -bound, bound)
        at_level = expected + quickness * news
        at_trend = DAMPING * at_trend + quickness * TREND_SHARE * news
    return _at_least_zero(levels_ahead) * ahead


def average_day(costs: Array, days: int, draw: Draw) -> Array:
    """Days of the recent past in any order: for a short history, and for costs that come now and then."""
    whole_weeks = min(len(costs) // WEEK * WEEK, RECENT if len(costs) >= FEWEST_FOR_RHYTHM else 2 * WEEK)
    recent = costs[-whole_weeks:]
    level = draw.choice(recent, (FUTURES, len(recent))).mean(axis=1)
    average = recent.mean()
    # How sure the average is, as a factor: so a day without costs stays one.
    scale = level / average if average > 0 else np.ones(FUTURES)
    return draw.choice(recent, (FUTURES, days)) * scale[:, np.newaxis]


def last_week(costs: Array, days: int, draw: Draw) -> Array:
    """Last week again and again, each time with a change as between two weeks of the past, but for its direction."""
    changes = costs[WEEK:][-RECENT:] - costs[:-WEEK][-RECENT:]
    if len(changes) < WEEK:
        changes = costs[-WEEK:]
    changes = changes - changes.mean()
    weeks = -(-days // WEEK)
    starts = draw.integers(0, len(changes) - WEEK + 1, (FUTURES, weeks))
    moved = changes[starts[:, :, np.newaxis] + np.arange(WEEK)].cumsum(axis=1)
    return _at_least_zero((costs[-WEEK:] + moved).reshape(FUTURES, -1)[:, :days])


def weekly_rhythm(costs: Array) -> Array:
    """What share of an average day each of the coming seven days has; all 1 with under three weeks.

    A day is compared with the week around it. The most extreme shares of each weekday are left out.
    """
    if len(costs) < FEWEST_FOR_RHYTHM:
        return np.ones(WEEK)
    recent = costs[-(LONGEST_RHYTHM_WEEKS + 1) * WEEK :]
    around = np.convolve(recent, np.ones(WEEK) / WEEK, mode="valid")
    middle = np.arange(len(around)) + WEEK // 2
    shares = np.divide(recent[middle], around, out=np.full(len(around), np.nan), where=around > 0)
    weekday = (middle - len(recent)) % WEEK
    by_day = [np.sort(found[~np.isnan(found)]) for found in (shares[weekday == day] for day in range(WEEK))]
    if min(map(len, by_day)) < 2:
        return np.ones(WEEK)
    rhythm = np.array([_middle(found).mean() for found in by_day])
    if rhythm.mean() < 1 - OFTEN_ZERO:
        # Most of the cost lies on rare days: what was left out is the series.
        rhythm = np.array([found.mean() for found in by_day])
    shape: Array = rhythm / rhythm.mean()
    return shape


def _middle(ordered: Array) -> Array:
    cut = min(2, (len(ordered) - 1) // 2)
    return ordered[cut : len(ordered) - cut]


def _at_least_zero(futures: Array) -> Array:
    """Cut at 0; what that adds to the mean of a day is taken from the other futures, but for half of them."""
    cut = np.maximum(0, futures)
    before, after = futures.mean(axis=0), cut.mean(axis=0)
    share = np.divide(before, after, out=np.ones(len(after)), where=after > 0)
    lowered: Array = cut * np.clip(share, 0.5, 1)
    return lowered


def suited(costs: Array) -> str:
    """Which of our methods can read this series."""
    if len(costs) < FEWEST_FOR_RHYTHM:
        return AVERAGE_DAY
    rhythm = weekly_rhythm(costs)
    telling = rhythm[(np.arange(len(costs)) - len(costs)) % WEEK] >= SILENT_SHARE
    recent = costs[telling][-RECENT // 2 :]
    return AVERAGE_DAY if len(recent) < 2 * WEEK or (recent <= 0).mean() > OFTEN_ZERO else DAMPED_TREND


def _best_fit(levels: Array, bound: float) -> tuple[float, float, float, Array]:
    """The quickness that was least surprised, its level and trend at the end, and its surprises."""
    found: tuple[float, float, float, Array] | None = None
    least = np.inf
    for quickness in QUICKNESS:
        level, trend, surprises = _smooth(levels, quickness, bound)
        settled = surprises[min(WEEK, len(surprises) // 2) :]
        miss = float(np.abs(settled[-RECENT:]).mean())
        if found is None or miss < least * CLEARLY_BETTER:
            found, least = (quickness, level, trend, settled), miss
    assert found is not None, "there are candidates"
    return found


def _smooth(levels: Array, quickness: float, bound: float) -> tuple[float, float, Array]:
    """Go through the days once (NaN: tells nothing); the level and trend after them, and each day's surprise."""
    known = levels[~np.isnan(levels)]
    level, trend, before = float(np.median(known[: 3 * WEEK])), 0.0, 0.0
    surprises = []
    for value in levels.tolist():
        level, trend = level + DAMPING * trend, DAMPING * trend
        if value != value:  # NaN
            continue
        surprise = value - level
        is_shift = abs(before) > bound and before * surprise > 0
        news = surprise if is_shift else min(max(surprise, -bound), bound)
        level, trend = level + quickness * news, trend + quickness * TREND_SHARE * news
        surprises.append(surprise)
        before = surprise
    return level, trend, np.array(surprises)


def _outlier_bound(levels: Array) -> float:
    """Three usual deviations, by how far neighbouring days are apart; without any, nothing is an outlier."""
    usual = 1.4826 * float(np.median(np.abs(np.diff(levels)))) / np.sqrt(2)
    return OUTLIER * float(usual) if usual > 0 else float(np.inf)


DAMPED_TREND, AVERAGE_DAY, LAST_WEEK = "damped_trend", "average_day", "last_week"
METHODS: dict[str, Method] = {DAMPED_TREND: damped_trend, AVERAGE_DAY: average_day, LAST_WEEK: last_week}
