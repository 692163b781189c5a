"""How much more the engine can take: events per second, the ledger's size, and when something runs out.

The first half is pure. An event counts in the hour that it was used in, which for a live producer is when it came.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from statistics import median
from typing import Any

from django.conf import settings
from django.db import connection

from costs import partitions
from costs.periods import DAY, HOUR, floor

WEEK = 7
FEWEST_WEEKS, MOST_WEEKS = 3, 8
WINDOW_DAYS = MOST_WEEKS * WEEK
# Further ahead a trend says nothing.
FURTHEST = timedelta(days=3 * 365)
# With fewer events the empty tables weigh more than what is in them.
FEWEST_EVENTS = 1000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured: events of the last full hour, of the busiest one, and of each full day up to yesterday."""

    last_hour: int
    peak_hour: int
    days: tuple[int, ...]
    events: int
    partitions: int
    ledger_bytes: int
    database_bytes: int
    months_ahead: int


@dataclass(frozen=True, slots=True)
class Reached:
    """The day on which a limit is reached as things go; None, and why, when it is not or nobody can tell."""

    on: date | None
    reason: str | None = None


def weekly_growth(days: Sequence[int]) -> float | None:
    """By what share the events grow from week to week: the median over all pairs of weeks; None with too few."""
    weeks = [sum(days[end - WEEK : end]) for end in range(len(days), WEEK - 1, -WEEK)][:MOST_WEEKS][::-1]
    counted = [(number, math.log(events)) for number, events in enumerate(weeks) if events]
    if len(counted) < FEWEST_WEEKS:
        return None
    slopes = [(late - early) / (after - before) for (before, early), (after, late) in combinations(counted, 2)]
    return math.exp(median(slopes)) - 1


def rate_reached(peak: float, limit: float, growth: float | None, today: date) -> Reached:
    """When the busiest hour brings `limit` events per second."""
    if peak >= limit:
        return Reached(today)
    if growth is None:
        return Reached(None, f"A trend needs {FEWEST_WEEKS} weeks with events.")
    if growth <= 0 or peak <= 0:
        return Reached(None, "The events do not grow.")
    return _within_reach(math.log(limit / peak) / math.log1p(growth) * WEEK, today)


def disk_full(free: float, per_day: float | None, growth: float | None, today: date) -> Reached:
    """When `free` bytes are used up by `per_day` bytes a day, which grow with the events."""
    if free <= 0:
        return Reached(today)
    if not per_day:
        return Reached(None, "What a day brings cannot be told yet.")
    daily = (1 + (growth or 0)) ** (1 / WEEK)
    if math.isclose(daily, 1):
        return _within_reach(free / per_day, today)
    # The sum of a geometric series, solved for the number of days.
    inside = 1 + free * (daily - 1) / per_day
    if inside <= 0:
        return Reached(None, "The events become fewer.")
    return _within_reach(math.log(inside) / math.log(daily), today)


def _within_reach(days: float, today: date) -> Reached:
    if days > FURTHEST.days:
        return Reached(None, f"Not within {FURTHEST.days // 365} years.")
    return Reached(today + timedelta(days=math.ceil(days)))


