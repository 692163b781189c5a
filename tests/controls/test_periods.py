"""Days, weeks and months of a zone: no instant without a period, none with two, whatever clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controls.periods import PERIODS, QUARTER, period_at, periods_between

ZONES = sorted(available_timezones() - {"localtime", "posixrules", "Factory"})
SECOND = timedelta(seconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "zone", "at", "start", "end"),
    [
        ("daily", "UTC", "2026-11-24T00:00", "2026-11-24T00:00", "2026-11-25T00:00"),
        ("daily", "UTC", "2026-11-23T23:59:59.999999", "2026-11-23T00:00", "2026-11-24T00:00"),
        ("daily", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("daily", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("daily", "America/St_Johns", "2026-03-08T12:00", "2026-03-08T03:30", "2026-03-09T02:30"),
        ("daily", "America/St_Johns", "2026-11-01T12:00", "2026-11-01T02:30", "2026-11-02T03:30"),
        ("daily", "Asia/Kathmandu", "2026-11-24T18:14:59", "2026-11-23T18:15", "2026-11-24T18:15"),
        ("daily", "Asia/Kathmandu", "2026-11-24T18:15", "2026-11-24T18:15", "2026-11-25T18:15"),
        # No midnight: clocks go from 23:59:59 to 01:00.
        ("daily", "America/Santiago", "2026-09-06T04:00", "2026-09-06T04:00", "2026-09-07T03:00"),
        ("daily", "America/Santiago", "2026-09-06T03:59:59", "2026-09-05T04:00", "2026-09-06T04:00"),
        # Midnight twice: back from 00:01 to 23:01 of the day before, and from 01:00 to 00:00.
        ("daily", "America/St_Johns", "2010-11-07T02:31", "2010-11-07T02:30", "2010-11-08T03:30"),
        ("daily", "America/St_Johns", "2010-11-07T02:29:59", "2010-11-06T02:30", "2010-11-07T02:30"),
        ("daily", "America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
        # A date that never was.
        ("daily", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
        ("daily", "Pacific/Apia", "2011-12-30T09:59:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("weekly", "UTC", "2026-11-22T23:59:59", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("weekly", "UTC", "2026-11-23T00:00", "2026-11-23T00:00", "2026-11-30T00:00"),
        ("weekly", "Europe/Berlin", "2026-10-25T22:59:59", "2026-10-18T22:00", "2026-10-25T23:00"),
        ("monthly", "UTC", "2024-02-29T23:59:59", "2024-02-01T00:00", "2024-03-01T00:00"),
        ("monthly", "Europe/Berlin", "2026-10-31T23:00", "2026-10-31T23:00", "2026-11-30T23:00"),
        ("monthly", "Europe/Berlin", "2026-10-31T22:59:59", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("monthly", "America/St_Johns", "2026-12-31T12:00", "2026-12-01T03:30", "2027-01-01T03:30"),
    ],
)
def test_a_period_goes_from_midnight_to_midnight(period: str, zone: str, at: str, start: str, end: str) -> None:
    found = period_at(utc(at), period, ZoneInfo(zone))

    assert (found.start, found.end) == (utc(start), utc(end))


@given(
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(PERIODS),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),
)
def test_every_instant_lies_in_one_period_which_begins_at_a_full_quarter(zone: str, period: str, at: datetime) -> None:
    moment, place = at.replace(tzinfo=UTC), ZoneInfo(zone)

    span = period_at(moment, period, place)

    assert span.start <= moment < span.end
    assert period_at(span.start, period, place) == span == period_at(span.end - SECOND / 1000, period, place)
    assert period_at(span.end, period, place).start == span.end
    assert (span.start - utc("2000-01-01")) % QUARTER == timedelta(0)
    # The last moment of the day before, and a date that fits: at the middle no change of the clock is near.
    local = (span.start + (span.end - span.start) / 2).astimezone(place)
    assert period != "monthly" or (local.day in (14, 15, 16, 17))


def test_periods_follow_each_other_without_a_gap() -> None:
    found = list(periods_between(utc("2026-10-24T12:00"), utc("2026-10-27T00:00"), "daily", ZoneInfo("Europe/Berlin")))

    assert [span.start for span in found] == [
        utc("2026-10-23T22:00"),
        utc("2026-10-24T22:00"),
        utc("2026-10-25T23:00"),
        utc("2026-10-26T23:00"),
    ][: len(found)]
    assert len(found) == 4
