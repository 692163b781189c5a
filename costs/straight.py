"""Statements that are asked all the time, over a connection straight from the pool.

To dress a connection up as Django's, and a cursor around it, takes longer than they do. Where there is no pool, or a
transaction is under way, they go over Django's connection.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DataError, connections

from costs.polled import PolledConnection

Sent = str | bytes | None


class Statement:
    """SQL of one row of texts; each {} in it is a value, in order, and `types` are theirs.

    A session keeps its plan, unless it is to be `planned_anew` each time: as for arrays, whose lengths decide.
    """

    def __init__(self, name: str, sql: str, *types: str, planned_anew: bool = False) -> None:
        self._name = name.encode()
        self._is_kept = not planned_anew
        self._straight = sql.format(*(f"${place}::{kind}" for place, kind in enumerate(types, 1))).encode()
        self._by_cursor = sql.format(*(f"%s::{kind}" for kind in types))

    def row(self, values: Sequence[Sent], *, using: str) -> tuple[str | None, ...]:
        """Raises the errors that Django's cursors raise."""
        connection: Any = connections[using]
        if connection.in_atomic_block or connection.pool is None:
            with connection.cursor() as cursor:
                cursor.execute(self._by_cursor, values)
                return tuple(cursor.fetchone())
        sent = [_written(value) for value in values]
        with connection.wrap_database_errors, _taken(connection) as asked:
            is_kept = self._is_kept and not settings.FINOPS_PGBOUNCER
            row = asked.ask(self._name, self._straight, sent, prepare=is_kept)
        return tuple(None if text is None else text.decode() for text in row)


@contextmanager
def _taken(connection: Any) -> Iterator[PolledConnection]:
    """The one that Django has taken already: threads that each hold one and want another wait for ever."""
    if connection.connection is not None:
        yield connection.connection
        return
    connection.pool.open()
    with connection.pool.connection() as taken:
        yield taken


def give_back(using: str) -> None:
    """Django's connection to its pool, before this thread waits for something else, as for a body that stalls."""
    connection: Any = connections[using]
    if connection.pool is not None and not connection.in_atomic_block:
        connection.close()


def text_array(names: Iterable[str]) -> str:
    """As an array literal. psycopg would bind a list too, but look at every item twice by regular expression."""
    return f"{{{','.join(map(quoted, names))}}}"


def quoted(name: str) -> str:
    """As an item of an array literal."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def spelled(value: bytes) -> str:
    """As Postgres reads a bytea."""
    return f"\\x{value.hex()}"


def _written(value: Sent) -> bytes | None:
    """As Postgres reads it from text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return spelled(value).encode()
    if "\0" in value:
        # libpq would take what stands before it for all of it.
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()
