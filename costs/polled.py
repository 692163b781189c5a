"""A pooled connection whose check, before each use, is a look at its socket instead of a round trip to Postgres."""

import select
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import pq

# What psycopg_pool's `check_connection` sends.
CHECK = ""


class PolledConnection(psycopg.Connection[Any]):
    """A server that ended the connection has written to it or closed it; where nothing came, nothing happened.

    A server that vanished without a word is found by neither kind of check, but by `tcp_user_timeout`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._statements: set[bytes] = set()

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        if query == CHECK and not self._has_something_to_read():
            return self.cursor()
        return super().execute(query, *args, **kwargs)

    def ask(self, name: bytes, statement: bytes, values: Sequence[Any], *, prepare: bool) -> list[bytes | None]:
        """The one row of a statement with $1, $2, …; values and columns as the server writes them in text, or None.

        For statements that are asked all the time: cursors, adapters and loaders take longer than Postgres.
        """
        if not prepare:
            return row_of(self.pgconn.exec_params(statement, values))
        if name not in self._statements:
            succeeded(self.pgconn.prepare(name, statement))
            self._statements.add(name)
        return row_of(self.pgconn.exec_prepared(name, values))

    def _has_something_to_read(self) -> bool:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))


def row_of(result: pq.abc.PGresult | None) -> list[bytes | None]:
    """The columns of a result's first row. Raises psycopg's error for this result."""
    result = succeeded(result)
    return [result.get_value(0, column) for column in range(result.nfields)]


def succeeded(result: pq.abc.PGresult | None) -> pq.abc.PGresult:
    """The result. Raises psycopg's error for it; OperationalError for what libpq found, as that the server is gone."""
    if result is not None and result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return result
    if result is None or not result.error_field(pq.DiagnosticField.SQLSTATE):
        raise psycopg.OperationalError(result.get_error_message() if result else "no result")
    raise psycopg.errors.error_from_result(result)
