"""Producers as threads: they call `track_cost.delay()` and write down what was accepted."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections

from costs.models import InboxRow
from costs.tasks import track_cost
from tests.end_to_end.account import Account, Sent
from tests.servers import wait_until

T = TypeVar("T")
AWAY = (OperationalError, InterfaceError)


def track(sent: Sent, account: Account) -> None:
    account.note(track_cost.delay(**sent.fields).id, sent.amount)


def in_threads(work: Callable[[T], Any], portions: Sequence[T]) -> list[Future[Any]]:
    """Run one thread for each portion, with connections of its own, and wait; a failure is raised."""

    def run(portion: T) -> Any:
        try:
            return work(portion)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(portions)) as threads:
        futures = [threads.submit(run, portion) for portion in portions]
    for future in futures:
        future.result()
    return futures


def shares(events: Sequence[T], count: int) -> list[Sequence[T]]:
    return [events[start::count] for start in range(count)]


class Load:
    """A steady load of one producer thread, which sends an event again until it is accepted."""

    def __init__(self, events: Iterator[Sent], account: Account, pause: float) -> None:
        self.refusals = 0
        self.slowest = 0.0
        self._events, self._account, self._pause = events, account, pause
        self._accepted_at: list[float] = []
        self._enough = threading.Event()

    def run(self) -> None:
        try:
            for sent in self._events:
                self._send(sent)
                if self._enough.wait(self._pause):
                    return
        finally:
            connections.close_all()

    def end(self) -> None:
        self._enough.set()

    def first_accepted_after(self, moment: float) -> float | None:
        """Seconds from this moment on the monotonic clock to the next acceptance."""
        return next((at - moment for at in self._accepted_at if at >= moment), None)

    def _send(self, sent: Sent) -> None:
        while True:
            started = time.monotonic()
            try:
                track(sent, self._account)
            except AWAY:
                self.refusals += 1
                continue
            finally:
                self.slowest = max(self.slowest, time.monotonic() - started)
            self._accepted_at.append(time.monotonic())
            return


@contextmanager
def steady_load(events: Iterator[Sent], account: Account, *, pause: float = 0.005) -> Iterator[Load]:
    """Events flow while the block runs; its end waits for the last one to be accepted."""
    load = Load(events, account, pause)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(load.run)
        try:
            yield load
        finally:
            load.end()
    running.result()


def wait_until_booked(seconds: float) -> None:
    """Wait until the inbox is empty."""
    wait_until(lambda: not InboxRow.objects.exists(), seconds, lambda: f"{waiting()} in the inbox")


def waiting() -> str:
    rows = InboxRow.objects.values_list("id", "event_count", "attempts", "errors", "leased_until", "last_error")
    return f"{rows.count():,} rows are still there, the first ones {list(rows.order_by('id')[:3])}"
