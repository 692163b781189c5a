"""Budget periods: the days, weeks and months of a time zone's calendar. Pure.

A period goes from one local midnight to the next that matters. Where a zone has that midnight twice the first counts,
where it has none the moment of the change does: every instant lies in exactly one period, whatever clocks do meanwhile.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from costs.periods import DAY, Span

DAILY, WEEKLY, MONTHLY = "daily", "weekly", "monthly"
PERIODS = (DAILY, WEEKLY, MONTHLY)
# Since 2000, before which nothing is booked, every offset of every zone is a multiple of this: no period begins or
# ends inside a quarter of an hour of UTC.
QUARTER = timedelta(minutes=15)


def period_at(at: datetime, period: str, zone: ZoneInfo) -> Span:
    """The period that holds `at`; a week begins on Monday."""
    first = _first_day(at.astimezone(zone).date(), period)
    # Clocks that are put back over midnight show the old date again after the new one began.
    while (end := _midnight(_following(first, period), zone)) <= at:
        first = _following(first, period)
    while (start := _midnight(first, zone)) > at:
        first, end = _first_day(first - DAY, period), start
    return Span(start, end)


def periods_between(since: datetime, until: datetime, period: str, zone: ZoneInfo) -> Iterator[Span]:
    """The period that holds `since` and all that begin after it and before `until`, in order."""
    while since < until:
        span = period_at(since, period, zone)
        yield span
        since = span.end


def _first_day(day: date, period: str) -> date:
    if period == WEEKLY:
        return day - day.weekday() * DAY
    return day.replace(day=1) if period == MONTHLY else day


def _following(first: date, period: str) -> date:
    if period == MONTHLY:
        return (first + 31 * DAY).replace(day=1)
    return first + (7 * DAY if period == WEEKLY else DAY)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
