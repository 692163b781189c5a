"""A series as a CSV file: columns timestamp and value, packed or not. Pure; memory is bounded by one line."""

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import BinaryIO

from costs.events import PLAIN_NUMBER
from costs.usage_import import LONGEST_LINE, unpacked

# Of this many rows the usual step is taken; a file need not be held to know it.
ROWS_FOR_STEP = 50
LARGEST = Decimal("1e100")


class UnusableSeries(ValueError):
    """The file is no series; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """`text` is the timestamp as the file writes it. A missing value is None."""

    text: str
    at: datetime
    value: Decimal | None


def rows(stream: BinaryIO, path: Path) -> Iterator[Row]:
    """Every row of an open file, in the order of time. Raises UnusableSeries at the first one that is unusable."""
    lines = csv.reader(_text(unpacked(stream, path)), strict=True)
    try:
        columns = [name.strip().lower() for name in next(lines, [])]
        if columns.count("timestamp") != 1 or columns.count("value") != 1:
            raise UnusableSeries(f"{path.name} must begin with a line that names the columns timestamp and value.")
        at, value = columns.index("timestamp"), columns.index("value")
        before: Row | None = None
        for cells in lines:
            if cells:
                row = _row(cells, at, value, lines.line_num)
                if before and row.at < before.at:
                    raise UnusableSeries(
                        f"Line {lines.line_num}: {row.text.strip()} is earlier than {before.text.strip()} before it; "
                        "sort the file by time."
                    )
                yield row
                before = row
    except csv.Error as error:
        raise UnusableSeries(f"Line {lines.line_num} is no CSV: {error}.") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UnusableSeries(f"{path.name} cannot be read: {error}.") from None


def _text(content: BinaryIO) -> Iterator[str]:
    """Lines, none longer than is sensible; a mark at the start that says it is UTF-8 is no text."""
    encoding = "utf-8-sig"
    while line := content.readline(LONGEST_LINE):
        yield line.decode(encoding)
        encoding = "utf-8"


def _row(cells: list[str], at: int, value: int, line: int) -> Row:
    if len(cells) <= max(at, value):
        raise UnusableSeries(f"Line {line} has too few columns.")
    number = cells[value].strip()
    if number and not PLAIN_NUMBER.fullmatch(number):
        raise UnusableSeries(f"Line {line}: the value must be a number such as 0.0234, not {number[:50]!r}.")
    found = Decimal(number) if number else None
    if found is not None and abs(found) > LARGEST:
        raise UnusableSeries(f"Line {line}: the value is larger than 1e100.")
    return Row(cells[at], instant(cells[at], f"Line {line}"), found)


def instant(text: str, where: str) -> datetime:
    """2014-04-01 00:00:00, with or without a fraction, or RFC 3339; without an offset it is taken as UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnusableSeries(
            f"{where}: the timestamp must look like 2014-04-01 00:00:00 or 2014-04-01T00:00:00Z, not {text[:50]!r}."
        ) from None


def step(first: list[Row]) -> timedelta:
    """The median distance of these rows, an hour where there is none: what the learned detector takes by itself."""
    steps = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(first) if later.at > earlier.at]
    return timedelta(seconds=median(steps)) if steps else timedelta(hours=1)
