"""Write what the ledger holds as one stream, so that `costs.restore` can put it into another database.

A gzipped tar. First comes what the backup is of, last how many rows it has; between them lie CSV files as COPY writes
them, of at most 1,000 rows each, with the digest of its bytes in its name. So neither side keeps more than one of them
in its memory, and none on a disk. Lines never change, so those since the last backup are a whole backup. Each line
carries the digest of its event's key: the key comes back with it, and no event is ever booked twice.
"""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from costs.booking import Line
from costs.snapshot import one_snapshot

FORMAT = 2
START, END = "backup.json", "end.json"
FILE = re.compile(r"([a-z_]+)/([0-9]{6,})-([0-9a-f]{64})\.csv", re.ASCII)
ROWS = 1000
LINE_COLUMNS = ("id", *Line._fields, "created_at")
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """Some files of a backup: the rows of `query`, in which {since} stands for the first booking time."""

    name: str
    query: str


WAITING = "costs_inboxrow i CROSS JOIN json_array_elements(payload::json) AS event"
# Months that are archived are no lines here: their sums come along, and the keys that no line has any more.
ARCHIVED = "costs_archivedpartition WHERE (month + interval '1 month') AT TIME ZONE 'UTC' > {since}"
ARCHIVED_KEYS = f"""
SELECT k.source, k.event_id, k.digest FROM costs_eventkey k
WHERE EXISTS (SELECT FROM {ARCHIVED})
  AND NOT EXISTS (SELECT FROM cost_events e WHERE e.source = k.source AND e.event_id = k.event_id)
  AND NOT EXISTS (SELECT FROM {WAITING} WHERE i.source = k.source AND event ->> 'event_id' = k.event_id)
  AND NOT EXISTS (SELECT FROM costs_deadletter d
                  WHERE d.source = k.source AND d.event_id = k.event_id AND replayed_at IS NULL)
"""
# With each month the last id that a line has got, and with each sum of a post when that post was last seen,
# or its month where no counter knows.
ARCHIVES = f"""
WITH months AS (SELECT * FROM {ARCHIVED})
SELECT 'month' AS kind, to_jsonb(m) || jsonb_build_object(
    'last_id', pg_sequence_last_value(pg_get_serial_sequence('cost_events', 'id')::regclass)) AS content
FROM months m
UNION ALL
SELECT 'sum', to_jsonb(s) || jsonb_build_object('last_at', COALESCE(p.last_at, m.last_at))
FROM costs_archivedsum s JOIN months m ON archive_id = month
LEFT JOIN costs_postcost p ON counter = 'costs_postcost'
    AND p.post_id = s.post_id AND p.persona_id = s.persona_id AND p.cost_type = s.cost_type
UNION ALL
SELECT 'post', to_jsonb(p) FROM costs_archivedpost p JOIN months m ON archive_id = month
"""

# A charge that is older than the period comes along where an adjustment of the period corrects it, and no adjustment
# comes before a charge: its charge may have another id where it is brought back. What is accepted and not booked comes
# event by event, so that a restore can leave out what has been booked since.
PARTS = (
    Part("sheets", "SELECT id, content, created_at FROM costs_pricesheet ORDER BY id"),
    Part("archived_keys", ARCHIVED_KEYS),
    Part("archives", ARCHIVES),
    Part(
        "lines",
        f"SELECT {', '.join(f'e.{name}' for name in LINE_COLUMNS)}, k.digest, c.created_at AS charged_at"
        " FROM cost_events e LEFT JOIN costs_eventkey k USING (source, event_id)"
        " LEFT JOIN cost_events c ON c.id = e.adjusts"
        " WHERE e.created_at >= {since} OR e.id IN"
        " (SELECT adjusts FROM cost_events WHERE created_at >= {since} AND adjusts IS NOT NULL)"
        " ORDER BY e.entry_type = 'adjustment', e.id",
    ),
    Part(
        "waiting",
        "SELECT i.source, k.event_id, k.digest, event::text AS payload, event ->> 'post_id' AS post_id,"
        " ARRAY(SELECT unnest(hold_ids) INTERSECT SELECT event ->> 'hold_id') AS hold_ids, received_at"
        f" FROM {WAITING}"
        " JOIN costs_eventkey k ON k.event_id = event ->> 'event_id' AND k.source = i.source"
        " ORDER BY i.id",
    ),
    Part(
        "dead_letters",
        "SELECT d.source, d.event_id, k.digest, post_id, persona_id, payload, reason, attempts, created_at"
        " FROM costs_deadletter d JOIN costs_eventkey k USING (source, event_id)"
        " WHERE replayed_at IS NULL ORDER BY d.id",
    ),
    Part(
        "outcomes",
        "SELECT source, event_id, digest, timestamp, created_at, post_id, persona_id, kind, quantity, amount"
        " FROM costs_outcome WHERE created_at >= {since} ORDER BY id",
    ),
)