def told(load: Load, at: datetime, *, drain_rate: int, disk_bytes: int) -> dict[str, Any]:
    """`disk_bytes` 0: unknown."""
    today = at.astimezone(UTC).date()
    growth = weekly_growth(load.days)
    peak = load.peak_hour / SECONDS_PER_HOUR
    a_day = sum(load.days[-WEEK:]) / WEEK
    is_weighed = load.events >= FEWEST_EVENTS
    per_event, all_per_event = (
        (size / load.events if is_weighed else None) for size in (load.ledger_bytes, load.database_bytes)
    )
    reached = rate_reached(peak, drain_rate, growth, today)
    full = (
        disk_full(disk_bytes - load.database_bytes, a_day * all_per_event if all_per_event else None, growth, today)
        if disk_bytes
        else Reached(None, "FINOPS_DISK_BYTES is not set: nobody else knows the size of Postgres' disk.")
    )
    return {
        "events_per_second": {
            "last_hour": round(load.last_hour / SECONDS_PER_HOUR, 3),
            "peak_hour_of_7_days": round(peak, 3),
        },
        "events_per_day": round(a_day),
        "growth_per_week_percent": None if growth is None else round(growth * 100, 1),
        "drain": {"events_per_second": drain_rate, "reached_on": _iso(reached.on), "reason": reached.reason},
        "ledger": {
            "events": load.events,
            "partitions": load.partitions,
            "bytes": load.ledger_bytes,
            "bytes_per_event": None if per_event is None else round(per_event),
            "growth_bytes_per_day": None if per_event is None else round(per_event * a_day),
        },
        "partitions": {"months_ahead": load.months_ahead, "last_until": _iso(_end_of_month(today, load.months_ahead))},
        "disk": {
            "bytes": disk_bytes or None,
            "database_bytes": load.database_bytes,
            "growth_bytes_per_day": None if all_per_event is None else round(all_per_event * a_day),
            "full_on": _iso(full.on),
            "reason": full.reason,
        },
    }


def _end_of_month(today: date, months_ahead: int) -> date:
    """The first day that nothing can be booked on: the one after the last month that has a partition."""
    place = today.year * 12 + today.month + months_ahead
    return date(place // 12, place % 12 + 1, 1)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def capacity(at: datetime) -> dict[str, Any]:
    """Events per second, sizes and growth, and when the drain rate, the partitions or the disk run out."""
    return told(
        measure(at),
        at,
        drain_rate=settings.FINOPS_DRAIN_RATE_EVENTS,
        disk_bytes=settings.FINOPS_DISK_BYTES,
    )


HOURS = """
SELECT hour, sum(events) FROM costs_hourlycost WHERE hour >= %(since)s AND hour < %(until)s GROUP BY 1
"""
# One pass over the whole counter: its sum is the number of all events, for what they weigh.
DAYS = """
SELECT CASE WHEN day >= %(since)s AND day < %(today)s THEN day END, sum(events) FROM costs_dailycost GROUP BY 1
"""
# The keys of events live for ever. Archived lines are counted, and weigh nothing.
SIZES = """
SELECT count(*), COALESCE(sum(pg_total_relation_size(inhrelid)), 0) + pg_total_relation_size('costs_eventkey'),
       pg_database_size(current_database()), (SELECT COALESCE(sum(charges), 0) FROM costs_archivedpartition)
FROM pg_inherits WHERE inhparent = 'cost_events'::regclass
"""


def measure(at: datetime) -> Load:
    """Read the load of the last 7 days by hour, of the last 8 weeks by day, and what lies on the disk."""
    hour, today = floor(at, HOUR), at.astimezone(UTC).date()
    with connection.cursor() as cursor:
        cursor.execute(HOURS, {"since": hour - WEEK * DAY, "until": hour})
        by_hour = dict(cursor.fetchall())
        cursor.execute(DAYS, {"since": today - WINDOW_DAYS * DAY, "today": today})
        by_day = dict(cursor.fetchall())
        cursor.execute(SIZES)
        count, ledger_bytes, database_bytes, archived = cursor.fetchone()
    first = min((day for day in by_day if day), default=today)
    days = tuple(int(by_day.get(first + timedelta(days=number), 0)) for number in range((today - first).days))
    return Load(
        last_hour=int(by_hour.get(hour - HOUR, 0)),
        peak_hour=int(max(by_hour.values(), default=0)),
        days=days,
        events=int(sum(by_day.values()) - archived),
        partitions=count,
        ledger_bytes=int(ledger_bytes),
        database_bytes=database_bytes,
        months_ahead=partitions.months_ahead(at),
    )
