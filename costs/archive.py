"""Take closed months out of the ledger once their lines lie in a file, and bring them back.

In one transaction the sums of a month come to stand beside the ledger and its lines leave it, so at every moment lines
and archived sums together equal the counters. That is why the partition is not detached CONCURRENTLY: that takes two
transactions, and between them every sum would be wrong. The lock on the ledger is waited for two seconds at a time.
Months leave in their order: an adjustment is booked after its charge, so it never leaves before it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connection, transaction

from costs import verify
from costs.attribution import FACTORS, HIGH_FACTORS
from costs.booking import Line
from costs.models import ArchivedPartition
from costs.models.archives import month_of, table_of

COLUMNS = ("id", *Line._fields, "created_at")
# Events are accepted from 90 days back, and detection looks at the weeks before.
FEWEST_MONTHS = 4
LOCK_TIMEOUT_MS = 2000
TRIES, PAUSE_SECONDS = 30, 2.0
LOCK_NOT_AVAILABLE = "55P03"


# The numbers of the adjustments of what the adjustments in {table} correct: as many of each line as there are.
ADJUSTMENT_KEYS = """
INSERT INTO costs_adjustmentkey (line_id, number)
SELECT adjusts, row_number() OVER (PARTITION BY adjusts ORDER BY created_at, id) FROM cost_events
WHERE adjusts IN (SELECT adjusts FROM {table})
ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""


class Unarchivable(Exception):
    """This month cannot leave the ledger, or not come back; the message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """A month's lines in a file that was compared with them: how many, their sum in US dollars, the file's SHA-256."""

    name: str
    size: int
    sha256: str
    lines: int
    total: Decimal


def closed_months(at: datetime, older_than: int) -> list[date]:
    """Months that are still part of the ledger and ended at least `older_than` months before the present one."""
    newest = month_of(at)
    place = newest.year * 12 + newest.month - 1 - older_than
    first_kept = date(place // 12, place % 12 + 1, 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = 'cost_events'::regclass ORDER BY relname"
        )
        months = [_month(name) for (name,) in cursor.fetchall()]
    return [month for month in months if month < first_kept]


def check(month: date) -> None:
    """Raise Unarchivable while something may still be written about this month's lines."""
    missing = _columns(table_of(month)) ^ set(COLUMNS)
    if missing:
        raise Unarchivable(f"the ledger's columns are others than an archive knows: {', '.join(sorted(missing))}")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {table_of(month)} e WHERE unpriced = 1"
            " AND NOT EXISTS (SELECT FROM costs_adjustmentkey WHERE line_id = e.id)"
        )
        unpriced = cursor.fetchone()[0]
    if unpriced:
        raise Unarchivable(f"{unpriced:,} of its charges have no price yet, and archived lines are never priced")


def detach(month: date, file: File, *, at: datetime) -> ArchivedPartition:
    """Take the month out of the ledger. Its table stays, append-only as before, until `drop`.

    Raises Unarchivable when the lines are no longer those of the file, or the ledger cannot be locked.
    """
    table = table_of(month)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        # Nobody writes to it any more; reads go on.
        cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
        archived = _recorded(cursor, month, file, at)
        _keep_sums(cursor, archived)
        _without_waiting_long(f"ALTER TABLE cost_events DETACH PARTITION {table}")
        cursor.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION costs_refuse_change()"
        )
    return archived


