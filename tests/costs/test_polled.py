"""A pooled connection that broke while nobody used it is found before its next use, without asking the server."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg_pool import ConnectionPool

from costs.polled import PolledConnection

pytestmark = pytest.mark.django_db

Pool = ConnectionPool[PolledConnection]


@pytest.fixture
def pool() -> Iterator[Pool]:
    """One connection, checked before each use."""
    kwargs, check = parameters() | {"autocommit": True}, ConnectionPool.check_connection
    with ConnectionPool(connection_class=PolledConnection, kwargs=kwargs, min_size=1, max_size=1, check=check) as pool:
        yield pool


def parameters() -> dict[str, Any]:
    """What psycopg needs to reach the database of the test."""
    of_django = {"context", "cursor_factory", "prepare_threshold"}
    return {name: value for name, value in connection.get_connection_params().items() if name not in of_django}


def backend(pool: Pool) -> int:
    with pool.connection() as held:
        return held.info.backend_pid


class TestThePoolsCheck:
    def test_a_connection_that_lives_is_used_again(self, pool: Pool) -> None:
        assert backend(pool) == backend(pool)

    def test_one_that_the_server_ended_is_replaced(self, pool: Pool) -> None:
        first = backend(pool)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 30000)", [first])

        with pool.connection() as held:
            assert held.execute("SELECT 1").fetchone() == (1,)
            assert held.info.backend_pid != first

    def test_one_that_was_told_something_is_asked_and_kept(self, pool: Pool) -> None:
        with pool.connection() as held:
            held.execute("LISTEN news")
        first = backend(pool)
        with psycopg.connect(**parameters(), autocommit=True) as other:
            other.execute("NOTIFY news")

        assert backend(pool) == first


class TestAStatement:
    def test_reaches_the_server(self, pool: Pool) -> None:
        with pool.connection() as held:
            assert held.execute("SELECT %s", [7]).fetchone() == (7,)

    def test_that_is_asked_all_the_time_is_prepared_once(self, pool: Pool) -> None:
        with pool.connection() as held:
            answers = [held.ask(b"half", b"SELECT $1::int / 2, $2::text", [b"14", b"of"], prepare=True) for _ in "ab"]
            unprepared = held.ask(b"", b"SELECT $1::bytea", [b"\\x00ff"], prepare=False)
            known = held.execute("SELECT name FROM pg_prepared_statements WHERE name = 'half'").fetchall()

        assert (answers, known) == ([[b"7", b"of"]] * 2, [("half",)])
        assert unprepared == [b"\\x00ff"]

    def test_that_fails_raises_the_error_of_its_kind(self, pool: Pool) -> None:
        with pool.connection() as held, pytest.raises(psycopg.errors.DivisionByZero):
            held.ask(b"", b"SELECT 1 / $1::int", [b"0"], prepare=False)
