"""The sums beside the ledger, moved in the transaction that writes the lines.

Added up in Python per batch, then written as one upsert per table, ordered by key: two drains that touch the same
keys wait for each other instead of deadlocking. The roll-ups move by triggers of the database, in no order of their
own: so their rows of each persona's day are taken first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.db import connection

from costs.booking import ADJUSTMENT, CHARGE, Line
from costs.models import KnownOperation
from costs.straight import quoted

Key = tuple[Any, ...]
OPERATIONS_LOCK = 2_400_001
TYPES = {"hour": "timestamptz", "starts_at": "timestamptz", "day": "date"}
PERIOD_SECONDS = 300


# What a line counts under: the key columns of all counters, spelled as they spell them.
Place = tuple[str, str, str, str, str, str, datetime, datetime, date]
PLACE = ("post_id", "persona_id", "provider", "cost_type", "model", "operation", "starts_at", "hour", "day")


class Table:
    """A counter table, by the names of its key columns; `rolls_up` names the finest one that it adds up."""

    def __init__(self, name: str, *key: str, rolls_up: str | None = None) -> None:
        self.name = name
        self.columns = tuple((column, TYPES.get(column, "text")) for column in key)
        self.rolls_up = rolls_up
        self.key: Callable[[Place], Key] = itemgetter(*map(PLACE.index, key))


@dataclass(slots=True)
class Sums:
    amount: Decimal = Decimal(0)
    adjustments: Decimal = Decimal(0)
    events: int = 0
    unpriced: int = 0
    deviating: int = 0

    def add(self, line: Line) -> None:
        amount = line.cost_amount
        if amount is not None:
            self.amount += amount
            if line.entry_type == ADJUSTMENT:
                self.adjustments += amount
        self.events += line.entry_type == CHARGE
        self.unpriced += line.unpriced
        self.deviating += line.deviating


POSTS = Table("costs_postcost", "post_id", "persona_id", "cost_type")
OPERATIONS = Table("costs_hourlyoperation", "hour", "persona_id", "operation")
TABLES: tuple[Table, ...] = (
    POSTS,
    Table("costs_hourlycost", "hour", "persona_id", "provider", "cost_type", "model"),
    OPERATIONS,
    Table("costs_hourlypersona", "hour", "persona_id", rolls_up=OPERATIONS.name),
    Table("costs_fiveminutecost", "persona_id", "starts_at"),
    Table("costs_dailycost", "day", "persona_id", "provider", "cost_type", "model", "operation"),
    Table("costs_dailypersona", "day", "persona_id", rolls_up=OPERATIONS.name),
)
# The database itself moves a roll-up, whoever moves the finer one: costs/migrations/0016_personas.py.
MOVED = tuple(table for table in TABLES if not table.rolls_up)
SUMS = (
    ("amount", "numeric"),
    ("adjustments", "numeric"),
    ("events", "bigint"),
    ("unpriced", "bigint"),
    ("deviating", "bigint"),
)


@dataclass(frozen=True, slots=True)
class Addition:
    """What lines add to one counter table."""

    table: Table
    sums: dict[Key, Sums]
    newest: dict[Key, datetime]


def added_up(lines: Sequence[Line], operations: Sequence[str]) -> list[Addition]:
    """What these lines add to every counter; `operations` are those that they count under. Asks no database."""
    places = _places(lines, operations)
    return [_added_up(table, places, lines) for table in MOVED]


def move(additions: Sequence[Addition]) -> None:
    """Add to every counter. In a pipeline Postgres moves one while the next one's statement is made."""
    for each in additions:
        if each.table is OPERATIONS:
            take_roll_ups({(hour.date(), persona) for hour, persona, _ in each.sums})
        if each.sums:
            _upsert(each.table, each.sums, each.newest)


TAKE_ROLL_UPS = """
INSERT INTO costs_dailypersona (day, persona_id, amount, adjustments, events, unpriced, deviating)
SELECT day, persona_id, 0, 0, 0, 0, 0 FROM unnest(%s::date[], %s::text[]) AS t(day, persona_id) ORDER BY day, persona_id
ON CONFLICT (day, persona_id) DO UPDATE SET events = costs_dailypersona.events
"""


def take_roll_ups(days: Iterable[tuple[date, str]]) -> None:
    """Lock what the database will roll up for these days and personas, in their order.

    An upsert's triggers move first what was there and then what is new: two drains could each hold what the other wants
    next. Whoever has a persona's day has its hours too.
    """
    with connection.cursor() as cursor:
        cursor.execute(TAKE_ROLL_UPS, _transposed(days, 2))


