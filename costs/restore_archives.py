"""Bring back what Postgres kept of archived months: their sums, what is known of their posts, where their lines are.

All of it in one transaction, which moves the counters, the metrics and the budgets as the lines of these months did.
The lines are in the files of their months, and `manage.py restore_archive` takes them from there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, models, transaction

from costs import chunks, counters
from costs.backup import Chunk
from costs.booking import CHARGE, COMPUTED, Line
from costs.models import ArchivedPartition, ArchivedPost, ArchivedSum, KnownOperation
from costs.models.archives import table_of
from costs.signals import lines_recorded
from costs.verify import ARCHIVED


@dataclass(slots=True)
class Brought:
    """How many rows came back, and the months that did not: here they are part of the ledger, with other lines."""

    rows: int = 0
    differing: list[str] = field(default_factory=list)


def bring(found: Iterable[Chunk], *, at: datetime) -> Brought:
    """Bring back every month that is neither archived here nor part of the ledger; all of them or none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        chunks.load(cursor, found, "kind text, content jsonb")
        for name, table, kind, more in STAGED:
            cursor.execute(STAGE.format(name=name, table=table, kind=kind, more=more))
        brought = Brought(differing=_leave_out_those_here(cursor))
        cursor.execute("DELETE FROM sums WHERE archive_id NOT IN (SELECT month FROM months)")
        cursor.execute("DELETE FROM posts WHERE archive_id NOT IN (SELECT month FROM months)")
        # Whatever table such a month still has is in the database that was backed up.
        cursor.execute("UPDATE months SET dropped_at = COALESCE(dropped_at, %s)", [at])
        brought.rows = sum(_insert(cursor, *each) for each in KEPT)
        _reserve_ids(cursor)
        _introduce_operations(cursor)
        for counter in counters.MOVED:
            if counter is counters.OPERATIONS:
                _take_roll_ups(cursor)
            _move(cursor, counter)
        cursor.execute(NOTE)
        _tell(cursor, at)
    return brought


# Each is the rows of one kind as its table has them, and what came along with them.
STAGED = (
    ("months", "costs_archivedpartition", "month", "(content ->> 'last_id')::bigint AS last_id"),
    ("sums", "costs_archivedsum", "sum", "(content ->> 'last_at')::timestamptz AS last_at"),
    ("posts", "costs_archivedpost", "post", "NULL AS nothing"),
)
STAGE = """
CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT r.*, {more}
FROM chunk CROSS JOIN jsonb_populate_record(NULL::{table}, content) AS r WHERE kind = '{kind}'
"""
KEPT: tuple[tuple[type[models.Model], str], ...] = (
    (ArchivedPartition, "months"),
    (ArchivedSum, "sums"),
    (ArchivedPost, "posts"),
)


def _leave_out_those_here(cursor: Any) -> list[str]:
    """Archived here, or part of the ledger; returns those of the latter whose lines are not the ones of the backup."""
    cursor.execute("DELETE FROM months WHERE month IN (SELECT month FROM costs_archivedpartition)")
    cursor.execute("SELECT month, lines, total FROM months ORDER BY month")
    differing = []
    for month, lines, total in cursor.fetchall():
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table_of(month)])
        if not cursor.fetchone()[0]:
            continue
        cursor.execute(f"SELECT count(*), COALESCE(sum(cost_amount), 0) FROM {table_of(month)}")
        if cursor.fetchone() != (lines, total):
            differing.append(f"{month:%Y-%m}")
        cursor.execute("DELETE FROM months WHERE month = %s", [month])
    return differing


