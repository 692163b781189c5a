"""Put a backup into a database, empty or not: what is there stays, what is missing comes, nothing comes twice.

A charge is known by its source and event id, an adjustment by these and its moment of booking. Whatever a transaction
brings back it also counts, 1,000 rows at a time, so the service may run meanwhile, and a restore that was cut off is
run again. Ids of lines stay as they were unless another line has them by now.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db import connection, transaction

from costs import archive, backup, chunks, ledger, partitions, restore_archives
from costs.backup import Chunk, Opened, Unreadable
from costs.booking import Line
from costs.models import CostEvent
from costs.outcomes import ADD_UP

ARCHIVES = "archives"


@dataclass(slots=True)
class Restored:
    """Rows that were read and rows that came back, by part; lines that did not come, by what they are here.

    here: booked already. waits: accepted, not booked yet. other: another body under the same id, which stands.
    orphan: an adjustment of a charge that is not here, or was booked anew. archived: in the file of its month.
    `differing` are months that the backup has as archived, and that are part of the ledger here with other lines.
    """

    found: dict[str, int] = field(default_factory=lambda: {part.name: 0 for part in backup.PARTS})
    came: dict[str, int] = field(default_factory=lambda: {part.name: 0 for part in backup.PARTS})
    left_out: dict[str, int] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


def restore(opened: Opened, restored: Restored, *, at: datetime) -> None:
    """Bring back what is missing, and count it in `restored`; safe to run twice, and while events come in.

    Raises Unreadable when a newer release wrote the backup, when it was cut off, or when it holds lines that are
    missing here, of months that are archived here. What `restored` has counted by then has come back.
    """
    if opened.start.migration > backup.migration():
        raise Unreadable(f"it was written after migration {opened.start.migration}, which is missing here")
    for part, found in groupby(opened.chunks, key=lambda chunk: chunk.part):
        if part not in restored.found:
            raise Unreadable(f"what to do with its {part} is not known here")
        if part == ARCHIVES:
            _archives(_counted(found, restored), restored, at)
            continue
        for chunk in _counted(found, restored):
            restored.came[part] += PARTS[part](chunk, restored, at)


def _counted(found: Iterator[Chunk], restored: Restored) -> Iterator[Chunk]:
    for chunk in found:
        restored.found[chunk.part] += chunk.rows
        yield chunk


def _archives(found: Iterator[Chunk], restored: Restored, at: datetime) -> None:
    brought = restore_archives.bring(found, at=at)
    restored.came[ARCHIVES] = brought.rows
    restored.differing += brought.differing


def _sheets(chunk: Chunk, restored: Restored, at: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], "id uuid, content jsonb, created_at timestamptz")
        cursor.execute(
            "INSERT INTO costs_pricesheet (id, content, created_at) SELECT id, content, created_at FROM chunk"
            " ORDER BY id ON CONFLICT DO NOTHING"
        )
        return int(cursor.rowcount)


# In id order, as whoever accepts does it.
KEYS = """
INSERT INTO costs_eventkey (source, event_id, digest)
SELECT source, event_id, digest FROM chunk WHERE {which} ORDER BY event_id COLLATE "C"
ON CONFLICT DO NOTHING
RETURNING source, event_id
"""
# What a line of the chunk is in this database. Read in one statement after the keys, so an event that is accepted or
# booked meanwhile is seen either waiting or as a line.
KNOWN = """
UPDATE chunk SET state = CASE
    WHEN date_trunc('month', created_at, 'UTC')::date IN (SELECT month FROM costs_archivedpartition) THEN 'archived'
    WHEN EXISTS (SELECT FROM cost_events e WHERE e.event_id = chunk.event_id AND e.source = chunk.source
                 AND e.entry_type = chunk.entry_type
                 AND (e.entry_type = 'charge' OR e.created_at = chunk.created_at)) THEN 'here'
    WHEN EXISTS (SELECT FROM costs_eventkey k WHERE k.event_id = chunk.event_id AND k.source = chunk.source
                 AND k.digest <> chunk.digest) THEN 'other'
    WHEN (source, event_id) IN (SELECT source, event ->> 'event_id'
                                FROM costs_inboxrow, json_array_elements(payload::json) AS event)
      OR (source, event_id) IN (SELECT source, event_id FROM costs_deadletter WHERE replayed_at IS NULL) THEN 'waits'
    ELSE 'missing' END
