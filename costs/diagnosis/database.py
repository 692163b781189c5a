"""What Postgres knows: connections, slow queries, statements, sizes, what waits, and how a post is read."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error, OperationalError, connection, transaction

from costs import partitions
from costs.attribution import PAGE
from costs.diagnosis import machine
from costs.diagnosis.findings import Diagnosis, Row, Section
from costs.models import ArchivedPartition, CostEvent

SLOW_SECONDS = 30
IDLE_SECONDS = 60
OLDEST_SECONDS = 30
SLOW_READ_MS = 200
# Of what the server allows; the rest is needed by whoever comes to help.
FULL = 0.8
TOP = 10
MANY_DEAD = 100_000
Found = tuple[Section, list[str]]


def read(at: datetime, *, post_id: str | None = None) -> Diagnosis:
    """Gather everything. What cannot be read says so in its place; without Postgres the rest is still told."""
    found = Diagnosis()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError as error:
        found.wrong.append(f"PostgreSQL does not answer: {str(error).strip()}")
    else:
        for look in LOOKS:
            found.add(*_looked(look.__name__.strip("_"), partial(look, at)))
        found.add(*_looked("post", partial(_post, post_id)))
    found.add(*machine.processes())
    found.add(machine.caches())
    found.add(*machine.broker())
    return found


def _looked(name: str, look: Callable[[], Found]) -> Found:
    try:
        with transaction.atomic():
            return look()
    except Error as error:
        return Section(name, (), [], f"Could not be read: {str(error).splitlines()[0]}"), []


def _rows(query: str, *parameters: Any) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def _connections(at: datetime) -> Found:
    columns = ("application", "state", "connections", "longest_in_it_seconds", "wait_for_locks")
    rows = _rows(
        "SELECT application_name, COALESCE(state, 'hidden'), count(*),"
        " COALESCE(round(max(extract(epoch FROM clock_timestamp() - state_change)), 1), 0),"
        " count(*) FILTER (WHERE wait_event_type = 'Lock')"
        " FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 1, 2"
    )
    ((used, most),) = _rows(
        "SELECT count(*), current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
        " FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )
    wrong = [f"{used} of {most} connections that the server allows are taken."] if used > FULL * most else []
    for application, state, count, seconds, locked in rows:
        if state.startswith("idle in transaction") and seconds > IDLE_SECONDS:
            wrong.append(f"{count} connections of {application} idle within a transaction, the longest {seconds} s.")
        if locked:
            wrong.append(f"{locked} connections of {application} wait for a lock.")
    return Section("connections", columns, rows, f"{used} of {most} taken, on the whole server."), wrong


def _pool(at: datetime) -> Found:
    names = ("FINOPS_DB_POOL_MIN", "FINOPS_DB_POOL_MAX", "FINOPS_DECISION_POOL", "FINOPS_PGBOUNCER")
    rows: list[Row] = [(name, str(getattr(settings, name))) for name in names]
    return Section(
        "pool", ("setting", "value"), rows, "Of each web process; every other process holds two or three."
    ), []


def _slow_queries(at: datetime) -> Found:
    columns = ("pid", "application", "seconds", "waits_for", "query")
    rows = _rows(
        "SELECT pid, application_name, round(extract(epoch FROM clock_timestamp() - query_start), 1) AS seconds,"
        " COALESCE(wait_event_type || '/' || wait_event, ''), left(regexp_replace(query, '\\s+', ' ', 'g'), 150)"
        " FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
        f" AND query_start < clock_timestamp() - interval '{SLOW_SECONDS} seconds' ORDER BY seconds DESC"
    )
    wrong = [f"{len(rows)} queries have been running for more than {SLOW_SECONDS} s."] if rows else []
    return Section("slow_queries", columns, rows, "" if rows else f"None runs for more than {SLOW_SECONDS} s."), wrong


def _statements(at: datetime) -> Found:
    columns = ("total_ms", "mean_ms", "calls", "rows", "statement")
    if not _rows("SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'"):
        note = "The extension pg_stat_statements is not installed: the server needs it in shared_preload_libraries."
        return Section("statements", columns, [], note), []
    rows = _rows(
        "SELECT round(total_exec_time::numeric, 1), round(mean_exec_time::numeric, 2), calls, rows,"
        " left(regexp_replace(query, '\\s+', ' ', 'g'), 150) FROM pg_stat_statements"
        " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        f" ORDER BY total_exec_time DESC LIMIT {TOP}"
    )
    return Section("statements", columns, rows), []


def _waiting(at: datetime) -> Found:
    ((events, oldest, failing, dead, unpriced),) = _rows(
        "SELECT COALESCE(sum(event_count), 0), COALESCE(round(extract(epoch FROM now() - min(received_at)), 1), 0),"
        " count(*) FILTER (WHERE errors > 0),"
        " (SELECT count(*) FROM costs_deadletter WHERE replayed_at IS NULL AND written_off_at IS NULL),"
        " (SELECT COALESCE(sum(unpriced), 0) FROM costs_hourlycost WHERE unpriced <> 0) FROM costs_inboxrow"
    )
    wrong = []
    if oldest > OLDEST_SECONDS:
        wrong.append(f"The oldest of {events:,} accepted events waits for {oldest:,} s: are workers running?")
    if failing:
        wrong.append(f"{failing:,} inbox rows have failed before; their last error stands in the admin, under Inbox.")
    if dead:
        wrong.append(f"{dead:,} dead letters are open. See: manage.py dead_letters")
    if unpriced:
        wrong.append(f"{unpriced:,} charges have no price, so their cost is missing from every total.")
    rows: list[Row] = [
        ("events in the inbox", events),
        ("seconds that the oldest waits", oldest),
        ("inbox rows that failed before", failing),
        ("dead letters", dead),
        ("charges without a price", unpriced),
    ]
    return Section("waiting", ("what", "how_many"), rows), wrong


def _partitions(at: datetime) -> Found:
    rows = _rows(
        "SELECT c.relname, GREATEST(c.reltuples, 0)::bigint, round(pg_total_relation_size(c.oid) / 1048576.0, 1)"
        " FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'cost_events'::regclass ORDER BY 1"
    )
    ahead = partitions.months_ahead(at)
    wrong = [] if ahead >= 1 else ["The ledger has no partition for the next month: is beat running?"]
    archived = ArchivedPartition.objects.count()
    note = f"{ahead} whole months ahead; {archived} are archived."
    return Section("partitions", ("month", "rows_about", "mb"), rows, note), wrong


def _tables(at: datetime) -> Found:
    columns = ("table", "rows_about", "table_mb", "indexes_mb", "dead_rows", "vacuumed", "read_from_memory_percent")
    rows = _rows(
        "SELECT s.relname, s.n_live_tup, round(pg_table_size(s.relid) / 1048576.0, 1),"
        " round(pg_indexes_size(s.relid) / 1048576.0, 1), s.n_dead_tup,"
        " to_char(GREATEST(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),"
        " round(100.0 * heap_blks_hit / NULLIF(heap_blks_hit + heap_blks_read, 0), 1)"
        " FROM pg_stat_user_tables s JOIN pg_statio_user_tables USING (relid)"
        f" ORDER BY pg_total_relation_size(s.relid) DESC LIMIT {2 * TOP}"
    )
    return Section("tables", columns, rows), [
        f"{dead:,} of {live + dead:,} rows of {name} are dead: does autovacuum run, does a transaction never end?"
        for name, live, _, _, dead, *_ in rows
        if dead > MANY_DEAD and dead > live
    ]


def _indexes(at: datetime) -> Found:
    rows = _rows(
        "SELECT indexrelname, relname, round(pg_relation_size(indexrelid) / 1048576.0, 1), idx_scan"
        f" FROM pg_stat_user_indexes ORDER BY pg_relation_size(indexrelid) DESC LIMIT {TOP}"
    )
    return Section("indexes", ("index", "table", "mb", "scans"), rows), []


def _post(post_id: str | None) -> Found:
    """The plan and time of the lines that GET /costs/post/{post_id} shows; of the newest post when none is named."""
    if post_id is None:
        newest = CostEvent.objects.exclude(post_id=None).order_by("-timestamp").values_list("post_id", flat=True)
        post_id = newest.first()
    if post_id is None:
        return Section("post", ("plan",), [], "The ledger has no post yet."), []
    lines = CostEvent.objects.for_post(post_id).order_by("-timestamp", "-id")[: PAGE + 1]
    plan = lines.explain(analyze=True, buffers=True)
    rows = [(line,) for line in plan.splitlines()]
    taken = re.search(r"Execution Time: ([\d.]+) ms", plan)
    is_slow = taken is not None and float(taken[1]) > SLOW_READ_MS
    wrong = [f"To read the lines of {post_id} took Postgres {taken[1]} ms."] if taken and is_slow else []
    return Section("post", ("plan",), rows, f"EXPLAIN (ANALYZE, BUFFERS) of the lines of {post_id}."), wrong


# In the order in which they are told.
LOOKS: Sequence[Callable[[datetime], Found]] = (
    _waiting,
    _connections,
    _pool,
    _slow_queries,
    _statements,
    _partitions,
    _tables,
    _indexes,
)
