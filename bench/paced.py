"""Clients in a process of their own, which call at set moments: they take no time from whoever measures meanwhile."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from multiprocessing import get_context
from typing import ClassVar, Self

from bench.loops import Client

# Seconds after the start at which it is due, and the request.
Call = tuple[float, bytes]
SUCCESS = b"HTTP/1.1 2"


class PacedClients:
    """An open loop; use as a context manager: `prepare` the calls, then `start`."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def prepare(self, url: str, calls: Sequence[Call]) -> None:
        """Hand them over and connect, before anybody looks at the clock."""
        self._pool.submit(_Prepared.take, url, calls, self._threads).result()

    def start(self, started: float, *, until: float = math.inf) -> "Future[list[float]]":
        """The result has for each call the seconds from `started` (of the monotonic clock) to its answer.

        What could not be sent before `until`, in seconds after the start, is not sent, and has infinity.
        """
        return self._pool.submit(_Prepared.call, started, until)


class _Prepared:
    """Of the clients' process."""

    calls: ClassVar[Sequence[Call]] = ()
    clients: ClassVar[Sequence[Client]] = ()

    @classmethod
    def take(cls, url: str, calls: Sequence[Call], threads: int) -> None:
        requests = [request for _, request in calls]
        cls.calls, cls.clients = calls, [Client(url, requests, SUCCESS) for _ in range(threads)]

    @classmethod
    def call(cls, started: float, until: float) -> list[float]:
        answered, numbers = [math.inf] * len(cls.calls), count()

        # Whoever is free takes the next one: a late answer holds up nobody else.
        def work(client: Client) -> None:
            while (number := next(numbers)) < len(answered):
                due, _ = cls.calls[number]
                if (wait := started + due - time.monotonic()) > 0:
                    time.sleep(wait)
                elif time.monotonic() >= started + until:
                    return
                client.ask(number)
                answered[number] = time.monotonic() - started

        with ThreadPoolExecutor(len(cls.clients)) as pool:
            list(pool.map(work, cls.clients))
        return answered
