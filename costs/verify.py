"""Prove that the counters equal the ledger: every key of every counter table is added up anew from the lines.

Lines of archived months are in files; their sums by key were kept when they left, and count like lines. The sums of
outcomes are proved in the same way, from the outcomes.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction

from costs import metric_gauges
from costs.counters import TABLES, Table

log = logging.getLogger(__name__)

LOCK = 2_400_004
# It is read at most a hundredth of the time, but every day.
REST_TIMES = 100
LONGEST_REST = timedelta(hours=24)

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
# The times among them as instants, as archived sums keep them, and back.
SPELLED_AS_TIME = {"hour": HOUR, "starts_at": FIVE_MINUTES, "day": f"{DAY}::timestamp AT TIME ZONE 'UTC'"}
ARCHIVED = {"hour": "at", "starts_at": "at", "day": "(at AT TIME ZONE 'UTC')::date"}
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
    """A counter table: its key, how each of its sums is added up, from which rows, and what it rolls up."""

    table: str
    key: tuple[str, ...]
    sums: dict[str, str]
    rows: str
    rolls_up: str | None = None

    @classmethod
    def of_lines(cls, table: Table) -> "Counted":
        key = tuple(name for name, _ in table.columns)
        rows = "cost_events e WHERE post_id IS NOT NULL" if "post_id" in key else "cost_events e"
        return cls(table.name, key, ADDED_UP, rows, table.rolls_up)

    @property
    def is_of_lines(self) -> bool:
        return self.sums is ADDED_UP

    @property
    def is_archived(self) -> bool:
        """Whether archived months keep its sums. Of the finest ones: the others' can be added up from them."""
        return self.is_of_lines and self.rolls_up is None

    @property
    def added_up(self) -> str:
        """The query that adds every key up from its rows, and from what archived months keep of it."""
        spelled = ", ".join(f"{SPELLED[name]} AS {name}" for name in self.key)
        added = ", ".join(f"{sql} AS {name}" for name, sql in self.sums.items())
        places = ", ".join(str(place + 1) for place in range(len(self.key)))
        rows = f"SELECT {spelled}, {added} FROM {self.rows} GROUP BY {places}"
        if not self.is_of_lines:
            return rows
        key, kept = ", ".join(self.key), ", ".join(f"{ARCHIVED.get(name, name)} AS {name}" for name in self.key)
        return (
            f"SELECT {key}, {', '.join(f'sum({name}) AS {name}' for name in self.sums)} FROM ({rows} UNION ALL"
            f" SELECT {kept}, {', '.join(self.sums)} FROM costs_archivedsum"
            f" WHERE counter = '{self.rolls_up or self.table}')"
            f" AS both_parts GROUP BY {places}"
        )


COUNTED = (
    *map(Counted.of_lines, TABLES),
    Counted("costs_hourlyoutcome", ("persona_id", "hour", "kind"), BROUGHT, "costs_outcome"),
    Counted("costs_postoutcome", ("post_id", "persona_id", "kind"), BROUGHT, "costs_outcome WHERE post_id <> ''"),
)

# What Prometheus is told, the notes that nobody has added up yet included, beside the lines of each metric.
METRICS = """
WITH lines AS (
    SELECT CASE
        WHEN entry_type <> 'charge' OR cost_amount < 0 THEN 'finops_cost_adjustments_usd'
        WHEN cost_type = 'openai_api' THEN 'openai_api_costs_usd_total'
        WHEN cost_type = 'kubernetes' THEN 'kubernetes_resource_costs_usd_total'
        WHEN cost_type = 'vector_db' THEN 'vector_db_operation_costs_usd_total'
        ELSE 'finops_generic_costs_usd_total' END AS metric, sum(cost_amount) AS value
    FROM cost_events WHERE cost_amount IS NOT NULL GROUP BY 1
    UNION ALL
    SELECT 'finops_cost_events_total', count(*) FROM cost_events WHERE entry_type = 'charge' HAVING count(*) > 0
), archived AS (
    SELECT CASE cost_type WHEN 'openai_api' THEN 'openai_api_costs_usd_total'
        WHEN 'kubernetes' THEN 'kubernetes_resource_costs_usd_total'
        WHEN 'vector_db' THEN 'vector_db_operation_costs_usd_total'
        ELSE 'finops_generic_costs_usd_total' END AS metric, amount - adjustments AS charged, adjustments, events
    FROM costs_archivedsum WHERE counter = 'costs_hourlycost'
), l AS (
    SELECT metric, sum(value) AS value FROM (
        SELECT metric, value FROM lines
        UNION ALL SELECT metric, charged FROM archived
        UNION ALL SELECT 'finops_cost_adjustments_usd', adjustments FROM archived
        UNION ALL SELECT 'finops_cost_events_total', events FROM archived
    ) all_lines GROUP BY metric
), c AS (
    SELECT metric, sum(value) AS value FROM (
        SELECT metric, value FROM costs_metrictotal
        UNION ALL
        SELECT move->>0, (move->>2)::numeric FROM costs_metricnote, jsonb_array_elements(moves) AS move
    ) both_kinds GROUP BY metric
)
SELECT metric, c.value, l.value FROM c FULL JOIN l USING (metric)
WHERE COALESCE(c.value, 0) <> COALESCE(l.value, 0)
"""


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
    """Lines and dollars of the whole ledger, of which `archived` lines are in files; counters compared; differences."""

    lines: int
    total: Decimal
    keys: int
    drifts: list[Drift]
    archived: int = 0


