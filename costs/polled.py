"""A pooled connection whose check, before each use, is a look at its socket instead of a round trip to Postgres."""

import select
from typing import Any

import psycopg

# What psycopg_pool's `check_connection` sends.
CHECK = ""


class PolledConnection(psycopg.Connection[Any]):
    """A server that ended the connection has written to it or closed it; where nothing came, nothing happened.

    A server that vanished without a word is found by neither kind of check, but by `tcp_user_timeout`.
    """

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        if query == CHECK and not self._has_something_to_read():
            return self.cursor()
        return super().execute(query, *args, **kwargs)

    def _has_something_to_read(self) -> bool:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))
