"""Those who send: threads of this process, and processes of their own with kept-alive HTTP connections."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import repeat
from multiprocessing import get_context
from typing import Any, Self
from urllib.parse import urlsplit

from django.db import connections

CLIENT_PROCESSES = 2
CLIENT_THREADS = 2
TIMEOUT_SECONDS = 60


def in_threads(call: Callable[[Any], object], items: Sequence[Any], threads: int) -> float:
    """Call it for every item, the items dealt out to so many threads; returns the seconds."""

    def work(share: Sequence[Any]) -> None:
        try:
            for item in share:
                call(item)
        finally:
            connections.close_all()

    shares = [items[place::threads] for place in range(threads)]
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
    return time.perf_counter() - started


class HttpClients:
    """Client processes that post prepared bodies side by side; use as a context manager."""

    def __init__(self, processes: int = CLIENT_PROCESSES, threads: int = CLIENT_THREADS) -> None:
        self._processes, self._threads = processes, threads
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        # The processes exist before anybody looks at the clock.
        list(self._pool.map(time.sleep, [0.1] * self._processes))
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def post(self, url: str, key: str, bodies: Sequence[bytes]) -> None:
        """Post all of them to /costs/events; raises unless every answer says that every event was accepted."""
        shares = [bodies[place :: self._processes] for place in range(self._processes)]
        list(self._pool.map(_post_share, repeat(url), repeat(key), shares, repeat(self._threads)))


def _post_share(url: str, key: str, bodies: Sequence[bytes], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_post_all, repeat(url), repeat(key), [bodies[place::threads] for place in range(threads)]))


def _post_all(url: str, key: str, bodies: Sequence[bytes]) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
    for body in bodies:
        connection.request("POST", "/costs/events", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 202 or answer.count(b'"accepted"') != body.count(b'"cost_type"'):
            raise RuntimeError(f"POST /costs/events answered {response.status}: {answer[:500]!r}")
    connection.close()