def _insert(cursor: Any, model: type[models.Model], staged: str) -> int:
    columns = ", ".join(str(each.column) for each in model._meta.concrete_fields if each.column != "id")
    cursor.execute(f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {columns} FROM {staged}")
    return int(cursor.rowcount)


def _reserve_ids(cursor: Any) -> None:
    """Archived lines keep their ids, and may come back with them."""
    cursor.execute("SELECT max(last_id) FROM months")
    chunks.reserve_ids(cursor, cursor.fetchone()[0])


def _introduce_operations(cursor: Any) -> None:
    """Under their names, as far as there is room for them."""
    cursor.execute(
        "SELECT DISTINCT persona_id, operation FROM sums"
        " WHERE counter = 'costs_hourlyoperation' AND operation NOT IN ('', %s)",
        [KnownOperation.OTHER],
    )
    counters.introduce(set(cursor.fetchall()))


def _take_roll_ups(cursor: Any) -> None:
    cursor.execute(
        "SELECT DISTINCT (at AT TIME ZONE 'UTC')::date, persona_id FROM sums WHERE counter = %s",
        [counters.OPERATIONS.name],
    )
    counters.take_roll_ups(cursor.fetchall())


def _move(cursor: Any, table: counters.Table) -> None:
    """In the order of the keys, as whoever books does it."""
    key = ", ".join(name for name, _ in table.columns)
    kept = ", ".join(f"{ARCHIVED.get(name, name)} AS {name}" for name, _ in table.columns)
    names = [name for name, _ in counters.SUMS]
    added = [f"sum({name})" for name in names]
    moves = [f"{name} = {table.name}.{name} + EXCLUDED.{name}" for name in names]
    if table is counters.POSTS:
        names.append("last_at")
        added.append("max(last_at)")
        moves.append(f"last_at = GREATEST({table.name}.last_at, EXCLUDED.last_at)")
    cursor.execute(
        f"INSERT INTO {table.name} ({key}, {', '.join(names)}) SELECT {key}, {', '.join(added)}"
        f" FROM (SELECT {kept}, {', '.join(names)} FROM sums WHERE counter = %s) AS keyed GROUP BY {key} ORDER BY {key}"
        f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(moves)}",
        [table.name],
    )


# As costs.metric_totals notes lines; of what only metadata said, the service and collection of a line, nothing is kept.
NOTE = """
INSERT INTO costs_metricnote (moves)
SELECT jsonb_agg(jsonb_build_array(metric, labels, amount::text)) FROM (
    WITH daily AS (SELECT * FROM sums WHERE counter = 'costs_dailycost')
    SELECT 'finops_cost_events_total' AS metric, jsonb_build_array(cost_type) AS labels, sum(events)::numeric AS amount
    FROM daily GROUP BY cost_type
    UNION ALL
    SELECT 'finops_cost_adjustments_usd', jsonb_build_array(cost_type), sum(adjustments)
    FROM daily GROUP BY cost_type HAVING sum(adjustments) <> 0
    UNION ALL
    SELECT metric, labels, sum(amount) FROM (
        SELECT amount - adjustments AS amount,
            CASE cost_type WHEN 'openai_api' THEN 'openai_api_costs_usd_total'
                WHEN 'kubernetes' THEN 'kubernetes_resource_costs_usd_total'
                WHEN 'vector_db' THEN 'vector_db_operation_costs_usd_total'
                ELSE 'finops_generic_costs_usd_total' END AS metric,
            CASE cost_type WHEN 'openai_api' THEN jsonb_build_array(model, persona_id, operation)
                WHEN 'kubernetes' THEN jsonb_build_array('', '', operation)
                WHEN 'vector_db' THEN jsonb_build_array('', persona_id, operation)
                ELSE jsonb_build_array(cost_type, persona_id) END AS labels
        FROM daily
    ) AS charged GROUP BY metric, labels
) AS moves
HAVING count(*) > 0
"""


def _tell(cursor: Any, at: datetime) -> None:
    """Whoever listens to bookings, budgets above all, is told each hour's sums as if they were lines.

    All at once: listeners take their locks in an order that holds for one batch.
    """
    cursor.execute(
        "SELECT at, persona_id, model, cost_type, sum(amount) FROM sums WHERE counter = 'costs_hourlycost'"
        " GROUP BY 1, 2, 3, 4 HAVING sum(amount) <> 0"
    )
    lines = [_as_line(*row) for row in cursor.fetchall()]
    if lines:
        lines_recorded.send(sender=Line, lines=lines, at=at)


def _as_line(at: datetime, persona_id: str, model: str, cost_type: str, amount: Decimal) -> Line:
    said: dict[str, Any] = dict.fromkeys(Line._fields)
    said |= {"event_id": "", "source": "", "cost_metadata": {}, "entry_type": CHARGE, "evidence": COMPUTED}
    said |= {"persona_id": persona_id or None, "model": model or None, "cost_type": cost_type}
    said |= {"cost_amount": amount, "timestamp": at, "unpriced": 0, "deviating": 0}
    return Line(**said)
