"""A database connection that gives up: its caller never waits longer than the deadline, whatever the server does."""

import select
from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from costs.polled import row_of, succeeded

T = TypeVar("T")

# Of one statement, as the client sees it: a server that is stopped keeps no time of its own.
LONGEST_SECONDS = 0.5
INTERVAL_SECONDS = 0.1


class NoAnswer(psycopg.OperationalError):
    """The deadline has passed."""


class HastyConnection(psycopg.Connection[Any]):
    """Raises NoAnswer after the deadline, and is closed then: what it had sent may still be carried out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._statements: set[bytes] = set()

    def wait(self, gen: PQGen[T], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, LONGEST_SECONDS if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            raise self._given_up() from None

    def ask(
        self, name: bytes, statement: bytes, values: Sequence[bytes | None], *, prepare: bool
    ) -> list[bytes | None]:
        """The one row of a statement with $1, $2, …; values and columns as the server writes them in text.

        For the one statement that is asked all the time: cursors, adapters and loaders take twice as long as this.
        """
        pgconn = self.pgconn
        if not prepare:
            pgconn.send_query_params(statement, values)
            return row_of(self._result())
        if name not in self._statements:
            pgconn.send_prepare(name, statement)
            self._result()
            self._statements.add(name)
        pgconn.send_query_prepared(name, values)
        return row_of(self._result())

    def _result(self) -> pq.abc.PGresult:
        pgconn, deadline, poll = self.pgconn, monotonic() + LONGEST_SECONDS, select.poll()
        while pgconn.flush():
            self._ready(poll, select.POLLOUT, deadline)
        while pgconn.is_busy():
            self._ready(poll, select.POLLIN, deadline)
            pgconn.consume_input()
        result = pgconn.get_result()
        while pgconn.get_result():
            pass
        return succeeded(result)

    def _ready(self, poll: "select.poll", event: int, deadline: float) -> None:
        poll.register(self.pgconn.socket, event)
        if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
            raise self._given_up()

    def _given_up(self) -> NoAnswer:
        self.close()
        return NoAnswer(f"no answer within {LONGEST_SECONDS} s")
