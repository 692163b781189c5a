"""Usage files as events: read CSV or JSON lines as a stream, map columns to event fields, keep every line's number.

Pure: no Django, no clock, no database. Memory is bounded by the longest line, whatever the size of the file.
"""

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec

from costs.events import PLAIN_NUMBER, Event, InvalidEvent, encode, exact

Format = Literal["csv", "jsonl"]
TimeFormat = Literal["rfc3339", "unix", "unix_ms"]

FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
TICKS_PER_SECOND: dict[TimeFormat, int] = {"unix": 1, "unix_ms": 1000}
LONGEST_LINE = 1024 * 1024
EVENT_FIELDS = frozenset(Event.__struct_fields__)
NESTED_FIELDS = frozenset({"usage", "metadata"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_json = msgspec.json.Decoder(dict[str, Any], float_hook=exact)


class UnusableFile(ValueError):
    """Nothing of the file or its mapping can be used; the message says why."""


class BadLine(ValueError):
    """One line is no event; the message says why, the others go on."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file under the number of its first line, or what is wrong with it."""

    line: int
    values: Mapping[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """One line as the JSON body of an event, or the sentence that refuses it."""

    line: int
    content: bytes = b""
    error: str = ""


def format_of(path: Path) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    found = FORMATS.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise UnusableFile(f"{path.name} must end in {', '.join(FORMATS)}, or in one of these and .gz.")
    return found


def unpacked(stream: BinaryIO, path: Path) -> BinaryIO:
    """The content of an open file, decompressed where its name ends in .gz."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if path.suffix.lower() == ".gz" else stream


def fingerprint(path: Path) -> str:
    """16 hex digits of the content, the same packed and unpacked: the stem of the ids of lines that have none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            content = unpacked(stream, path)
            while chunk := content.read(LONGEST_LINE):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableFile(f"{path.name} cannot be read: {error}") from None
    return digest.hexdigest()[:16]


def records(content: BinaryIO, kind: Format) -> Iterator[Record]:
    """Every record of the content, in order; empty lines are passed over."""
    return _csv_records(content) if kind == "csv" else _json_records(content)


def columns(content: BinaryIO) -> list[str]:
    """The header of a CSV file. Raises UnusableFile unless it names every column once."""
    try:
        header = next(csv.reader(_text_lines(content), strict=True), [])
    except csv.Error as error:
        raise UnusableFile(f"The first line is no CSV header: {error}") from None
    if not header or not all(header) or len(set(header)) < len(header) or _undecodable(header):
        raise UnusableFile("The first line must name every column, each once, in UTF-8.")
    return header


@dataclass(frozen=True, slots=True)
class Plan:
    """How a record becomes an event: field from column, field from constant, both with dots for what is nested."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]
    stem: str
    time_format: TimeFormat = "rfc3339"
    as_is: bool = False

    @property
    def names_events(self) -> bool:
        """Whether lines can bring ids of their own."""
        return self.as_is or "event_id" in self.columns or "event_id" in self.constants

    def bodies(self, found: Iterable[Record]) -> Iterator[Body]:
        for record in found:
            yield self._body(record)

    def _body(self, record: Record) -> Body:
        if record.error:
            return Body(record.line, error=record.error)
        try:
            return Body(record.line, encode(self._event(record)))
        except (BadLine, InvalidEvent) as error:
            return Body(record.line, error=str(error))

    def _event(self, record: Record) -> dict[str, Any]:
        event = dict(record.values) if self.as_is else {}
        for field, column in self.columns.items():
            _place(event, field, _value_at(record.values, column))
        for field, constant in self.constants.items():
            _place(event, field, constant)
        if event.get("timestamp") not in (None, "") and self.time_format != "rfc3339":
            event["timestamp"] = moment(event["timestamp"], self.time_format)
        if not event.get("event_id"):
            event["event_id"] = f"import-{self.stem}-{record.line}"
        return event


def plan(
    *,
    kind: Format,
    header: Sequence[str],
    mapped: Sequence[str],
    constants: Sequence[str],
    stem: str,
    time_format: TimeFormat = "rfc3339",
) -> Plan:
    """Read FIELD=COLUMN and FIELD=VALUE pairs. Columns that bear the name of a field need no mapping.

    JSON lines without any mapping are taken as events as they stand. Raises UnusableFile.
    """
    chosen, fixed = _pairs(mapped), _pairs(constants)
    if both := chosen.keys() & fixed.keys():
        raise UnusableFile(f"{', '.join(sorted(both))}: either mapped or set, not both.")
    if kind == "csv" and (absent := set(chosen.values()) - set(header)):
        raise UnusableFile(f"No column {', '.join(sorted(absent))} in the file; it has {', '.join(header)}.")
    as_is = kind == "jsonl" and not chosen
    same = () if as_is else (name for name in (header if kind == "csv" else EVENT_FIELDS) if _is_field(name))
    named = {name: name for name in same if name not in chosen and name not in fixed}
    return Plan(named | chosen, fixed, stem, time_format, as_is)


def moment(value: Any, time_format: TimeFormat) -> str:
    """Unix time as RFC 3339, exact to the microsecond."""
    number = _number(str(value))
    if number is None:
        raise BadLine(f"timestamp: {str(value)[:40]!r} is no unix time")
    try:
        microseconds = int(number * (1_000_000 // TICKS_PER_SECOND[time_format]))
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        raise BadLine(f"timestamp: {str(value)[:40]} is out of range") from None


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals or not value:
            raise UnusableFile(f"{text!r} must look like field=value.")
        if not _is_field(field):
            raise UnusableFile(f"{field!r} is no field of an event; these are: {', '.join(sorted(EVENT_FIELDS))}.")
        if field in pairs:
            raise UnusableFile(f"{field} is given twice.")
        pairs[field] = value
    return pairs


def _is_field(name: str) -> bool:
    top, dot, rest = name.partition(".")
    return top in EVENT_FIELDS and (not dot or (top in NESTED_FIELDS and all(rest.split("."))))


def _value_at(values: Mapping[str, Any], column: str) -> Any:
    """The value under a name, or inside nested objects under a dotted one."""
    if column in values:
        return values[column]
    top, dot, rest = column.partition(".")
    inner = values.get(top)
    return _value_at(inner, rest) if dot and isinstance(inner, dict) else None


def _place(event: dict[str, Any], field: str, value: Any) -> None:
    if value is None or value == "":
        return
    *parents, last = field.split(".")
    target = event
    for name in parents:
        # A copy: what the record holds must not change under its owner.
        inner = target.get(name)
        target[name] = target = dict(inner) if isinstance(inner, dict) else {}
    target[last] = _counted(value, field) if parents and parents[0] == "usage" else value


def _counted(value: Any, field: str) -> Any:
    """Usage is numbers, but text files know only text; the dialect's name and what is no number stay text."""
    if not isinstance(value, str) or field == "usage.dialect":
        return value
    number = _number(value)
    if number is None:
        raise BadLine(f"{field}: {value[:40]!r} is no number")
    return number


def _number(text: str) -> int | Decimal | None:
    try:
        return exact(text) if PLAIN_NUMBER.fullmatch(text) else None
    except (InvalidOperation, ValueError):
        return None


def _lines(content: BinaryIO) -> Iterator[bytes]:
    """Physical lines; one that is too long is cut and ends in a byte that no UTF-8 text has."""
    while line := content.readline(LONGEST_LINE):
        yield line if line.endswith(b"\n") or len(line) < LONGEST_LINE else line[:100] + _rest_of_line(content)


def _rest_of_line(content: BinaryIO) -> bytes:
    while (rest := content.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass
    return b"\xff\n"


def _text_lines(content: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(_lines(content)):
        # Spreadsheets write a byte order mark.
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", errors="surrogateescape")


def _csv_records(content: BinaryIO) -> Iterator[Record]:
    reader = csv.reader(_text_lines(content), strict=True)
    header = next(reader, [])
    while True:
        first_line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(first_line, {}, f"is not valid CSV: {error}")
            continue
        if values:
            yield Record(first_line, dict(zip(header, values, strict=False)), _fault(header, values))


def _fault(header: Sequence[str], values: Sequence[str]) -> str:
    if len(values) != len(header):
        return f"has {len(values)} values, the header has {len(header)} columns"
    if _undecodable(values):
        return "is not valid UTF-8, or longer than 1 MB"
    return ""


def _undecodable(values: Sequence[str]) -> bool:
    # Bytes that are no UTF-8 arrive as lone surrogates.
    return any("\udc80" <= character <= "\udcff" for value in values if not value.isascii() for character in value)


def _json_records(content: BinaryIO) -> Iterator[Record]:
    for number, line in enumerate(_lines(content), start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if text:
            yield _json_record(number, text)


def _json_record(number: int, text: bytes) -> Record:
    if text.endswith(b"\xff"):
        return Record(number, {}, "is not valid UTF-8, or longer than 1 MB")
    try:
        return Record(number, _json.decode(text))
    except (msgspec.DecodeError, ValueError, RecursionError, InvalidOperation) as error:
        return Record(number, {}, f"is no JSON object: {error}")