class Start(msgspec.Struct, frozen=True):
    """What a backup says of itself first. `migration` is the last one of costs that made its tables."""

    format: int
    migration: str
    since: datetime
    written_at: datetime


class End(msgspec.Struct, frozen=True):
    """What it says last: how many rows each part has. A backup without it was cut off."""

    rows: dict[str, int]


def write(stream: IO[bytes], *, since: datetime, at: datetime) -> dict[str, int]:
    """Write everything booked at `since` or later, of one moment, and all that waits; returns the rows of each part."""
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
        one_snapshot(patient=True),
    ):
        _add(tar, START, _json(Start(FORMAT, migration(), since, at)))
        rows = {part.name: _export(tar, part, since) for part in PARTS}
        _add(tar, END, _json(End(rows)))
    return rows


@contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that is there under its name when it is whole."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def migration() -> str:
    """The name of the last migration of costs in this database."""
    applied = MigrationRecorder.Migration.objects.using(connection.alias).filter(app="costs")
    return str(applied.order_by("-name").values_list("name", flat=True)[0])


def _export(tar: tarfile.TarFile, part: Part, since: datetime) -> int:
    """In COPY's own CSV: an absent value is empty and an empty text is "", which Python's csv cannot tell apart."""
    query = part.query.format(since=f"'{since.astimezone(UTC).isoformat()}'::timestamptz")
    rows = 0
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)") as copy,
    ):
        # libpq hands out a row at a time, the header first.
        found = (bytes(row) for row in copy)
        header, number = next(found), 0
        while some := list(islice(found, ROWS)):
            number, rows = number + 1, rows + len(some)
            content = header + b"".join(some)
            _add(tar, f"{part.name}/{number:06}-{_digest(content)}.csv", content)
    return rows


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _json(told: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(told), indent=2)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


Told = TypeVar("Told", Start, End)


class Unreadable(ValueError):
    """This is no backup, or not as it was written; the message says how."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a part: the CSV that COPY wrote, apart from its header, which names the columns."""

    part: str
    header: bytes
    records: bytes

    @property
    def rows(self) -> int:
        """A row may have line breaks within its quotes."""
        count, quotes = 0, 0
        for line in io.BytesIO(self.records):
            quotes += line.count(b'"')
            count += quotes % 2 == 0
        return count


@dataclass(frozen=True, slots=True)
class Opened:
    """A backup that is being read: its chunks come in their order, each after it has proved to be as it was written."""

    start: Start
    chunks: Iterator[Chunk]


@contextmanager
def opened(stream: IO[bytes]) -> Iterator[Opened]:
    """Read a backup from its beginning. Raises Unreadable, also while its chunks are read."""
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            yield Opened(_start(tar), _chunks(tar))
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Unreadable(f"it is no backup of this program, or was cut off: {error}") from None


def prove(stream: IO[bytes]) -> None:
    """Read a backup to its end. Raises Unreadable."""
    with opened(stream) as found:
        for _ in found.chunks:
            pass


def _start(tar: tarfile.TarFile) -> Start:
    first = tar.next()
    if first is None or first.name != START:
        raise Unreadable("it is no backup of this program, or of an older release")
    start = _told(tar, first, Start)
    if start.format != FORMAT:
        raise Unreadable(f"format {start.format} is not known here: another release wrote it")
    return start


def _chunks(tar: tarfile.TarFile) -> Iterator[Chunk]:
    """Reads on behind the end: whoever writes into a pipe is not cut off."""
    rows, files, end = dict[str, int](), dict[str, int](), None
    while entry := tar.next():
        if entry.name == END:
            end = _told(tar, entry, End)
            continue
        chunk = _chunk(tar, entry, files)
        rows[chunk.part] = rows.get(chunk.part, 0) + chunk.rows
        yield chunk
    if end is None:
        raise Unreadable("it was cut off: its end is missing")
    if {name: count for name, count in end.rows.items() if count} != rows:
        raise Unreadable(f"it has not the rows that it should have: {end.rows} of each part, but {rows}")


def _chunk(tar: tarfile.TarFile, entry: tarfile.TarInfo, files: dict[str, int]) -> Chunk:
    named = FILE.fullmatch(entry.name)
    if named is None:
        raise Unreadable(f"{entry.name} is no part of a backup")
    part, number, digest = named.groups()
    files[part] = files.get(part, 0) + 1
    content = _content(tar, entry)
    if int(number) != files[part] or _digest(content) != digest:
        raise Unreadable(f"{part} {number} is not as it was written, or not in its place")
    header, _, records = content.partition(b"\n")
    return Chunk(part, header, records)


def _told(tar: tarfile.TarFile, entry: tarfile.TarInfo, kind: type[Told]) -> Told:
    try:
        return msgspec.json.decode(_content(tar, entry), type=kind)
    except msgspec.DecodeError as error:
        raise Unreadable(f"{entry.name} cannot be understood: {error}") from None


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    found = tar.extractfile(entry)
    if found is None:
        raise Unreadable(f"{entry.name} is no file")
    return found.read()
