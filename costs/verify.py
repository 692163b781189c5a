"""Prove that the counters equal the ledger: every key of every counter table is added up anew from the lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from costs.counters import SUMS, TABLES, Table

HOUR = "date_trunc('hour', timestamp, 'UTC')"
DAY = "(timestamp AT TIME ZONE 'UTC')::date"
OPERATION = """CASE WHEN COALESCE(operation, '') = '' THEN ''
     WHEN EXISTS (SELECT FROM costs_knownoperation k
                  WHERE k.persona_id = COALESCE(e.persona_id, '') AND k.operation = e.operation) THEN operation
     ELSE 'other' END"""
# How the ledger spells what a counter's key column holds.
SPELLED = {
    "hour": HOUR,
    "day": DAY,
    "operation": OPERATION,
    "post_id": "post_id",
    "cost_type": "cost_type",
    "persona_id": "COALESCE(persona_id, '')",
    "provider": "COALESCE(provider, '')",
    "model": "COALESCE(model, '')",
}
ADDED_UP = {
    "amount": "COALESCE(sum(cost_amount), 0)",
    "adjustments": "COALESCE(sum(cost_amount) FILTER (WHERE entry_type = 'adjustment'), 0)",
    "events": "count(*) FILTER (WHERE entry_type = 'charge')",
    "unpriced": "sum(unpriced)",
    "deviating": "sum(deviating)",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """A key whose counter differs from the lines: sums in the order of `counters.SUMS`, None where a side has none."""

    table: str
    key: tuple[Any, ...]
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
        for table in TABLES:
            cursor.execute(f"SELECT count(*) FROM {table.name}")
            keys += cursor.fetchone()[0]
            drifts += _drifts(cursor, table, most)
    return Verdict(lines, total, keys, drifts)


def _drifts(cursor: Any, table: Table, most: int) -> Iterator[Drift]:
    names = [name for name, _ in table.columns]
    sums = [name for name, _ in SUMS]
    spelled = ", ".join(f"{SPELLED[name]} AS {name}" for name in names)
    added = ", ".join(f"{ADDED_UP[name]} AS {name}" for name in sums)
    key, differs = ", ".join(names), " OR ".join(f"c.{name} IS DISTINCT FROM l.{name}" for name in sums)
    places = ", ".join(str(place + 1) for place in range(len(names)))
    cursor.execute(
        f"WITH l AS (SELECT {spelled}, {added} FROM cost_events e"
        f" {'WHERE post_id IS NOT NULL' if 'post_id' in names else ''} GROUP BY {places})"
        f" SELECT {key}, {', '.join(f'c.{name}' for name in sums)}, {', '.join(f'l.{name}' for name in sums)}"
        f" FROM {table.name} c FULL JOIN l USING ({key}) WHERE {differs} ORDER BY {key} LIMIT %s",
        [most],
    )
    width = len(names)
    for row in cursor.fetchall():
        yield Drift(table.name, row[:width], row[width : width + len(sums)], row[width + len(sums) :])
