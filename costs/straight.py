"""A function of Postgres, called over a connection straight from the pool.

For what is called all the time: to dress a connection up as Django's, and a cursor around it, takes longer than the
function does. Where there is no pool, or a transaction is under way, it is called over Django's connection.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections

from costs.polled import PolledConnection

TRUE = b"t"


class Function:
    """`types` are those of its arguments; it returns a boolean."""

    def __init__(self, name: str, types: Sequence[str]) -> None:
        self._name = name.encode()
        arguments = ", ".join(f"${place}::{kind}" for place, kind in enumerate(types, 1))
        self._straight = f"SELECT {name}({arguments})".encode()
        self._by_cursor = f"SELECT {name}({', '.join(f'%s::{kind}' for kind in types)})"

    def is_true(self, values: Sequence[str | bytes], *, using: str) -> bool:
        """Raises the errors that Django's cursors raise."""
        connection: Any = connections[using]
        if connection.in_atomic_block or connection.pool is None:
            with connection.cursor() as cursor:
                cursor.execute(self._by_cursor, values)
                return bool(cursor.fetchone()[0])
        sent = [_written(value) for value in values]
        with connection.wrap_database_errors, _taken(connection) as asked:
            (answer,) = asked.ask(self._name, self._straight, sent, prepare=not settings.FINOPS_PGBOUNCER)
        return bool(answer == TRUE)


@contextmanager
def _taken(connection: Any) -> Iterator[PolledConnection]:
    """The one that Django has taken already: threads that each hold one and want another wait for ever."""
    if connection.connection is not None:
        yield connection.connection
        return
    connection.pool.open()
    with connection.pool.connection() as taken:
        yield taken


def _written(value: str | bytes) -> bytes:
    """As Postgres reads it from text."""
    return value.encode() if isinstance(value, str) else b"\\x" + value.hex().encode()
