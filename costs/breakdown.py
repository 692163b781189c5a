"""Sums over a period, grouped by anything, exact to the microsecond.

A plan cuts the period at the hours or days that are asked for and covers each piece with the coarsest counter that
can answer: whole UTC days, then whole UTC hours, then the ledger's lines for what is left at the ends. Everything is
read in one statement, hence in one snapshot, and every line lies in exactly one part: groups always add up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from costs.models.ledger import BOOKED_BEFORE
from costs.periods import DAY, HOUR, InvalidQuery, Span, ceiling, floor, parse_period, parse_zone, pieces
from costs.reports import reading
from costs.verify import ADDED_UP, SPELLED

__all__ = ["GROUPS", "InvalidQuery", "breakdown"]

NAMES = ("cost_type", "persona_id", "model", "operation", "provider")
TIMES = ("hour", "day")
GROUPS = (*NAMES, *TIMES)
DEFAULT_GROUP = "cost_type"
LONGEST_BY_HOUR = timedelta(days=100)
MOST_GROUPS = 50_000
PERSONA_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Source:
    """A table to add up, in whole `unit`s of its time column; None takes any span."""

    table: str
    unit: timedelta | None
    at: str
    kind: str
    names: Mapping[str, str]
    sums: tuple[str, str, str] = ("sum(amount)", "sum(events)", "sum(unpriced)")
    condition: str = ""

    def within(self, since: str, until: str) -> str:
        """The condition of a row, between two expressions."""
        return f"{self.at} >= {since} AND {self.at} < {until} {self.condition.format(since=since)}"

    def bound(self, at: datetime) -> object:
        return at.date() if self.kind == "date" else at


def _counter(table: str, unit: timedelta, at: str, kind: str, *names: str) -> Source:
    return Source(table, unit, at, kind, {name: name for name in names})


# Coarsest first, and of one unit the smallest: what can answer is chosen in this order. The lines can always answer.
COUNTERS = (
    _counter("costs_dailypersona", DAY, "day", "date", "persona_id"),
    _counter("costs_dailycost", DAY, "day", "date", *NAMES),
    _counter("costs_hourlypersona", HOUR, "hour", "timestamptz", "persona_id"),
    _counter("costs_hourlycost", HOUR, "hour", "timestamptz", "cost_type", "persona_id", "model", "provider"),
    _counter("costs_hourlyoperation", HOUR, "hour", "timestamptz", "persona_id", "operation"),
)
LINES = Source(
    "cost_events e",
    None,
    "timestamp",
    "timestamptz",
    {name: SPELLED[name] for name in NAMES},
    (ADDED_UP["amount"], ADDED_UP["events"], ADDED_UP["unpriced"]),
    # As in CostEventQuerySet.in_period: older partitions are left out.
    "AND created_at >= {since} - %(booked_before)s",
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: a period seen from a zone, the groups in order, and whose costs."""

    period: Span
    zone: ZoneInfo
    group_by: tuple[str, ...]
    persona_id: str | None = None
    personas: Sequence[str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.group_by if name in NAMES)

    @property
    def unit(self) -> timedelta | None:
        """The finest time that is asked for."""
        return HOUR if "hour" in self.group_by else DAY if "day" in self.group_by else None


@dataclass(slots=True)
class Plan:
    """Which spans to add up in which table, each for one of the local times (None where no time is asked for)."""

    times: list[datetime | None] = field(default_factory=list)
    parts: dict[str, tuple[Source, list[tuple[int, Span]]]] = field(default_factory=dict)

    def add(self, source: Source, place: int, span: Span) -> None:
        self.parts.setdefault(source.table, (source, []))[1].append((place, span))


