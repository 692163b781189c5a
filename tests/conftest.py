"""Start the throw-away servers and set Django up, before any other conftest or test imports a model.

The servers start while this file is imported, because pytest-django reads the settings earlier than any fixture runs.
TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead; tests that stop servers cannot use those.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module

import django
import pytest
import redis
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase

from tests.servers import Server, postgres_server, redis_server
from tests.stalls import Stalls

SHIPPED = (
    "costs.migrations.0005_default_rates",
    "alerts.migrations.0002_default_routes",
    "controls.migrations.0005_default_policies",
)
_servers = ExitStack()


def _server(variable: str, start: Callable[[], AbstractContextManager[Server]]) -> tuple[str, Server | None]:
    given = os.environ.get(variable)
    if given:
        return given, None
    server = _servers.enter_context(start())
    return server.url, server


if settings.configured:
    raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests set Django up on servers of their own.")

try:
    os.environ["DATABASE_URL"], _postgres = _server("TEST_DATABASE_URL", postgres_server)
    os.environ["REDIS_URL"], _redis = _server("TEST_REDIS_URL", redis_server)
    # It would take the place of the other one.
    os.environ.pop("FINOPS_BROKER_URL", None)
    os.environ["FINOPS_ENV"] = "test"
    os.environ["DJANGO_SETTINGS_MODULE"] = "finops_project.settings"
    django.setup()
    # The halves of `-n 2` are started from here, and each sets Django up on servers of its own.
    del os.environ["DJANGO_SETTINGS_MODULE"]
except BaseException:
    _servers.close()
    raise


def pytest_unconfigure() -> None:
    _servers.close()


@pytest.fixture(autouse=True, scope="session")
def _ledger_can_be_emptied_between_tests() -> Iterator[None]:
    """The ledger refuses TRUNCATE, and that is what Django empties tables with after a test with committed data.

    The rates, channels, routes, policies and switches that ship with the engine come back afterwards.
    """
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]  # not in the stubs
    shipped = [import_module(name) for name in SHIPPED]

    def flush_without_triggers(case: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
        try:
            flush(case)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET session_replication_role")
            for migration in shipped:
                migration.add(apps, connection.schema_editor())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush_without_triggers)
        yield


@pytest.fixture(autouse=True)
def _no_message_is_older_than_the_test(request: pytest.FixtureRequest) -> None:
    """Tests without a worker ring too, and the first worker of a later test would answer all of that first."""
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        with redis.from_url(settings.CELERY_BROKER_URL) as broker:
            broker.flushall()


@pytest.fixture
def running_postgres() -> Server:
    """The session's PostgreSQL, to stop, kill and start in a test that leaves it started."""
    return _own(_postgres, "TEST_DATABASE_URL")


@pytest.fixture
def running_redis() -> Server:
    """The session's Redis, to stop, kill and start in a test that leaves it started."""
    return _own(_redis, "TEST_REDIS_URL")


def _own(server: Server | None, variable: str) -> Server:
    if server:
        return server
    if os.environ.get("FINOPS_REQUIRE_ALL"):
        pytest.fail(f"{variable} names a server that this test may not stop, and nothing may be skipped.")
    pytest.skip(f"{variable} names a server that this test may not stop.")


@pytest.fixture
def stalls() -> Iterator[Stalls]:
    """How long this process stood still during the test; added to what a promise allows."""
    with Stalls() as found:
        yield found