def verify(*, most: int = 100) -> Verdict:
    """Compare each table in one statement, so in one snapshot: it may run while events come in.

    At most `most` drifts of each table are told.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT count(*), COALESCE(sum(cost_amount), 0) FROM cost_events")
        lines, total = cursor.fetchone()
        cursor.execute("SELECT COALESCE(sum(lines), 0), COALESCE(sum(total), 0) FROM costs_archivedpartition")
        archived, archived_total = cursor.fetchone()
        keys, drifts = 0, list(_archive_drifts(cursor))
        for counted in COUNTED:
            cursor.execute(f"SELECT count(*) FROM {counted.table}")
            keys += cursor.fetchone()[0]
            drifts += _drifts(cursor, counted, most)
        cursor.execute(METRICS)
        drifts += [
            Drift("costs_metrictotal", (metric,), ("value",), (told,), (added_up,))
            for metric, told, added_up in cursor.fetchall()
        ]
    return Verdict(lines + int(archived), total + archived_total, keys, drifts, int(archived))


def _archive_drifts(cursor: Any) -> Iterator[Drift]:
    """Whether what was kept of a month still adds up to the month, by every counter that holds all lines."""
    cursor.execute(
        "SELECT month, kept.counter, charges, total, COALESCE(sum(events), 0), COALESCE(sum(amount), 0)"
        " FROM costs_archivedpartition CROSS JOIN unnest(%s::text[]) AS kept(counter)"
        " LEFT JOIN costs_archivedsum s ON s.archive_id = month AND s.counter = kept.counter"
        " GROUP BY month, kept.counter HAVING charges <> COALESCE(sum(events), 0) OR total <> COALESCE(sum(amount), 0)",
        [[each.table for each in COUNTED if each.is_archived and "post_id" not in each.key]],
    )
    for month, counter, charges, total, events, amount in cursor.fetchall():
        key = (counter, f"{month:%Y-%m}")
        yield Drift("costs_archivedsum", key, ("events", "amount"), (events, amount), (charges, total))


def publish(at: datetime) -> Verdict | None:
    """Verify, and keep what came out for the metrics; None while another process is at it or the last one was long."""
    started = time.monotonic()
    try:
        return _publish(at, started)
    except SoftTimeLimitExceeded:
        # It rests like one that came to its end: else it would be begun again every hour, for nothing.
        connection.close()
        _keep_seconds(started, at)
        raise


def _publish(at: datetime, started: float) -> Verdict | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        (is_free,) = cursor.fetchone()
        if not is_free or not metric_gauges.is_due(
            metric_gauges.VERIFY_SECONDS, at, times=REST_TIMES, longest=LONGEST_REST
        ):
            return None
        # Nobody waits for it: it takes one processor, and leaves the others to those who are waited for.
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        verdict = verify()
        if verdict.drifts:
            log.error("the counters differ from the ledger: %d keys; see manage.py verify_ledger", len(verdict.drifts))
        metric_gauges.store(metric_gauges.DRIFT, [((), Decimal(len(verdict.drifts)))], at)
        _keep_seconds(started, at)
    return verdict


def _keep_seconds(started: float, at: datetime) -> None:
    metric_gauges.store(metric_gauges.VERIFY_SECONDS, [((), Decimal(round(time.monotonic() - started, 3)))], at)


def _drifts(cursor: Any, counted: Counted, most: int) -> Iterator[Drift]:
    sums = tuple(counted.sums)
    key, differs = ", ".join(counted.key), " OR ".join(f"c.{name} IS DISTINCT FROM l.{name}" for name in sums)
    cursor.execute(
        f"WITH l AS ({counted.added_up})"
        f" SELECT {key}, {', '.join(f'c.{name}' for name in sums)}, {', '.join(f'l.{name}' for name in sums)}"
        f" FROM {counted.table} c FULL JOIN l USING ({key}) WHERE {differs} ORDER BY {key} LIMIT %s",
        [most],
    )
    width = len(counted.key)
    for row in cursor.fetchall():
        yield Drift(counted.table, row[:width], sums, row[width : width + len(sums)], row[width + len(sums) :])
