"""The engine's own figures: events per second from sent to durable, or to booked.

Every run ends with the proof that all of its events are lines of the ledger: a reading that lost one is none.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Self

from django.utils.timezone import now

from bench.clients import HttpClients, in_threads
from bench.meters import largest_mb
from bench.plain.celery import KEPT_QUEUE
from bench.stand import plain_worker
from bench.supply import Supply, batches
from bench.yardsticks import make_plain_table
from costs import drain, ingest
from costs.models import DEFAULT_SOURCE, ApiKey, CostEvent, InboxRow, Scope
from costs.tasks import track_cost
from tests import processes
from tests.servers import wait_until

PATIENCE_SECONDS = 120


class Engine:
    """Everything but HTTP, within this process or through the workers of the stage."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    def delay_single(self, count: int, *, threads: int) -> float:
        """Until `track_cost.delay()` has returned for the last event, which is durable then."""
        fields = self._supply.fields(count)
        with all_booked(count):
            return count / in_threads(lambda item: track_cost.delay(**item), fields, threads)

    def delay_priced(self, count: int) -> float:
        """The same from one thread, until the workers have booked the last event."""
        fields = self._supply.fields(count)
        with all_booked(count):
            started = time.perf_counter()
            for item in fields:
                track_cost.delay(**item)
            wait_until_booked()
            return count / (time.perf_counter() - started)

    def ingest_batch(self, count: int) -> float:
        """Accept in batches of 1,000 in this process while the workers drain, until the last event is booked."""
        requests = batches(self._supply.bodies(count), 1000)
        with all_booked(count):
            started = time.perf_counter()
            for bodies in requests:
                ingest.accept(bodies, source=DEFAULT_SOURCE, at=now())
            wait_until_booked()
            return count / (time.perf_counter() - started)

    def drain(self, count: int, *, batch: int) -> float:
        """Book an inbox that was filled beforehand with rows of `batch` events, in this process alone."""
        with all_booked(count):
            for bodies in batches(self._supply.bodies(count), batch):
                ingest.accept(bodies, source=DEFAULT_SOURCE, at=now())
            started = time.perf_counter()
            drain.drain(at=now(), seconds=PATIENCE_SECONDS)
            return count / (time.perf_counter() - started)


class Stage:
    """Workers, beat and the yardstick's worker as processes; the web server and its clients once they are needed."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            make_plain_table()
            stack.enter_context(plain_worker())
            kept = ("--queues", KEPT_QUEUE, "--hostname", "kept@%h")
            stack.enter_context(plain_worker(*kept, PLAIN_DB_REUSE_MAX="10000"))
            self._worker = stack.enter_context(processes.worker(2))
            stack.enter_context(processes.beat())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def _url(self) -> str:
        return self._stack.enter_context(processes.web(2)).url

    @cached_property
    def _clients(self) -> HttpClients:
        return self._stack.enter_context(HttpClients())

    @cached_property
    def _key(self) -> str:
        return ApiKey.issue(name="bench", source="bench", scopes=[Scope.EVENTS_WRITE])[1]

    def http(self, count: int, *, batch: int) -> float:
        """Post events in requests of `batch`, until the workers have booked the last one."""
        bodies = [joined(events) for events in batches(self._supply.bodies(count), batch)]
        clients, url, key = self._clients, self._url, self._key
        with all_booked(count):
            started = time.perf_counter()
            clients.post(url, key, bodies)
            wait_until_booked()
            return count / (time.perf_counter() - started)

    def worker_rss(self, count: int) -> float:
        """MB of the largest process of the workers, once they have booked so many more events in batches of 1,000."""
        Engine(self._supply).ingest_batch(count)
        return largest_mb(self._worker.pid)


def wait_until_booked() -> None:
    """A row leaves the inbox in the transaction that writes its lines."""
    wait_until(
        lambda: not InboxRow.objects.exists(),
        PATIENCE_SECONDS,
        lambda: f"{InboxRow.objects.count()} inbox rows are not booked after {PATIENCE_SECONDS} s.",
    )


@contextmanager
def all_booked(count: int) -> Iterator[None]:
    """Wait at the end until so many new events are lines; raise unless it is these and no more."""
    before = CostEvent.objects.count()
    yield
    drain.drain(at=now(), seconds=PATIENCE_SECONDS)
    wait_until_booked()
    booked = CostEvent.objects.count() - before
    if booked != count:
        raise RuntimeError(f"{count} events were sent, but {booked} lines were booked.")


def joined(events: Sequence[bytes]) -> bytes:
    """The body of one request that brings them all."""
    return events[0] if len(events) == 1 else b'{"events":[%b]}' % b",".join(events)
