"""Sums over periods: the plan, the bounds, the zones, and every answer against a plain addition of the same lines."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from costs.breakdown import GROUPS, Query, breakdown, plan_of
from costs.models import CostEvent, KnownOperation
from costs.periods import InvalidQuery, Span, parse_period, parse_zone, pieces
from tests.costs.conftest import Ledger, amount_event, usage_event

BERLIN, KOLKATA, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Lord_Howe")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DIMENSIONS = ("cost_type", "persona_id", "model", "operation", "provider")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def tables(group_by: str, start: str, end: str, zone: str = "UTC") -> dict[str, list[str]]:
    """What the plan reads of each table, as 'start/end'."""
    query = Query(Span(utc(start), utc(end)), ZoneInfo(zone), tuple(group_by.split(",")))
    return {
        source.table.split()[0]: [f"{span.start:%dT%H:%M}/{span.end:%dT%H:%M}" for _, span in spans]
        for source, spans in plan_of(query).parts.values()
    }


def period(start: str, end: str, zone: str = "UTC") -> tuple[datetime, datetime]:
    found = parse_period(start, end, ZoneInfo(zone))
    return found.start, found.end


def by(answer: dict[str, Any], name: str) -> dict[str | None, Decimal]:
    return {group["key"][name]: group["cost"] for group in answer["groups"]}


@pytest.mark.parametrize(
    ("start", "end", "zone", "first", "after"),
    [
        ("2026-08-01", "2026-08-03", "UTC", "2026-08-01T00:00", "2026-08-04T00:00"),
        ("2026-08-01", "2026-08-01", "Europe/Berlin", "2026-07-31T22:00", "2026-08-01T22:00"),
        ("2026-03-29", "2026-03-29", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-08-01", "2026-08-01", "Asia/Kolkata", "2026-07-31T18:30", "2026-08-01T18:30"),
        ("2026-09-06", "2026-09-06", "America/Santiago", "2026-09-06T04:00", "2026-09-07T03:00"),
        ("2026-08-01T00:00:00Z", "2026-08-03T23:59:59Z", "UTC", "2026-08-01T00:00", "2026-08-04T00:00"),
        ("2026-08-01T00:00:00Z", "2026-08-03T23:59:59.0Z", "UTC", "2026-08-01T00:00", "2026-08-03T23:59:59"),
        ("2026-08-01T00:00:59Z", "2026-08-01T00:01:00Z", "UTC", "2026-08-01T00:00:59", "2026-08-01T00:01"),
        ("2026-08-01T02:00:00+02:00", "2026-08-01T02:00:00 01:00", "UTC", "2026-08-01T00:00", "2026-08-01T01:00"),
        ("2026-08-01t00:00:00.000001z", "2026-08-01", "UTC", "2026-08-01T00:00:00.000001", "2026-08-02T00:00"),
        ("2000-01-01", "2000-01-01", "Europe/Berlin", "1999-12-31T23:00", "2000-01-01T23:00"),
    ],
)
def test_bounds_mean_what_they_say(start: str, end: str, zone: str, first: str, after: str) -> None:
    assert period(start, end, zone) == (utc(first), utc(after))


@pytest.mark.parametrize(
    ("start", "end", "field", "sentence"),
    [
        ("2026-08-01T00:00:00", "2026-08-02", "start_date", "needs an offset"),
        ("2026-08-01 00:00:00", "2026-08-02", "start_date", "must be a date"),
        ("20260801", "2026-08-02", "start_date", "must be a date"),
        ("", "2026-08-02", "start_date", "must be a date"),
        ("\uff12\uff10\uff12\uff16-08-01", "2026-08-02", "start_date", "must be a date"),
        ("2026-08-01\0", "2026-08-02", "start_date", "must be a date"),
        ("2026-02-30", "2026-08-02", "start_date", "is no time of the calendar"),
        ("2026-08-01T00:00:00Z", "2026-08-01T24:00:00Z", "end_date", "is no time of the calendar"),
        ("2026-08-01T00:00:00Z", "2026-08-02T00:00:00+25:00", "end_date", "is no time of the calendar"),
        ("0001-01-01", "2026-08-02", "start_date", "between the years 2000 and 2100"),
        ("2026-08-01", "9999-12-31", "end_date", "between the years 2000 and 2100"),
        ("2026-08-02", "2026-08-01", "end_date", "must lie after start_date"),
        ("2026-08-01T00:00:00Z", "2026-08-01T00:00:00Z", "end_date", "must lie after start_date"),
        ("2020-01-01", "2026-01-01", "end_date", "at most five years"),
    ],
)
def test_bounds_without_a_meaning_are_refused(start: str, end: str, field: str, sentence: str) -> None:
    with pytest.raises(InvalidQuery, match=sentence) as refusal:
        period(start, end)
    assert refusal.value.field == field


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "America", "Europe/Berlin\0", "x" * 1000])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidQuery, match="must be an IANA name"):
        parse_zone(name)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"group_by": ""}, "group_by"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "model,model"}, "group_by"),
        ({"group_by": "model,"}, "group_by"),
        ({"persona_id": ""}, "persona_id"),
        ({"persona_id": "a\0"}, "persona_id"),
        ({"persona_id": "x" * 101}, "persona_id"),
        ({"timezone": "nowhere"}, "timezone"),
        ({"group_by": "hour", "end_date": "2026-12-31"}, "group_by"),
    ],
)
def test_other_parameters_without_a_meaning_are_refused(db: None, parameters: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidQuery) as refusal:
        breakdown(**{"start_date": "2026-08-01", "end_date": "2026-08-02"} | parameters)
    assert refusal.value.field == field


def starts(span: Span, zone: ZoneInfo, unit: timedelta) -> list[str]:
    return [piece.local.isoformat(timespec="minutes") for piece in pieces(span, zone, unit)]


def test_the_hour_that_a_change_repeats_comes_twice_with_its_offsets() -> None:
    span = Span(utc("2026-10-25T00:00"), utc("2026-10-25T02:00"))

    assert starts(span, BERLIN, HOUR) == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]


def test_the_hour_that_a_change_skips_does_not_come() -> None:
    span = Span(utc("2026-03-29T00:00"), utc("2026-03-29T02:00"))

    assert starts(span, BERLIN, HOUR) == ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]


def test_a_change_of_half_an_hour_cuts_an_hour_in_two() -> None:
    span = Span(utc("2026-04-04T14:30"), utc("2026-04-04T16:30"))

    found = [(piece.local.isoformat(timespec="minutes"), piece.span.start) for piece in pieces(span, LORD_HOWE, HOUR)]

    assert found == [
        ("2026-04-05T01:00+11:00", utc("2026-04-04T14:30")),
        ("2026-04-05T01:00+10:30", utc("2026-04-04T15:00")),
        ("2026-04-05T02:00+10:30", utc("2026-04-04T15:30")),
    ]


def test_a_date_that_a_zone_skipped_does_not_come() -> None:
    span = Span(utc("2011-12-29T12:00"), utc("2011-12-31T12:00"))

    days = [piece.local.date() for piece in pieces(span, ZoneInfo("Pacific/Apia"), DAY)]

    assert days == [date(2011, 12, 29), date(2011, 12, 31), date(2012, 1, 1)]


@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
    unit=st.sampled_from([HOUR, DAY]),
)
@example(zone="America/St_Johns", start=datetime(2010, 11, 6), length=timedelta(days=3), unit=DAY)
@settings(deadline=None, max_examples=60)
def test_pieces_cover_a_span_without_gap_or_overlap_and_know_their_hour(
    zone: str, start: datetime, length: timedelta, unit: timedelta
) -> None:
    span = Span(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length)

    found = list(pieces(span, ZoneInfo(zone), unit))

    assert [found[0].span.start, found[-1].span.end] == [span.start, span.end]
    assert all(before.span.end == after.span.start for before, after in pairwise(found))
    for piece in found:
        for at in (piece.span.start, piece.span.end - timedelta(microseconds=1)):
            local = at.astimezone(ZoneInfo(zone))
            assert local.utcoffset() == piece.local.utcoffset()
            assert timedelta(0) <= local.replace(tzinfo=None) - piece.local.replace(tzinfo=None) < unit


@pytest.mark.parametrize(
    ("group_by", "zone", "expected"),
    [
        ("cost_type", "UTC", {"costs_dailycost": ["02T00:00/04T00:00"], "costs_hourlycost": ["01T22:00/02T00:00"]}),
        (
            "operation,persona_id",
            "UTC",
            {"costs_dailycost": ["02T00:00/04T00:00"], "costs_hourlyoperation": ["01T22:00/02T00:00"]},
        ),
        ("operation,model", "UTC", {"costs_dailycost": ["02T00:00/04T00:00"], "cost_events": ["01T22:00/02T00:00"]}),
        (
            "day",
            "UTC",
            {
                "costs_hourlypersona": ["01T22:00/02T00:00"],
                "costs_dailypersona": ["02T00:00/03T00:00", "03T00:00/04T00:00"],
            },
        ),
        (
            "day",
            "Europe/Berlin",
            {"costs_hourlypersona": ["01T22:00/02T22:00", "02T22:00/03T22:00", "03T22:00/04T00:00"]},
        ),
    ],
)
def test_the_coarsest_counter_that_can_answer_is_read(group_by: str, zone: str, expected: dict[str, list[str]]) -> None:
    assert tables(group_by, "2026-08-01T22:00", "2026-08-04T00:00", zone) == expected


def test_partial_hours_are_read_from_the_lines() -> None:
    assert tables("model", "2026-08-01T21:15", "2026-08-02T01:45") == {
        "cost_events": ["01T21:15/01T22:00", "02T01:00/02T01:45"],
        "costs_hourlycost": ["01T22:00/02T01:00"],
    }


def test_a_zone_at_half_an_hour_reads_lines_only_around_its_midnights() -> None:
    assert tables("day", "2026-08-01T18:30", "2026-08-02T18:30", "Asia/Kolkata") == {
        "cost_events": ["01T18:30/01T19:00", "02T18:00/02T18:30"],
        "costs_hourlypersona": ["01T19:00/02T18:00"],
    }


def test_hours_of_a_zone_at_half_an_hour_are_read_from_the_lines() -> None:
    assert tables("hour", "2026-08-01T18:30", "2026-08-01T20:30", "Asia/Kolkata") == {
        "cost_events": ["01T18:30/01T19:30", "01T19:30/01T20:30"]
    }


def test_the_specified_request_answers_by_cost_type(ledger: Ledger) -> None:
    ledger.record(
        [
            amount_event("1", cost_type="openai_api", persona_id="ai_jesus", timestamp="2025-08-03T23:59:59.5Z"),
            amount_event("2", cost_type="cdn", persona_id="ai_jesus", timestamp="2025-08-01T00:00:00Z"),
            amount_event("4", cost_type="cdn", persona_id="ai_jesus", timestamp="2025-08-04T00:00:00Z"),
            amount_event("8", cost_type="cdn", persona_id="other", timestamp="2025-08-02T00:00:00Z"),
        ]
    )

    answer = breakdown(start_date="2025-08-01T00:00:00Z", end_date="2025-08-03T23:59:59Z", persona_id="ai_jesus")

    assert answer == {
        "start_date": utc("2025-08-01"),
        "end_date": utc("2025-08-04"),
        "timezone": "UTC",
        "total_cost": 3,
        "unpriced_events": 0,
        "groups": [
            {"key": {"cost_type": "cdn"}, "cost": 2, "events": 1},
            {"key": {"cost_type": "openai_api"}, "cost": 1, "events": 1},
        ],
    }


def test_absent_values_are_null_keys_in_the_order_asked(ledger: Ledger) -> None:
    ledger.record([amount_event("1", timestamp="2026-05-01T10:20:30Z")])

    (group,) = breakdown(start_date="2026-05-01", end_date="2026-05-01", group_by="day,model,hour,operation")["groups"]

    assert list(group["key"].items()) == [
        ("day", "2026-05-01"),
        ("model", None),
        ("hour", "2026-05-01T10:00:00Z"),
        ("operation", None),
    ]


def test_keys_of_time_are_those_of_the_asked_zone(ledger: Ledger) -> None:
    ledger.record([amount_event("1", timestamp="2026-05-01T22:20:30Z")])

    answer = breakdown(start_date="2026-05-01", end_date="2026-05-03", timezone="Europe/Berlin", group_by="day,hour")

    assert answer["groups"][0]["key"] == {"day": "2026-05-02", "hour": "2026-05-02T00:00:00+02:00"}


def test_unpriced_events_are_counted_and_cost_nothing(ledger: Ledger) -> None:
    ledger.record([usage_event(model="acme-1", provider="acme", timestamp="2026-05-01T10:00:00Z")])

    answer = breakdown(start_date="2026-05-01", end_date="2026-05-01")

    assert (answer["total_cost"], answer["unpriced_events"]) == (0, 1)
    assert answer["groups"] == [{"key": {"cost_type": "openai_api"}, "cost": 0, "events": 1}]


def operations_until(end: str, group_by: str) -> dict[str | None, Decimal]:
    return by(breakdown(start_date="2026-05-01", end_date=end, group_by=group_by), "operation")


def test_operations_beyond_the_first_thousand_are_one_group_wherever_they_are_read(ledger: Ledger) -> None:
    fill_operations("a", leaving=1)
    ledger.record(
        [
            amount_event(amount, persona_id="a", operation=operation, timestamp="2026-05-01T10:20:00Z")
            for amount, operation in (("1", "op-1"), ("2", "op-2"), ("4", "op-3"))
        ]
    )

    counted = operations_until("2026-05-01T23:59:59Z", "operation")
    hourly = operations_until("2026-05-01T11:00:00Z", "operation")
    lines = operations_until("2026-05-01T10:30:00Z", "operation,model")

    assert counted == hourly == lines == {"op-1": 1, "other": 6}


def test_a_bound_caller_sees_only_its_personas_and_a_foreign_one_as_empty(ledger: Ledger) -> None:
    at = "2026-05-01T10:20:00Z"
    ledger.record([amount_event(a, persona_id=p, timestamp=at) for a, p in (("1", "a"), ("2", "b"), ("4", None))])
    may = {"start_date": "2026-05-01", "end_date": "2026-05-01T10:30:00Z", "group_by": "persona_id"}

    assert by(breakdown(**may, personas=["a"]), "persona_id") == {"a": 1}
    assert breakdown(**may, personas=["a"], persona_id="b")["groups"] == []
    assert breakdown(**may, personas=[])["total_cost"] == 0
    assert by(breakdown(**may), "persona_id") == {"a": 1, "b": 2, None: 4}


def test_too_many_groups_are_refused(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costs.breakdown.MOST_GROUPS", 1)
    ledger.record([amount_event("1", cost_type=name, timestamp="2026-05-01T10:00:00Z") for name in ("cdn", "storage")])

    with pytest.raises(InvalidQuery, match="more than 1 groups"):
        breakdown(start_date="2026-05-01", end_date="2026-05-01")


def fill_operations(persona_id: str, *, leaving: int) -> None:
    """Leave room for so many names before the persona's operations count as `other`."""
    names = (f"filler-{number}" for number in range(KnownOperation.LIMIT - leaving))
    KnownOperation.objects.bulk_create(KnownOperation(persona_id=persona_id, operation=name) for name in names)


