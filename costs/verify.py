"""Prove that the counters equal the ledger: every key of every counter table is added up anew from the lines.

The sums of outcomes are proved in the same way, from the outcomes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from costs.counters import TABLES, Table

HOUR = "date_trunc('hour', timestamp, 'UTC')"
DAY = "(timestamp AT TIME ZONE 'UTC')::date"
OPERATION = """CASE WHEN COALESCE(operation, '') = '' THEN ''
     WHEN EXISTS (SELECT FROM costs_knownoperation k
                  WHERE k.persona_id = COALESCE(e.persona_id, '') AND k.operation = e.operation) THEN operation
     ELSE 'other' END"""
FIVE_MINUTES = "date_bin('5 minutes', timestamp, TIMESTAMPTZ '2000-01-01 00:00:00Z')"
# How the ledger spells what a counter's key column holds.
SPELLED = {
    "hour": HOUR,
    "day": DAY,
    "starts_at": FIVE_MINUTES,
    "operation": OPERATION,
    "post_id": "post_id",
    "cost_type": "cost_type",
    "persona_id": "COALESCE(persona_id, '')",
    "provider": "COALESCE(provider, '')",
    "model": "COALESCE(model, '')",
    "kind": "kind",
}
ADDED_UP = {
    "amount": "COALESCE(sum(cost_amount), 0)",
    "adjustments": "COALESCE(sum(cost_amount) FILTER (WHERE entry_type = 'adjustment'), 0)",
    "events": "count(*) FILTER (WHERE entry_type = 'charge')",
    "unpriced": "sum(unpriced)",
    "deviating": "sum(deviating)",
}
BROUGHT = {
    "quantity": "COALESCE(sum(quantity), 0)",
    "amount": "COALESCE(sum(amount), 0)",
    "outcomes": "count(*)",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter table: its key, how each of its sums is added up, and from which rows."""

    table: str
    key: tuple[str, ...]
    sums: dict[str, str]
    rows: str

    @classmethod
    def of_lines(cls, table: Table) -> "Counted":
        key = tuple(name for name, _ in table.columns)
        rows = "cost_events e WHERE post_id IS NOT NULL" if "post_id" in key else "cost_events e"
        return cls(table.name, key, ADDED_UP, rows)


COUNTED = (
    *map(Counted.of_lines, TABLES),
    Counted("costs_hourlyoutcome", ("persona_id", "hour", "kind"), BROUGHT, "costs_outcome"),
    Counted("costs_postoutcome", ("post_id", "persona_id", "kind"), BROUGHT, "costs_outcome WHERE post_id <> ''"),
)


@dataclass(frozen=True, slots=True)
class Drift:
    """A key whose counter differs from the lines or outcomes; of each sum both values, None where a side has none."""

    table: str
    key: tuple[Any, ...]
    sums: tuple[str, ...]
    counted: tuple[Any, ...]
    added_up: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    lines: int
    total: Decimal
    keys: int
    drifts: list[Drift]


def verify(*, most: int = 100) -> Verdict:
    """Compare each table in one statement, so in one snapshot: it may run while events come in.

    At most `most` drifts of each table are told.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT count(*), COALESCE(sum(cost_amount), 0) FROM cost_events")
        lines, total = cursor.fetchone()
        keys, drifts = 0, list[Drift]()
        for counted in COUNTED:
            cursor.execute(f"SELECT count(*) FROM {counted.table}")
            keys += cursor.fetchone()[0]
            drifts += _drifts(cursor, counted, most)
    return Verdict(lines, total, keys, drifts)


def _drifts(cursor: Any, counted: Counted, most: int) -> Iterator[Drift]:
    sums = tuple(counted.sums)
    spelled = ", ".join(f"{SPELLED[name]} AS {name}" for name in counted.key)
    added = ", ".join(f"{sql} AS {name}" for name, sql in counted.sums.items())
    key, differs = ", ".join(counted.key), " OR ".join(f"c.{name} IS DISTINCT FROM l.{name}" for name in sums)
    places = ", ".join(str(place + 1) for place in range(len(counted.key)))
    cursor.execute(
        f"WITH l AS (SELECT {spelled}, {added} FROM {counted.rows} GROUP BY {places})"
        f" SELECT {key}, {', '.join(f'c.{name}' for name in sums)}, {', '.join(f'l.{name}' for name in sums)}"
        f" FROM {counted.table} c FULL JOIN l USING ({key}) WHERE {differs} ORDER BY {key} LIMIT %s",
        [most],
    )
    width = len(counted.key)
    for row in cursor.fetchall():
        yield Drift(counted.table, row[:width], sums, row[width : width + len(sums)], row[width + len(sums) :])
