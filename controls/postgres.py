"""The connections that decisions use: few, taken in turns, and quick to give up when Postgres does not answer.

Who gets no turn hears that it is busy, which says nothing of Postgres; only when a connection fails is Postgres away,
for everybody in this process, and nobody waits for it before a second has passed.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

log = logging.getLogger(__name__)

DECISIONS = "decisions"
# For a turn; then comes one statement, and both together stay below a second.
TURN_SECONDS = 0.25
REST_SECONDS = 1.0
WATCH_SECONDS = 0.25
# SQLSTATE of a lock that is not free, and of rolled back for another transaction: this call's bad luck.
PASSING = ("55P03", "40001", "40P01")


class Busy(Exception):
    """This call found no turn, or waited too long for a row: ask again."""


class _State:
    turns: threading.BoundedSemaphore | None = None
    lock = threading.Lock()
    away_until = 0.0
    away_since: float | None = None


def is_resting() -> bool:
    """Whether Postgres failed to answer within the last second: then nobody waits for it."""
    return time.monotonic() < _State.away_until


def away_since() -> float | None:
    """When it was last found to answer no more, on the monotonic clock; None while it answers."""
    return _State.away_since


def rest(error: Exception) -> None:
    moment = time.monotonic()
    if _State.away_since is None:
        log.warning(
            "Postgres does not answer: decisions go by what was last known (%s)",
            type(error.__cause__ or error).__name__,
        )
    _State.away_until = moment + REST_SECONDS
    _State.away_since = _State.away_since or moment


def answered() -> None:
    if _State.away_since is not None:
        log.warning("Postgres answers again")
        _State.away_since = None


def forget() -> None:
    """For tests."""
    _State.away_until, _State.away_since = 0.0, None


@contextmanager
def turn() -> Iterator[None]:
    """One of the process's connections is this thread's to take. Raises Busy, and OperationalError while it rests."""
    if is_resting():
        raise OperationalError("Postgres did not answer a moment ago")
    turns = _turns()
    if not turns.acquire(timeout=TURN_SECONDS):
        raise Busy("all connections for decisions are taken")
    try:
        yield
        answered()
    except (OperationalError, InterfaceError) as error:
        if getattr(error.__cause__, "sqlstate", None) in PASSING:
            raise Busy("somebody else holds the row") from error
        rest(error)
        raise
    finally:
        turns.release()


@contextmanager
def connected() -> Iterator[None]:
    """A turn for what uses Django's own connection, which is given back at its end. Raises as `turn` does."""
    connection: Any = connections[DECISIONS]
    if connection.in_atomic_block:
        yield
        return
    with turn():
        try:
            yield
        finally:
            if connection.alias == DECISIONS:
                connection.close()


def watch(look: Callable[[], None]) -> None:
    """Take this look all the time, so that nobody's call is the first to find Postgres away, or has to wait for it."""
    threading.Thread(target=_watch, args=[look], name="finops-watch", daemon=True).start()


def _watch(look: Callable[[], None]) -> None:
    while True:
        time.sleep(WATCH_SECONDS)
        # Whoever fails here has noted it; who finds no turn knows that others have one.
        with suppress(OperationalError, InterfaceError, Busy):
            look()


def _turns() -> threading.BoundedSemaphore:
    with _State.lock:
        if _State.turns is None:
            _State.turns = threading.BoundedSemaphore(settings.FINOPS_DECISION_POOL)
        return _State.turns