NAMES = st.none() | st.sampled_from(["x", "y"])
# Three days around the change to summer time in Berlin.
FIRST = datetime(2026, 3, 28)
TIMES = st.datetimes(FIRST, FIRST + timedelta(days=3)) | st.integers(0, 72).map(lambda hours: FIRST + hours * HOUR)
EVENTS = st.fixed_dictionaries(
    {
        "timestamp": TIMES.map(lambda at: at.replace(tzinfo=UTC)),
        "cost_type": st.sampled_from(["cdn", "storage"]),
        "persona_id": st.none() | st.sampled_from(["a", "b"]),
        "operation": st.none() | st.sampled_from(["op-1", "op-2", "op-3", "other"]),
        "provider": NAMES,
        "model": NAMES,
        "amount": st.decimals("0", "999999999", places=12).map(lambda amount: f"{amount:f}") | st.none(),
    }
)
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]
)
QUERIES = st.fixed_dictionaries(
    {
        "bounds": st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]).map(sorted),
        "timezone": ZONES,
        "group_by": st.lists(st.sampled_from(GROUPS), min_size=1, max_size=7, unique=True),
        "persona_id": st.none() | st.sampled_from(["a", "b", "nobody"]),
        "personas": st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2),
    }
)


def with_usage_where_no_amount(event: dict[str, Any]) -> dict[str, Any]:
    """An event without an amount has no price either."""
    return event if event["amount"] else event | {"usage": {"images": 1}}


