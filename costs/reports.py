"""Where reports read: a streaming replica, where there is one.

Sums over a long time may be a second old, and keep the primary from its work. Nothing else may: decisions, bookings,
detection, and the cost of a post that somebody has just paid for. So it is not the model that decides what is read
where, but who asks: a view says `with from_replica():` around a report, and all that is read inside comes from there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg_pool import ConnectionPool

from costs.deadline import LONGEST_SECONDS, HastyConnection

REPLICA = "replica"
# Beat's sweeps leave something new every second.
NEWEST = (
    "SELECT max(moment) FROM"
    " (SELECT ended_at FROM costs_scheduledrun UNION SELECT applied FROM django_migrations) AS left_behind (moment)"
)

_alias: ContextVar[str] = ContextVar("reports", default=DEFAULT_DB_ALIAS)


@contextmanager
def from_replica() -> Iterator[None]:
    """What is read inside may be a little old, and nothing can be written; without a replica it is the primary's."""
    kept = _alias.set(REPLICA if REPLICA in settings.DATABASES else DEFAULT_DB_ALIAS)
    try:
        yield
    finally:
        _alias.reset(kept)


def reading() -> BaseDatabaseWrapper:
    """The connection for SQL of a report; the primary's outside `from_replica`."""
    return connections[_alias.get()]


def lag() -> timedelta:
    """How far the replica is behind, by the newest of what beat's runs and migrations have left on each server.

    So no right is needed but to read tables. Raises psycopg.Error after a second at most when it does not answer.
    """
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(NEWEST)
        (newest,) = cursor.fetchone()
    with _hasty(settings.DATABASE_REPLICA_URL).connection() as replica:
        ((known,),) = replica.execute(NEWEST).fetchall()
    behind: timedelta = newest - known
    return max(behind, timedelta(0))


@cache
def _hasty(url: str) -> ConnectionPool[HastyConnection]:
    """Opened when somebody first asks; it waits for nobody."""
    return ConnectionPool(
        url,
        connection_class=HastyConnection,
        kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 2},
        check=ConnectionPool.check_connection,
        open=True,
        min_size=0,
        max_size=2,
        num_workers=1,
        timeout=LONGEST_SECONDS,
        reconnect_timeout=1,
    )


class ReportRouter:
    """The same for the ORM."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return None if _alias.get() == DEFAULT_DB_ALIAS else _alias.get()

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == REPLICA else None
