"""Periods of time as callers write them, and how a time zone cuts them into days and hours. Pure.

A zone is handled as stretches of one offset each; inside a stretch days and hours are plain arithmetic, so every
rule of every zone (half hours, changes at one minute past midnight, days that never were) needs no case of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

# Names that mean something else on every machine.
OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
LONGEST = timedelta(days=5 * 366)
FIRST_YEAR, LAST_YEAR = 2000, 2100

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt](?P<time>\d\d:\d\d(:\d\d)?)(?P<fraction>\.\d{1,6})?(?P<offset>[Zz]|[-+ ]\d\d:\d\d)?",
    re.ASCII,
)


class InvalidQuery(ValueError):
    """A parameter that has no answer: `field` names it, `sentence` says what is wrong with it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end), both in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of one local hour or day that lies in a period; `local` is where that hour or day begins."""

    local: datetime
    span: Span


def parse_period(start: str, end: str, zone: ZoneInfo) -> Span:
    """Read two bounds: RFC 3339 instants, half-open, or bare dates, which mean whole days of the zone.

    An end that is written to the second and ends in :59 includes that second. Raises InvalidQuery.
    """
    span = Span(_bound("start_date", start, zone), _bound("end_date", end, zone, is_end=True))
    if span.end <= span.start:
        raise InvalidQuery("end_date", "must lie after start_date")
    if span.end - span.start > LONGEST:
        raise InvalidQuery("end_date", "must lie at most five years after start_date")
    return span


def parse_zone(name: str) -> ZoneInfo:
    if name not in _zone_names():
        raise InvalidQuery("timezone", f"must be an IANA name such as Europe/Berlin, not {name[:50]!r}")
    return ZoneInfo(name)


def pieces(span: Span, zone: ZoneInfo, unit: timedelta) -> Iterator[Piece]:
    """Cut at every full hour or day (`unit`) of the zone, and wherever the zone changes its offset."""
    for stretch, offset in _stretches(span, zone):
        start, local = stretch.start, _local_floor(stretch.start.astimezone(timezone(offset)), unit)
        while start < stretch.end:
            end = min((local + unit).astimezone(UTC), stretch.end)
            yield Piece(local, Span(start, end))
            start, local = end, local + unit


def floor(at: datetime, unit: timedelta) -> datetime:
    """The full UTC hour or day at or before `at`."""
    return _local_floor(at.astimezone(UTC), unit)


def ceiling(at: datetime, unit: timedelta) -> datetime:
    """The full UTC hour or day at or after `at`."""
    full = floor(at, unit)
    return full if full == at else full + unit


def _bound(field: str, text: str, zone: ZoneInfo, *, is_end: bool = False) -> datetime:
    is_date = _DATE.fullmatch(text)
    found = _INSTANT.fullmatch(text)
    if not is_date and not found:
        raise InvalidQuery(field, "must be a date (2026-08-01) or an RFC 3339 time (2026-08-01T00:00:00Z)")
    if found and found["offset"] is None:
        raise InvalidQuery(field, "needs an offset: Z for UTC, or one like +02:00")
    if not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise InvalidQuery(field, f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    try:
        return _instant(found, is_end) if found else _midnight(text, zone, is_end)
    except ValueError:
        raise InvalidQuery(field, f"{text} is no time of the calendar") from None


def _midnight(text: str, zone: ZoneInfo, is_end: bool) -> datetime:
    day = date.fromisoformat(text) + (DAY if is_end else timedelta(0))
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _instant(found: re.Match[str], is_end: bool) -> datetime:
    # In a URL an unescaped plus sign means a space.
    offset = "+00:00" if found["offset"] in "Zz" else found["offset"].replace(" ", "+")
    at = datetime.fromisoformat(f"{found['date']}T{found['time']}{found['fraction'] or ''}{offset}").astimezone(UTC)
    is_last_second = is_end and at.second == 59 and not found["fraction"]
    return at + SECOND if is_last_second else at


def _stretches(span: Span, zone: ZoneInfo) -> Iterator[tuple[Span, timedelta]]:
    """The parts of a span in which the zone keeps one offset. No zone changes twice within a day."""
    start = probe = span.start
    while start < span.end:
        ahead = min(probe + DAY, span.end)
        if _offset(ahead, zone) != _offset(start, zone):
            end = _change(probe, ahead, zone)
        elif ahead == span.end:
            end = span.end
        else:
            probe = ahead
            continue
        yield Span(start, end), _offset(start, zone)
        start = probe = end


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, always a full second, with the offset of `after`."""
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    while (seconds := (after - before) // SECOND) > 1:
        middle = before + seconds // 2 * SECOND
        if _offset(middle, zone) == _offset(before, zone):
            before = middle
        else:
            after = middle
    return after


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None, "a time in a zone has an offset"
    return offset


def _local_floor(at: datetime, unit: timedelta) -> datetime:
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if unit == HOUR else hour.replace(hour=0)


@cache
def _zone_names() -> frozenset[str]:
    # A look at the zone files of the system: once for each process.
    return frozenset(available_timezones()) - OF_THE_MACHINE