def _added_up(table: Table, places: Sequence[Place], lines: Sequence[Line]) -> Addition:
    sums: dict[Key, Sums] = {}
    newest: dict[Key, datetime] = {}
    for key, line in zip(map(table.key, places), lines, strict=True):
        if table is POSTS and not line.post_id:
            continue
        if (found := sums.get(key)) is None:
            found = sums[key] = Sums()
        found.add(line)
        if table is POSTS:
            newest[key] = max(newest.get(key, line.timestamp), line.timestamp)
    return Addition(table, sums, newest)


def _places(lines: Sequence[Line], operations: Sequence[str]) -> list[Place]:
    return [
        (
            line.post_id or "",
            line.persona_id or "",
            line.provider or "",
            line.cost_type,
            line.model or "",
            operation,
            *_period(int(line.timestamp.timestamp() // PERIOD_SECONDS)),
        )
        for line, operation in zip(lines, operations, strict=True)
    ]


@lru_cache(maxsize=10_000)
def _period(number: int) -> tuple[datetime, datetime, date]:
    """The five minutes with this number since 1970, their hour and their day, of UTC."""
    starts_at = datetime.fromtimestamp(number * PERIOD_SECONDS, UTC)
    return starts_at, starts_at.replace(minute=0), starts_at.date()


def counted_operations(lines: Sequence[Line]) -> list[str]:
    """The operation that each line counts under: its own, or `other` beyond the persona's first 1,000."""
    pairs = {(line.persona_id or "", line.operation) for line in lines if line.operation}
    known = _known(pairs)
    if unknown := pairs - known:
        known |= introduce(unknown)
    return [_counted(line, known) for line in lines]


def _counted(line: Line, known: set[tuple[str, str]]) -> str:
    if not line.operation:
        return ""
    return line.operation if (line.persona_id or "", line.operation) in known else KnownOperation.OTHER


def _known(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT persona_id, operation FROM costs_knownoperation"
            " JOIN unnest(%s::text[], %s::text[]) AS wanted(persona_id, operation) USING (persona_id, operation)",
            _transposed(pairs, 2),
        )
        return set(cursor.fetchall())


# A line counts under one name for ever, so the 1,000 are taken under a lock. A persona that is full takes none.
INTRODUCE = """
WITH wanted AS (
    SELECT persona_id, operation, row_number() OVER (PARTITION BY persona_id ORDER BY operation) AS place
    FROM unnest(%s::text[], %s::text[]) AS t(persona_id, operation)
    WHERE NOT EXISTS (SELECT FROM costs_knownoperation k
                      WHERE k.persona_id = t.persona_id AND k.operation = t.operation)
)
INSERT INTO costs_knownoperation (persona_id, operation)
SELECT persona_id, operation FROM wanted
WHERE place + (SELECT count(*) FROM costs_knownoperation k WHERE k.persona_id = wanted.persona_id) <= %s
ORDER BY persona_id, operation
"""


def introduce(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        if _have_room(cursor, {persona for persona, _ in pairs}):
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [OPERATIONS_LOCK])
            cursor.execute(INTRODUCE, [*_transposed(pairs, 2), KnownOperation.LIMIT])
    return _known(pairs)


def _have_room(cursor: Any, personas: set[str]) -> bool:
    cursor.execute(
        "SELECT EXISTS (SELECT FROM unnest(%s::text[]) AS p(persona_id) WHERE"
        " (SELECT count(*) FROM costs_knownoperation k WHERE k.persona_id = p.persona_id) < %s)",
        [sorted(personas), KnownOperation.LIMIT],
    )
    return bool(cursor.fetchone()[0])


def _upsert(table: Table, sums: dict[Key, Sums], newest: dict[Key, datetime]) -> None:
    columns = [*table.columns, *SUMS, *([("last_at", "timestamptz")] if newest else [])]
    names = ", ".join(name for name, _ in columns)
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
    key = ", ".join(name for name, _ in table.columns)
    moves = [f"{name} = {table.name}.{name} + EXCLUDED.{name}" for name, _ in SUMS]
    if newest:
        moves.append(f"last_at = GREATEST({table.name}.last_at, EXCLUDED.last_at)")
    statement = (
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) AS t({names}) ORDER BY {key}"
        f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(moves)}"
    )
    rows = [
        (*at, found.amount, found.adjustments, found.events, found.unpriced, found.deviating, *_newest(newest, at))
        for at, found in sums.items()
    ]
    values = [_array(kind, column) for (_, kind), column in zip(columns, zip(*rows, strict=True), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _array(kind: str, column: Sequence[Any]) -> str:
    """A column as an array literal: numbers and times need no quotes, and names come again and again."""
    if kind == "text":
        spelled = {name: quoted(name) for name in set(column)}
        return f"{{{','.join([spelled[name] for name in column])}}}"
    return f"{{{','.join(map(str, column))}}}"


def _newest(newest: dict[Key, datetime], key: Key) -> tuple[datetime, ...]:
    return (newest[key],) if newest else ()


def _transposed(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
