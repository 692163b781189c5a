"""How long a producer waits for one `track_cost.delay()`, which is durable then, beside workers that book."""

from contextlib import ExitStack
from typing import Self

from django.db import connections

from bench.engine import all_booked
from bench.loops import Ask, milliseconds, milliseconds_at
from bench.rounds import quantile
from bench.supply import Supply
from costs import ingest
from costs.tasks import track_cost
from tests import processes

SPECIFIED_MS = 10.0
PER_SECOND, PRODUCERS = 200, 4


class Delaying:
    """Workers and beat; the producers are threads of this process, each with its connection."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(processes.worker(2))
            stack.enter_context(processes.beat())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def p99(self, count: int) -> float:
        """Milliseconds at 200 a second, from when each was due."""
        asks = [self._ask(count)] * PRODUCERS
        with all_booked(count):
            taken = milliseconds_at(PER_SECOND, count, asks, begin=_connect, end=connections.close_all)
            return quantile(taken, 0.99)

    def closed_p99(self, count: int) -> float:
        """Milliseconds of one after the other, as fast as they come back."""
        with all_booked(count):
            return quantile(milliseconds(count, self._ask(count)), 0.99)

    def _ask(self, count: int) -> Ask:
        fields = self._supply.fields(count)
        return lambda number: track_cost.delay(**fields[number])


def _connect() -> None:
    """Of this thread: a producer has had its connection for long."""
    connections[ingest.INBOX].ensure_connection()