def drop(archived: ArchivedPartition, *, at: datetime) -> None:
    """Give the space of a detached month back. The caller has just compared its file with it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {archived.table}")
        archived.dropped_at = at
        archived.save(update_fields=["dropped_at"])


def attach(archived: ArchivedPartition, rows: Iterator[Sequence[Any]] | None) -> None:
    """Make the month part of the ledger again: its own table while that exists, else the rows of its file.

    The rows must have proved to be those that left; they have the order of COLUMNS.
    """
    table = archived.table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        if archived.dropped_at is None:
            cursor.execute(f"DROP TRIGGER append_only ON {table}")
        else:
            _load(cursor, table, rows or iter(()))
            _refuse_taken_ids(cursor, table)
        bounds = f"('{archived.month} 00:00:00+00') TO ('{archived.ends} 00:00:00+00')"
        _without_waiting_long(f"ALTER TABLE cost_events ATTACH PARTITION {table} FOR VALUES FROM {bounds}")
        # In a database that never had the lines it has no keys of their adjustments either.
        cursor.execute(ADJUSTMENT_KEYS.format(table=f"{table} WHERE adjusts IS NOT NULL"))
        ArchivedPartition.objects.filter(pk=archived.pk).delete()


def _recorded(cursor: Any, month: date, file: File, at: datetime) -> ArchivedPartition:
    cursor.execute(
        "SELECT count(*), COALESCE(sum(cost_amount), 0), count(*) FILTER (WHERE entry_type = 'charge'),"
        " min(timestamp), max(timestamp), COALESCE(array_agg(DISTINCT source), '{}')"
        f" FROM {table_of(month)}"
    )
    lines, total, charges, first, last, sources = cursor.fetchone()
    if (lines, total) != (file.lines, file.total):
        raise Unarchivable("lines have come since the file was written: write it again")
    return ArchivedPartition.objects.create(
        month=month,
        file=file.name,
        file_bytes=file.size,
        file_sha256=file.sha256,
        lines=lines,
        charges=charges,
        total=total,
        first_at=first,
        last_at=last,
        sources=sources,
        archived_at=at,
    )


NAMES = ("post_id", "persona_id", "provider", "cost_type", "model", "operation")
SUMS = ("amount", "adjustments", "events", "unpriced", "deviating")
POSTS = """
INSERT INTO costs_archivedpost (archive_id, post_id, persona_id, evidence, amount, lines, events, factors, high)
SELECT %(month)s, post_id, COALESCE(persona_id, ''), evidence, COALESCE(sum(cost_amount), 0), count(*),
       count(*) FILTER (WHERE entry_type = 'charge'),
       COALESCE(sum({factors}) FILTER (WHERE entry_type = 'charge'), 0),
       count(*) FILTER (WHERE entry_type = 'charge' AND {factors} >= %(high)s)
FROM {table} WHERE post_id IS NOT NULL GROUP BY 2, 3, 4
"""


def _keep_sums(cursor: Any, archived: ArchivedPartition) -> None:
    for counted in verify.COUNTED:
        if counted.is_archived:
            cursor.execute(_sums_of(counted, archived.table), [archived.month, counted.table])
    factors = f"num_nonnulls({', '.join(FACTORS)})"
    cursor.execute(POSTS.format(table=archived.table, factors=factors), {"month": archived.month, "high": HIGH_FACTORS})


def _sums_of(counted: verify.Counted, table: str) -> str:
    """One row for each key of a counter, as that counter spells it."""
    at = next(
        (verify.SPELLED_AS_TIME[name] for name in counted.key if name in verify.SPELLED_AS_TIME), "NULL::timestamptz"
    )
    names = (verify.SPELLED[name] if name in counted.key else "''" for name in NAMES)
    sums = (verify.ADDED_UP[name] for name in SUMS)
    places = ", ".join(str(place) for place in range(3, 4 + len(NAMES)))
    return (
        f"INSERT INTO costs_archivedsum (archive_id, counter, at, {', '.join(NAMES)}, {', '.join(SUMS)})"
        f" SELECT %s::date, %s, {at}, {', '.join(names)}, {', '.join(sums)}"
        f" FROM {counted.rows.replace('cost_events', table, 1)} GROUP BY {places}"
    )


def _without_waiting_long(statement: str) -> None:
    """Whoever waits for a lock holds up all who come later: so only briefly, and again after a pause."""
    for _ in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                cursor.execute(statement)
                return
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            time.sleep(PAUSE_SECONDS)
    raise Unarchivable("long transactions use the ledger: it could not be locked; try again later")


def _load(cursor: Any, table: str, rows: Iterator[Sequence[Any]]) -> None:
    cursor.execute(
        f"CREATE TABLE {table} (LIKE cost_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
    )
    cursor.execute(
        f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT"
        " EXECUTE FUNCTION costs_refuse_change()"
    )
    with (
        connection.wrap_database_errors,
        cursor.copy(f"COPY {table} ({', '.join(COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _refuse_taken_ids(cursor: Any, table: str) -> None:
    cursor.execute(f"SELECT count(*) FROM {table} JOIN cost_events USING (id)")
    taken = cursor.fetchone()[0]
    if taken:
        raise Unarchivable(
            f"{taken:,} of its lines have ids that other lines have here: bring it back in a database that had booked"
            " nothing when its backup was restored"
        )


def _month(table: str) -> date:
    return datetime.strptime(table.removeprefix("cost_events_"), "y%Ym%m").replace(tzinfo=UTC).date()


def _columns(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        return {name for (name,) in cursor.fetchall()}
