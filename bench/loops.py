"""Clients in a loop. Closed: each asks one thing after the other. Open: calls are due at fixed moments whether the ones
before have come back or not, and a late answer counts from the moment at which its call was due.
"""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from urllib.parse import urlsplit

from bench.rounds import quantile

TIMEOUT_SECONDS = 30

Ask = Callable[[int], object]


class Client:
    """One kept-alive connection. Written out: a client library takes more of the two cores than the server does."""

    def __init__(self, url: str, requests: Sequence[bytes], expected: bytes) -> None:
        """Every answer must hold what is `expected`."""
        address = urlsplit(url)
        self._socket = socket.create_connection((str(address.hostname), int(address.port or 80)), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests, self._expected = requests, expected

    def ask(self, number: int) -> None:
        self._socket.sendall(self._requests[number % len(self._requests)])
        answer = b""
        while True:
            if not (part := self._socket.recv(65_536)):
                raise RuntimeError(f"The server hung up after {answer[:500]!r}.")
            answer += part
            head, blank, body = answer.partition(b"\r\n\r\n")
            if blank and len(body) >= _length(head):
                break
        if self._expected not in answer:
            raise RuntimeError(f"An answer was {answer[:500]!r}.")


def request(url: str, key: str, method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def per_second(count: int, askers: Sequence[Ask]) -> float:
    """Closed loop: each asker takes its share, one after the other."""

    def work(place: int) -> None:
        for number in range(place, count, len(askers)):
            askers[place](number)

    started = time.perf_counter()
    with ThreadPoolExecutor(len(askers)) as pool:
        list(pool.map(work, range(len(askers))))
    return count / (time.perf_counter() - started)


def milliseconds(count: int, ask: Ask) -> list[float]:
    """How long each of so many calls took, one after the other."""
    taken = []
    for number in range(count):
        started = time.perf_counter()
        ask(number)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def p99_at(rate: float, count: int, askers: Sequence[Ask]) -> float:
    """Open loop at `rate` calls a second: the 99th percentile of `milliseconds_at`."""
    return quantile(milliseconds_at(rate, count, askers), 0.99)


def milliseconds_at(
    rate: float,
    count: int,
    askers: Sequence[Ask],
    *,
    begin: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
    chance: Random | None = None,
) -> list[float]:
    """Open loop at `rate` calls a second: how long each took from the moment at which it was due to its answer.

    In the order of the askers. Each has a thread of its own, which calls `begin` before anybody looks at the clock, and
    `end` at its end. By `chance` each call is due at any moment of its turn: what comes at even distances meets what
    else does always in the same phase, and finds it busy each time or never.
    """
    ready = Barrier(len(askers))
    turn = len(askers) / rate
    moments = [number / rate + (chance.random() * turn if chance else 0.0) for number in range(count)]

    def work(place: int) -> list[float]:
        taken = []
        try:
            begin()
            ready.wait(TIMEOUT_SECONDS)
            started = time.perf_counter() + 0.1
            for number in range(place, count, len(askers)):
                due = started + moments[number]
                time.sleep(max(0.0, due - time.perf_counter()))
                askers[place](number)
                taken.append((time.perf_counter() - due) * 1000)
        finally:
            end()
        return taken

    with ThreadPoolExecutor(len(askers)) as pool:
        return [taken for part in pool.map(work, range(len(askers))) for taken in part]


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
