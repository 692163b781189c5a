"""A statement that goes straight from the pool is answered as it is over Django's connection."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import DataError, OperationalError, connection
from psycopg_pool import ConnectionPool

from costs import straight
from costs.polled import PolledConnection
from costs.straight import Statement, text_array
from tests.costs.test_polled import parameters

pytestmark = pytest.mark.django_db

STARTS_WITH = Statement("starts", "SELECT starts_with({}, {})::text", "text", "text")
IS_EQUAL = Statement("equal", "SELECT ({} = {})::text, {}::text", "bytea", "bytea", "text")
ENDS = Statement("ends", "SELECT pg_terminate_backend({})::text", "int")
NAMES = Statement("names", "SELECT array_to_string({}, ' | ')", "text[]")


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionPool[PolledConnection]]:
    """Web's own connection, of which there is none in a test."""
    kwargs = parameters() | {"autocommit": True}
    with ConnectionPool(connection_class=PolledConnection, kwargs=kwargs, min_size=1, max_size=1) as pool:
        web = SimpleNamespace(
            in_atomic_block=False, pool=pool, connection=None, wrap_database_errors=connection.wrap_database_errors
        )
        monkeypatch.setattr(straight, "connections", {"web": web, "default": connection})
        yield pool


@pytest.mark.usefixtures("pooled")
@pytest.mark.parametrize("using", ["web", "default"])
class TestAStatement:
    def test_says_yes_and_no(self, using: str) -> None:
        asked = [STARTS_WITH.row(["naïve", text], using=using) for text in ("naï", "b")]

        assert asked == [("true",), ("false",)]

    def test_hears_bytes_and_nothing_as_they_are(self, using: str) -> None:
        assert IS_EQUAL.row([b"\x00\xff'\\", b"\x00\xff'\\", None], using=using) == ("true", None)

    def test_hears_names_whatever_is_in_them(self, using: str) -> None:
        names = ["a,b", 'say "x"', "back\\slash", "{}", "", "NULL", "ü"]

        assert NAMES.row([text_array(names)], using=using) == (" | ".join(names),)


@pytest.mark.parametrize("using", ["web", "default"])
@pytest.mark.usefixtures("pooled")
def test_a_text_that_postgres_cannot_keep_is_refused_and_not_cut(using: str) -> None:
    with pytest.raises((DataError, ValueError)):
        STARTS_WITH.row(["half\0of it", "half"], using=using)


def test_what_cannot_be_carried_out_raises_djangos_error(pooled: ConnectionPool[PolledConnection]) -> None:
    with pooled.connection() as held:
        pid = str(held.info.backend_pid)

    with pytest.raises(OperationalError):
        ENDS.row([pid], using="web")


def test_who_holds_a_connection_takes_no_other(pooled: ConnectionPool[PolledConnection]) -> None:
    with pooled.connection() as held:
        straight.connections["web"].connection = held  # type: ignore[attr-defined]

        assert STARTS_WITH.row(["only", "on"], using="web") == ("true",)
