"""A database connection that gives up: its caller never waits longer than the deadline, whatever the server does."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")

# Of one statement, as the client sees it: a server that is stopped keeps no time of its own.
LONGEST_SECONDS = 0.5
INTERVAL_SECONDS = 0.1


class NoAnswer(psycopg.OperationalError):
    """The deadline has passed."""


class HastyConnection(psycopg.Connection[Any]):
    """Raises NoAnswer after the deadline, and is closed then: what it had sent may still be carried out."""

    def wait(self, gen: PQGen[T], interval: float = INTERVAL_SECONDS, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, LONGEST_SECONDS if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            self.close()
            raise NoAnswer(f"no answer within {LONGEST_SECONDS} s") from None