"""
NUMBER = """
UPDATE chunk SET new_id = CASE
    WHEN EXISTS (SELECT FROM cost_events e WHERE e.id = chunk.id)
    THEN nextval(pg_get_serial_sequence('cost_events', 'id')) ELSE id END
WHERE state = 'missing'
"""
# An adjustment points to its charge, whose id may be another one here. One that was booked anew here, at its own price,
# is another charge. An archived one, in the backup or here, keeps the id that it had.
POINT = """
UPDATE chunk SET adjusts = COALESCE(
    (SELECT c.new_id FROM chunk c WHERE c.event_id = chunk.event_id AND c.source = chunk.source
     AND c.created_at = chunk.charged_at AND c.entry_type = 'charge' AND c.state = 'missing'),
    (SELECT e.id FROM cost_events e WHERE e.event_id = chunk.event_id AND e.source = chunk.source
     AND e.created_at = chunk.charged_at AND e.entry_type = 'charge'),
    CASE WHEN (charged_at IS NULL
               OR date_trunc('month', charged_at, 'UTC')::date IN (SELECT month FROM costs_archivedpartition))
         AND NOT EXISTS (SELECT FROM cost_events e WHERE e.id = chunk.adjusts) THEN adjusts END)
WHERE entry_type = 'adjustment' AND state = 'missing'
"""
ORPHANS = """
UPDATE chunk SET state = 'orphan' WHERE state = 'missing' AND entry_type = 'adjustment' AND adjusts IS NULL
"""


def _lines(chunk: Chunk, restored: Restored, at: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], _types_of_lines(cursor))
        cursor.execute(KEYS.format(which="digest IS NOT NULL AND entry_type = 'charge'"))
        fresh = set(cursor.fetchall())
        cursor.execute(KNOWN)
        _refuse_fresh_in_archived_months(cursor, fresh)
        _make_room(cursor)
        cursor.execute(NUMBER)
        cursor.execute(POINT)
        cursor.execute(ORPHANS)
        for state, count in _states(cursor).items():
            restored.left_out[state] = restored.left_out.get(state, 0) + count
        return _write(cursor, at)


def _refuse_fresh_in_archived_months(cursor: Any, fresh: set[tuple[str, str]]) -> None:
    """What an archived month holds is known here by its key. A line that is not known cannot be added to a file."""
    cursor.execute("SELECT source, event_id FROM chunk WHERE state = 'archived' AND entry_type = 'charge'")
    if fresh & set(cursor.fetchall()):
        raise Unreadable("it holds lines that are missing here, of months that are archived: restore_archive first")


# Beside the ledger's columns: the digest of the event's key, when the charge of an adjustment was booked, the id that
# the line gets, and what it is here.
MORE_OF_LINES = (("digest", "bytea"), ("charged_at", "timestamptz"), ("new_id", "bigint"), ("state", "text"))


def _types_of_lines(cursor: Any) -> str:
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'cost_events'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return ", ".join(f"{name} {kind}" for name, kind in [*cursor.fetchall(), *MORE_OF_LINES])


def _states(cursor: Any) -> dict[str, int]:
    cursor.execute("SELECT state, count(*) FROM chunk WHERE state <> 'missing' GROUP BY state")
    return dict(cursor.fetchall())


def _make_room(cursor: Any) -> None:
    """No line that is booked meanwhile gets an id that comes back; and the months that come back have a partition."""
    cursor.execute("SELECT max(id) FROM chunk")
    chunks.reserve_ids(cursor, cursor.fetchone()[0])
    cursor.execute("SELECT DISTINCT date_trunc('month', created_at, 'UTC') FROM chunk WHERE state = 'missing'")
    for (month,) in cursor.fetchall():
        partitions.ensure(month, ahead=0)


def _write(cursor: Any, at: datetime) -> int:
    columns = ", ".join(backup.LINE_COLUMNS[1:])
    cursor.execute(
        f"INSERT INTO cost_events (id, {columns}) SELECT new_id, {columns} FROM chunk WHERE state = 'missing'"
        " ORDER BY new_id RETURNING id"
    )
    ids = [row[0] for row in cursor.fetchall()]
    cursor.execute(archive.ADJUSTMENT_KEYS.format(table="chunk WHERE state = 'missing' AND adjusts IS NOT NULL"))
    if ids:
        ledger.count(list(_as_lines(ids)), at=at)
    return len(ids)


def _as_lines(ids: Iterable[int]) -> Iterator[Line]:
    rows = CostEvent.objects.filter(pk__in=ids).order_by("pk").values_list(*Line._fields)
    return (Line(*row) for row in rows)


def _waiting(chunk: Chunk, restored: Restored, at: datetime) -> int:
    """Events that were accepted and not booked: into the inbox, unless their key is here already."""
    types = "source text, event_id text, digest bytea, payload text, post_id text, hold_ids text[]"
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], f"{types}, received_at timestamptz")
        cursor.execute(
            f"WITH fresh AS ({KEYS.format(which='digest IS NOT NULL')})"
            " INSERT INTO costs_inboxrow (source, payload, event_count, post_ids, hold_ids, received_at)"
            " SELECT source, '[' || payload || ']', 1, array_remove(ARRAY[NULLIF(post_id, '')], NULL), hold_ids,"
            " received_at FROM chunk JOIN fresh USING (source, event_id)"
        )
        return int(cursor.rowcount)


def _dead_letters(chunk: Chunk, restored: Restored, at: datetime) -> int:
    types = "source text, event_id text, digest bytea, post_id text, persona_id text, payload text, reason text"
    columns = "source, event_id, post_id, persona_id, payload, reason, attempts, created_at"
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], f"{types}, attempts int, created_at timestamptz")
        cursor.execute(
            f"WITH fresh AS ({KEYS.format(which='digest IS NOT NULL')})"
            f" INSERT INTO costs_deadletter ({columns}, replayed_by) SELECT {columns}, ''"
            " FROM chunk JOIN fresh USING (source, event_id)"
        )
        return int(cursor.rowcount)


OUTCOMES = f"""
WITH fresh AS (
    INSERT INTO costs_outcome
        (source, event_id, digest, timestamp, created_at, post_id, persona_id, kind, quantity, amount)
    SELECT source, event_id, digest, timestamp, created_at, post_id, persona_id, kind, quantity, amount
    FROM chunk ORDER BY event_id COLLATE "C"
    ON CONFLICT (event_id, source) DO NOTHING
    RETURNING event_id, post_id, persona_id, date_trunc('hour', timestamp, 'UTC') AS hour, kind,
              COALESCE(quantity, 0) AS quantity, COALESCE(amount, 0) AS amount
){ADD_UP}SELECT count(*) FROM fresh
"""


def _archived_keys(chunk: Chunk, restored: Restored, at: datetime) -> int:
    """Of events whose lines are in files, so that none is ever booked again."""
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], "source text, event_id text, digest bytea")
        cursor.execute(KEYS.format(which="digest IS NOT NULL"))
        return int(cursor.rowcount)


def _outcomes(chunk: Chunk, restored: Restored, at: datetime) -> int:
    types = "source text, event_id text, digest bytea, timestamp timestamptz, created_at timestamptz, post_id text"
    with transaction.atomic(), connection.cursor() as cursor:
        chunks.load(cursor, [chunk], f"{types}, persona_id text, kind text, quantity numeric, amount numeric")
        cursor.execute(OUTCOMES)
        return int(cursor.fetchone()[0])


PARTS: dict[str, Callable[[Chunk, Restored, datetime], int]] = {
    "sheets": _sheets,
    "archived_keys": _archived_keys,
    "lines": _lines,
    "waiting": _waiting,
    "dead_letters": _dead_letters,
    "outcomes": _outcomes,
}
