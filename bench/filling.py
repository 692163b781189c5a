"""Millions of lines within minutes: events that were priced once are copied inside Postgres, then counted by SQL.

What is copied gets ids, posts and moments of its own. Counters are added up from the lines as verify_ledger does it, so
they equal the ledger; everything stands as a drain would have left it, but for the metrics of Prometheus.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils.timezone import now

from bench.supply import Supply
from costs import partitions
from costs.booking import Line
from costs.models import CostEvent
from costs.verify import COUNTED

TEMPLATES = 20_000
DAYS = 60
# One statement for so many copies of the templates: its progress can be told.
COPIES_AT_ONCE = 25
_JSON = frozenset({"cost_metadata", "quantities", "usage"})
_OWN = {
    "event_id": "event_id || '-' || copy",
    "post_id": "post_id || '-' || copy",
    "timestamp": "moment",
}
# All events of a post lie together, and posts anywhere in the days before.
COPY_LINES = f"""
INSERT INTO cost_events ({", ".join(Line._fields)}, created_at)
SELECT {", ".join(_OWN.get(name, name) for name in Line._fields)}, moment
FROM filling CROSS JOIN generate_series(%(first)s, %(last)s) AS copy
CROSS JOIN LATERAL (
    SELECT %(until)s - (hashtextextended(post_id, copy) & 1048575) / 1048576.0 * %(span)s AS moment) AS moments
ORDER BY moment
"""
COPY_KEYS = """
INSERT INTO costs_eventkey (source, event_id, digest)
SELECT source, event_id || '-' || copy, '\\x00' FROM filling CROSS JOIN generate_series(%(first)s, %(last)s) AS copy
"""
OPERATIONS = """
INSERT INTO costs_knownoperation (persona_id, operation)
SELECT DISTINCT persona_id, operation FROM filling WHERE operation <> '' ON CONFLICT DO NOTHING
"""

LAST = "SELECT post_id, max(timestamp) AS last_at FROM cost_events WHERE post_id IS NOT NULL GROUP BY post_id"


def fill(supply: Supply, events: int) -> None:
    """Bring the ledger up to at least so many lines, spread over the last 60 days; only for an otherwise empty one."""
    until = now()
    missing = events - CostEvent.objects.count()
    for back in range(DAYS // 28 + 2):
        partitions.ensure(until - timedelta(days=28 * back), ahead=0)
    with connection.cursor() as cursor:
        _stage(cursor, supply)
        for first, last in _spans(missing, _copies_so_far(cursor)):
            said: dict[str, Any] = {"first": first, "last": last, "until": until, "span": timedelta(days=DAYS)}
            cursor.execute(COPY_LINES, said)
            cursor.execute(COPY_KEYS, said)
        cursor.execute(OPERATIONS)
        _count(cursor)
        cursor.execute("VACUUM ANALYZE")
        # Gigabytes that were just filled in, and are still to be written, would be in the way of what is measured next.
        cursor.execute("CHECKPOINT")


def _stage(cursor: Any, supply: Supply) -> None:
    cursor.execute("CREATE TEMP TABLE IF NOT EXISTS filling AS SELECT * FROM cost_events LIMIT 0")
    cursor.execute("SELECT count(*) FROM filling")
    if cursor.fetchone()[0]:
        return
    # Made before: pricing reads from the connection that copies.
    lines = supply.lines(TEMPLATES)
    with cursor.copy(f"COPY filling ({', '.join(Line._fields)}) FROM STDIN") as copy:
        for line in lines:
            copy.write_row([_as_text(name, value) for name, value in zip(Line._fields, line, strict=True)])


def _as_text(name: str, value: Any) -> Any:
    return json.dumps(value) if name in _JSON and value is not None else value


def _copies_so_far(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM cost_events")
    return int(cursor.fetchone()[0]) // TEMPLATES


def _spans(missing: int, done: int) -> Iterator[tuple[int, int]]:
    last = done + -(-missing // TEMPLATES)
    for first in range(done + 1, last + 1, COPIES_AT_ONCE):
        yield first, min(first + COPIES_AT_ONCE - 1, last)


def _count(cursor: Any) -> None:
    """Every counter anew, from all lines."""
    cursor.execute("SET statement_timeout = 0")
    counters = [counted for counted in COUNTED if counted.is_of_lines]
    cursor.execute(f"TRUNCATE {', '.join(counted.table for counted in counters)}")
    for counted in counters:
        if counted.rolls_up:
            # It moves with the finer one.
            continue
        names = ", ".join((*counted.key, *counted.sums))
        if "post_id" in counted.key:
            query = f"SELECT {names}, last_at FROM ({counted.added_up}) AS added JOIN ({LAST}) AS last USING (post_id)"
            names += ", last_at"
        else:
            query = f"SELECT {names} FROM ({counted.added_up}) AS added"
        cursor.execute(f"INSERT INTO {counted.table} ({names}) {query}")
