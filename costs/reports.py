"""Where reports read: a streaming replica, where there is one.

Sums over a long time may be a second old, and keep the primary from its work. Nothing else may: decisions, bookings,
detection, and the cost of a post that somebody has just paid for. So it is not the model that decides what is read
where, but who asks: a view says `with from_replica():` around a report, and all that is read inside comes from there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

REPLICA = "replica"

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


class ReportRouter:
    """The same for the ORM."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return None if _alias.get() == DEFAULT_DB_ALIAS else _alias.get()

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == REPLICA else None