def plain_addition(query: dict[str, Any]) -> dict[tuple[Any, ...], list[Any]]:
    start, end = (bound.replace(tzinfo=UTC) for bound in query["bounds"])
    known = set(KnownOperation.objects.values_list("persona_id", "operation"))
    sums: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [Decimal(0), 0])
    for line in CostEvent.objects.all():
        is_visible = query["personas"] is None or line.persona_id in query["personas"]
        is_wanted = query["persona_id"] in (None, line.persona_id)
        if start <= line.timestamp < end and is_visible and is_wanted:
            found = sums[tuple(key_of(line, name, query["timezone"], known) for name in query["group_by"])]
            found[0] += line.cost_amount or 0
            found[1] += 1
    return dict(sums)


def key_of(line: CostEvent, name: str, zone: str, known: set[tuple[str, str]]) -> str | None:
    local = line.timestamp.astimezone(ZoneInfo(zone))
    if name == "hour":
        return local.replace(minute=0, second=0, microsecond=0).isoformat().replace("+00:00", "Z")
    if name == "day":
        return local.date().isoformat()
    value: str | None = getattr(line, name)
    if name == "operation" and value and (line.persona_id or "", value) not in known:
        return KnownOperation.OTHER
    return value


@given(events=st.lists(EVENTS, max_size=25), queries=st.lists(QUERIES, min_size=1, max_size=8))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_answer_equals_a_plain_addition_of_the_lines(
    ledger: Ledger, events: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        fill_operations("a", leaving=2)
        ledger.record([with_usage_where_no_amount(event) for event in events])

        for query in queries:
            start, end = (f"{bound.isoformat()}Z" for bound in query["bounds"])
            rest = {name: query[name] for name in ("timezone", "persona_id", "personas")}
            start, end = (text if "." in text else text.replace("Z", ".0Z") for text in (start, end))
            answer = breakdown(start_date=start, end_date=end, group_by=",".join(query["group_by"]), **rest)
            expected = plain_addition(query)

            groups = {tuple(group["key"].values()): [group["cost"], group["events"]] for group in answer["groups"]}
            assert groups == expected
            assert answer["total_cost"] == sum((cost for cost, _ in expected.values()), Decimal(0))

        transaction.set_rollback(True)
