"""Threads with one database connection each, so that async callers never block their event loop.

One pool for each process, however many engines are made: the number of threads is also the number of connections.
Connections stay open between calls. A forked child starts with a pool of its own.
"""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


class ConnectedThreads:
    """Runs blocking work; per event loop at most `most_at_once` calls are in flight, the others wait their turn."""

    def __init__(self, size: int, most_at_once: int) -> None:
        self.process = os.getpid()
        self._most_at_once = most_at_once
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._open: list[BaseDatabaseWrapper] = []
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="finops", initializer=self._connect)

    async def run(self, work: Callable[[], T]) -> T:
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        slots = self._slots.setdefault(loop, asyncio.Semaphore(self._most_at_once))
        async with slots:
            return await loop.run_in_executor(self._executor, partial(context.run, _with_live_connection, work))

    def close(self) -> None:
        """Finish what runs, then end threads and connections."""
        self._executor.shutdown()
        for connection in self._open:
            connection.close()

    def _connect(self) -> None:
        connection = connections["default"]
        # No caller's transaction ever runs in these threads, so the inbox needs no connection of its own here.
        connections["inbox"] = connection
        # `close` runs in another thread.
        connection.inc_thread_sharing()
        self._open.append(connection)


class _Shared:
    pool: ConnectedThreads | None = None
    lock = threading.Lock()


def shared() -> ConnectedThreads:
    """The pool of this process, made at the first call."""
    with _Shared.lock:
        if _Shared.pool is None or _Shared.pool.process != os.getpid():
            _Shared.pool = ConnectedThreads(settings.FINOPS_WORKER_POOL_SIZE, settings.FINOPS_MAX_CONCURRENT_TASKS)
        return _Shared.pool


def close_shared() -> None:
    """End the pool of this process; the next call makes a new one."""
    with _Shared.lock:
        if _Shared.pool is not None:
            _Shared.pool.close()
        _Shared.pool = None


def _with_live_connection(work: Callable[[], T]) -> T:
    # What a request does at its begin: a connection that Postgres has dropped is noticed and replaced.
    connections["default"].close_if_unusable_or_obsolete()
    return work()