def breakdown(
    *,
    start_date: str,
    end_date: str,
    timezone: str = "UTC",
    persona_id: str | None = None,
    group_by: str | None = None,
    personas: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Add up [start_date, end_date) as one dict: the period, the total, and a group for each key that occurs.

    Groups come in order of time, then the dearest first. `personas` are all that the caller may see (None: all).
    Raises InvalidQuery for parameters that have no answer.
    """
    zone = parse_zone(timezone)
    period = parse_period(start_date, end_date, zone)
    query = Query(period, zone, _parsed_groups(group_by), _checked_persona(persona_id), personas)
    if query.unit == HOUR and period.end - period.start > LONGEST_BY_HOUR:
        raise InvalidQuery("group_by", f"hour covers at most {LONGEST_BY_HOUR.days} days: ask for fewer, or for day")
    return _answer(query)


def plan_of(query: Query) -> Plan:
    """Cover the period: every instant in exactly one part."""
    plan, places = Plan(), dict[str, int]()
    sources = _sources(query.names)
    for local, span in _asked_pieces(query):
        # By its spelling: two hours with different offsets may begin at the same instant.
        if (spelled := str(local)) not in places:
            places[spelled] = len(plan.times)
            plan.times.append(local)
        for source, part in _cover(span, sources):
            plan.add(source, places[spelled], part)
    return plan


def _answer(query: Query) -> dict[str, Any]:
    plan = plan_of(query)
    _refuse_archived(plan)
    rows = _read(query, plan)
    # They may have left in between.
    _refuse_archived(plan)
    if len(rows) > MOST_GROUPS:
        raise InvalidQuery("group_by", f"gives more than {MOST_GROUPS:,} groups: ask for a shorter period or for less")
    rows.sort(key=_in_order)
    return {
        "start_date": query.period.start,
        "end_date": query.period.end,
        "timezone": query.zone.key,
        "total_cost": sum((cost for *_, cost, _, _ in rows), Decimal(0)),
        "unpriced_events": sum(int(unpriced) for *_, unpriced in rows),
        "groups": [_group(query, plan, row) for row in rows],
    }


def _refuse_archived(plan: Plan) -> None:
    """Where lines are in files, only the counters can answer; a part of the sum would look like all of it."""
    _, spans = plan.parts.get(LINES.table, (LINES, []))
    if not spans:
        return
    hours = [(floor(span.start, HOUR), ceiling(span.end, HOUR)) for _, span in spans]
    starts, ends = zip(*hours, strict=True)
    with reading().cursor() as cursor:
        cursor.execute(
            "SELECT min(at) FROM costs_archivedsum"
            " JOIN unnest(%s::timestamptz[], %s::timestamptz[]) AS span(since, until) ON at >= since AND at < until"
            " WHERE counter = 'costs_hourlycost'",
            [list(starts), list(ends)],
        )
        (first,) = cursor.fetchone()
    if first:
        kept = "by whole hours of UTC, and by whole days of UTC where operations are grouped with models or types"
        raise InvalidQuery("start_date", f"the lines of {first:%Y-%m-%d %H:00} UTC are archived: ask {kept}")


def _parsed_groups(text: str | None) -> tuple[str, ...]:
    groups = tuple(name.strip() for name in (DEFAULT_GROUP if text is None else text).split(","))
    for place, name in enumerate(groups):
        if name not in GROUPS:
            raise InvalidQuery("group_by", f"must name some of {', '.join(GROUPS)}, not {name[:50]!r}")
        if name in groups[:place]:
            raise InvalidQuery("group_by", f"names {name} twice")
    return groups


def _checked_persona(persona_id: str | None) -> str | None:
    if persona_id is None:
        return None
    if not 0 < len(persona_id) <= PERSONA_LENGTH or "\0" in persona_id:
        raise InvalidQuery("persona_id", f"must be a name of 1 to {PERSONA_LENGTH} characters")
    return persona_id


def _asked_pieces(query: Query) -> Iterator[tuple[datetime | None, Span]]:
    if query.unit is None:
        yield None, query.period
        return
    for piece in pieces(query.period, query.zone, query.unit):
        # One local day may come in pieces with different offsets: to a day only the date counts.
        local = piece.local if query.unit == HOUR else piece.local.replace(tzinfo=None)
        yield local, piece.span


def _sources(names: tuple[str, ...]) -> list[Source]:
    """At most one counter for each unit, coarsest first, then the lines."""
    able: dict[timedelta | None, Source] = {}
    for source in COUNTERS:
        if source.names.keys() >= set(names):
            able.setdefault(source.unit, source)
    return [*able.values(), LINES]


def _cover(span: Span, sources: Sequence[Source]) -> Iterator[tuple[Source, Span]]:
    """Whole units from the first source, what is left on both sides from the others."""
    source, *finer = sources
    if span.start >= span.end:
        return
    if source.unit is None:
        yield source, span
        return
    start, end = ceiling(span.start, source.unit), floor(span.end, source.unit)
    if start >= end:
        yield from _cover(span, finer)
        return
    yield from _cover(Span(span.start, start), finer)
    yield source, Span(start, end)
    yield from _cover(Span(end, span.end), finer)


def _read(query: Query, plan: Plan) -> list[tuple[Any, ...]]:
    """Rows of (place in the plan's times, names…, cost, events, unpriced), one more than allowed at most."""
    parameters: dict[str, Any] = {
        "persona_id": query.persona_id,
        "personas": None if query.personas is None else list(query.personas),
        "booked_before": BOOKED_BEFORE,
        "most": MOST_GROUPS + 1,
    }
    selects = []
    for number, (source, spans) in enumerate(plan.parts.values()):
        if query.unit is None:
            selects += [_select_one(query, source, place, span, parameters) for place, span in spans]
        else:
            selects.append(_select_each(query, source, number))
            parameters |= _spans(source, spans, number)
    columns = ", ".join(("place", *query.names))
    with reading().cursor() as cursor:
        cursor.execute(
            f"SELECT {columns}, sum(cost), sum(events), sum(unpriced) FROM ({' UNION ALL '.join(selects)}) AS parts"
            f" GROUP BY {columns} LIMIT %(most)s",
            parameters,
        )
        return list(cursor.fetchall())


def _select_one(query: Query, source: Source, place: int, span: Span, parameters: dict[str, Any]) -> str:
    """Add up one span, whose bounds the planner sees: a long one is read twice as fast without the index."""
    since, until = f"since_{len(parameters)}", f"until_{len(parameters)}"
    parameters |= {since: source.bound(span.start), until: source.bound(span.end)}
    added = _added_up(query, source, f"%({since})s::{source.kind}", f"%({until})s::{source.kind}")
    return f"SELECT {place} AS place, part.* FROM ({added}) AS part"


def _select_each(query: Query, source: Source, number: int) -> str:
    """Add up each span by itself: so every span is one range of an index, however many there are."""
    return (
        "SELECT place, part.*"
        f" FROM unnest(%(places_{number})s::int[], %(since_{number})s::{source.kind}[],"
        f" %(until_{number})s::{source.kind}[]) AS span(place, since, until)"
        f" CROSS JOIN LATERAL ({_added_up(query, source, 'since', 'until')}) AS part"
    )


def _added_up(query: Query, source: Source, since: str, until: str) -> str:
    spelled = "".join(f"{source.names[name]} AS {name}, " for name in query.names)
    cost, events, unpriced = source.sums
    grouped = ", ".join(str(place + 1) for place in range(len(query.names)))
    return (
        f"SELECT {spelled}{cost} AS cost, {events} AS events, {unpriced} AS unpriced FROM {source.table}"
        f" WHERE {source.within(since, until)}{_whose(query)}"
        f"{' GROUP BY ' + grouped if grouped else ''} HAVING count(*) > 0"
    )


def _whose(query: Query) -> str:
    one = "" if query.persona_id is None else " AND persona_id = %(persona_id)s"
    some = "" if query.personas is None else " AND persona_id = ANY(%(personas)s::text[])"
    return one + some


def _spans(source: Source, spans: list[tuple[int, Span]], number: int) -> dict[str, Any]:
    return {
        f"places_{number}": [place for place, _ in spans],
        f"since_{number}": [source.bound(span.start) for _, span in spans],
        f"until_{number}": [source.bound(span.end) for _, span in spans],
    }


def _in_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    place, *names, cost, _, _ = row
    return place, -cost, names


def _group(query: Query, plan: Plan, row: tuple[Any, ...]) -> dict[str, Any]:
    place, *names, cost, events, _ = row
    # Counters spell an absent value ''.
    found = {name: value or None for name, value in zip(query.names, names, strict=True)}
    key = {name: _key(name, found, plan.times[place]) for name in query.group_by}
    return {"key": key, "cost": cost, "events": int(events)}


def _key(name: str, names: Mapping[str, str | None], local: datetime | None) -> str | None:
    if name in NAMES or local is None:
        return names[name]
    return local.date().isoformat() if name == "day" else local.isoformat().replace("+00:00", "Z")
