"""A month of the ledger as a Parquet file: written, read back, and compared line by line.

Only commands import this: its library is large, and no worker or web process needs it. Amounts are decimals with 12
places, times are UTC to the microsecond, JSON is text. The digest in the file is of every value of every line in the
order of ids, so it says the same whatever wrote the file.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from django.db import connection

from costs.archive import COLUMNS, File, Unarchivable
from costs.models.archives import table_of

ROWS = 20_000
FORMAT = "1"
_encoder = msgspec.json.Encoder()
_WHOLE, _SMALL, _TEXT = pa.int64(), pa.int16(), pa.string()
_MONEY, _TIME = pa.decimal128(21, 12), pa.timestamp("us", tz="UTC")
TYPES = {
    **dict.fromkeys(COLUMNS, _TEXT),
    **dict.fromkeys(("id", "adjusts"), _WHOLE),
    **dict.fromkeys(("unpriced", "deviating"), _SMALL),
    **dict.fromkeys(("cost_amount", "computed_amount"), _MONEY),
    **dict.fromkeys(("timestamp", "created_at"), _TIME),
}
SCHEMA = pa.schema(list(TYPES.items()))
AS_TEXT = ("cost_metadata", "quantities", "usage", "price_sheet_id")
SELECT = ", ".join(f"{name}::text" if name in AS_TEXT else name for name in COLUMNS)
AMOUNT = COLUMNS.index("cost_amount")

Row = Sequence[Any]


@dataclass(slots=True)
class Tally:
    """What a run over lines comes to, one line after the other."""

    lines: int = 0
    total: Decimal = Decimal(0)
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._digest.update(_encoder.encode(list(row)))
            self._digest.update(b"\n")
        self.lines += len(rows)
        self.total += sum((row[AMOUNT] for row in rows if row[AMOUNT] is not None), Decimal(0))

    @property
    def as_metadata(self) -> dict[str, str]:
        return {"rows": str(self.lines), "sum": f"{self.total:f}", "sha256": self._digest.hexdigest()}


def write(month: date, folder: Path) -> Path:
    """Write the month's lines; the file appears when it is whole and on the disk.

    Raises Unarchivable where a file of that name has other lines: it may be their only copy.
    """
    path, tally = folder / f"{table_of(month)}.parquet", Tally()
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with pq.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:
            for rows in _pages(table_of(month)):
                tally.add(rows)
                writer.write_table(_table(rows))
            told = {"format": FORMAT, "month": f"{month:%Y-%m}", **tally.as_metadata}
            writer.add_key_value_metadata({f"finops.{name}": value for name, value in told.items()})
        _to_disk(unfinished)
        _refuse_others(path, tally)
        unfinished.replace(path)
        _to_disk(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def compare(month: date, path: Path) -> File:
    """Read the file back and compare it with the month's table, line by line. Raises Unarchivable at a difference."""
    with pq.ParquetFile(path) as file:
        groups = iter(range(file.num_row_groups))
        for rows in _pages(table_of(month)):
            group = next(groups, None)
            if group is None or not file.read_row_group(group).cast(SCHEMA).equals(_table(rows)):
                raise Unarchivable(f"{path.name} differs from the ledger near line {rows[0][0]}")
        if next(groups, None) is not None:
            raise Unarchivable(f"{path.name} has more lines than the ledger")
    return prove(path, month)


def prove(path: Path, month: date) -> File:
    """Read the whole file and compare it with what it says of itself. Raises Unarchivable."""
    tally = Tally()
    for rows in _row_groups(path):
        tally.add(rows)
    told = told_by(path)
    said = {name: told.get(name, "") for name in tally.as_metadata}
    if said != tally.as_metadata or told.get("month") != f"{month:%Y-%m}":
        raise Unarchivable(f"{path.name} is not as it was written: its lines differ from what it says of them")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(path.name, path.stat().st_size, digest, tally.lines, tally.total)


def told_by(path: Path) -> dict[str, str]:
    """What the file says of itself: format, month, rows, sum, sha256. Raises Unarchivable for any other file."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise Unarchivable(f"{path.name} is no Parquet file, or was cut off: {error}") from None
    told = {
        name.decode().removeprefix("finops."): value.decode()
        for name, value in found.items()
        if name.startswith(b"finops.")
    }
    if told.get("format") != FORMAT:
        raise Unarchivable(f"{path.name} was not written by this program, or by a newer release of it")
    return told


def rows_of(path: Path) -> Iterator[Row]:
    """The lines, in the order of COLUMNS."""
    for rows in _row_groups(path):
        yield from rows


def _refuse_others(path: Path, tally: Tally) -> None:
    if not path.exists():
        return
    told = told_by(path)
    if any(told.get(name) != value for name, value in tally.as_metadata.items()):
        raise Unarchivable(
            f"{path.name} is there already, with other lines ({told.get('rows')}, ${told.get('sum')}; the ledger has"
            f" {tally.lines}, ${tally.total:f}) and may be their only copy: bring back what is missing, or move it away"
        )


def _pages(table: str) -> Iterator[list[Row]]:
    last = -1
    while True:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {SELECT} FROM {table} WHERE id > %s ORDER BY id LIMIT {ROWS}", [last])
            rows = cursor.fetchall()
        if not rows:
            return
        yield rows
        last = rows[-1][0]


def _table(rows: Sequence[Row]) -> Any:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, TYPES.values(), strict=True)], SCHEMA)


def _row_groups(path: Path) -> Iterator[list[Row]]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            columns = [column.to_pylist() for column in file.read_row_group(group).columns]
            yield list(zip(*columns, strict=True))


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
