"""Write what the ledger holds into one file, so that `costs.restore` can put it into another database.

A gzipped tar of CSV files as COPY writes them, and a manifest that says how many rows each has, its digest, and by
which migration the tables were made. Lines never change, so those since the last backup are a whole backup. Each
line carries the digest of its event's key: the key comes back with it, and no event is ever booked twice.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from costs.booking import Line
from costs.snapshot import one_snapshot

FORMAT = 1
MANIFEST = "manifest.json"
LINE_COLUMNS = ("id", *Line._fields, "created_at")
EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a backup: the rows of `query`, in which {since} stands for the first booking time."""

    name: str
    query: str


# A charge that is older than the period comes along where an adjustment of the period corrects it. What is accepted
# and not booked comes event by event, so that a restore can leave out what has been booked since.
PARTS = (
    Part("sheets", "SELECT id, content, created_at FROM costs_pricesheet ORDER BY id"),
    Part(
        "lines",
        f"SELECT {', '.join(f'e.{name}' for name in LINE_COLUMNS)}, k.digest, c.created_at AS charged_at"
        " FROM cost_events e LEFT JOIN costs_eventkey k USING (source, event_id)"
        " LEFT JOIN cost_events c ON c.id = e.adjusts"
        " WHERE e.created_at >= {since} OR e.id IN"
        " (SELECT adjusts FROM cost_events WHERE created_at >= {since} AND adjusts IS NOT NULL)"
        " ORDER BY e.id",
    ),
    Part(
        "waiting",
        "SELECT i.source, k.event_id, k.digest, event::text AS payload, event ->> 'post_id' AS post_id,"
        " ARRAY(SELECT unnest(hold_ids) INTERSECT SELECT event ->> 'hold_id') AS hold_ids, received_at"
        " FROM costs_inboxrow i CROSS JOIN json_array_elements(payload::json) AS event"
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


class Written(msgspec.Struct, frozen=True):
    """A file in the tar: how many rows it has below its header, and the SHA-256 of its bytes."""

    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. `migration` is the last one of costs that made its tables."""

    format: int
    migration: str
    since: datetime
    written_at: datetime
    parts: dict[str, Written]


def write(path: Path, *, since: datetime, at: datetime) -> Manifest:
    """Write everything booked at `since` or later, of one moment, and all that waits. The file appears when whole."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder, one_snapshot(patient=True):
            written = {part.name: _export(part, Path(folder), since) for part in PARTS}
            manifest = Manifest(FORMAT, migration(), since, at, written)
            _pack(unfinished, Path(folder), manifest)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def migration() -> str:
    """The name of the last migration of costs in this database."""
    applied = MigrationRecorder.Migration.objects.using(connection.alias).filter(app="costs")
    return str(applied.order_by("-name").values_list("name", flat=True)[0])


def records(stream: IO[bytes]) -> Iterator[bytes]:
    """The records of a CSV file as they stand there; one may have line breaks within its quotes."""
    pending = b""
    for line in stream:
        pending += line
        if pending.count(b'"') % 2 == 0:
            yield pending
            pending = b""


def _export(part: Part, folder: Path, since: datetime) -> Written:
    """In COPY's own CSV: an absent value is empty and an empty text is "", which Python's csv cannot tell apart."""
    query = part.query.format(since=f"'{since.astimezone(UTC).isoformat()}'::timestamptz")
    path, digest = folder / _file_name(part.name), hashlib.sha256()
    with (
        path.open("wb") as file,
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)") as copy,
    ):
        for block in copy:
            file.write(block)
            digest.update(block)
    with path.open("rb") as file:
        rows = sum(1 for _ in records(file)) - 1
    return Written(rows, digest.hexdigest())


def _pack(path: Path, folder: Path, manifest: Manifest) -> None:
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:
        _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        for name in manifest.parts:
            tar.add(folder / _file_name(name), _file_name(name), filter=_nobody)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who wrote it is nobody's business."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _file_name(part: str) -> str:
    return f"{part}.csv"


class Unreadable(ValueError):
    """The file is no backup, or not as it was written; the message says how."""


@dataclass(slots=True)
class Opened:
    """A backup whose parts have proved to be as they were written."""

    manifest: Manifest
    _tar: tarfile.TarFile

    def part(self, name: str) -> IO[bytes]:
        found = self._tar.extractfile(_file_name(name))
        if found is None:
            raise Unreadable(f"{_file_name(name)} is no file")
        return found


def read(path: Path, use: Callable[[Opened], Any]) -> Any:
    """Open a backup, compare every part with the manifest, and only then use it. Raises Unreadable."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            opened = Opened(_manifest(tar), tar)
            _check(opened)
            return use(opened)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise Unreadable(f"{path.name} is no backup of this program, or was cut off: {error}") from None


def _manifest(tar: tarfile.TarFile) -> Manifest:
    found = tar.extractfile(MANIFEST)
    try:
        manifest = msgspec.json.decode(found.read() if found else b"", type=Manifest)
    except msgspec.DecodeError as error:
        raise Unreadable(f"{MANIFEST} cannot be understood: {error}") from None
    if manifest.format != FORMAT:
        raise Unreadable(f"format {manifest.format} is not known here: a newer release wrote it")
    return manifest


def _check(opened: Opened) -> None:
    for name, written in opened.manifest.parts.items():
        with opened.part(name) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        if digest != written.sha256:
            raise Unreadable(f"{_file_name(name)} is not as it was written: its digest differs")
