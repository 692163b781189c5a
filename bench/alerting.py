"""How long it takes from a cost to a person: the commit of the event that crosses a threshold, to the message in Slack.

While a hundred events a second of 50 other personas are booked, and looked at, by the same processes.
"""

import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from django.db import connections
from django.utils.timezone import now

from bench.engine import wait_until_booked
from bench.rounds import quantile
from bench.supply import Supply, batches
from bench.workload import SEED
from costs import ingest
from costs.events import encode
from costs.models import DEFAULT_SOURCE, CostEvent
from tests import processes
from tests.alerts.vendors import MailServer, PagerDutyServer, Reply, Request, SlackServer
from tests.end_to_end.watch import OnCall, booker, watcher
from tests.servers import wait_until

EVENTS_PER_SECOND, BATCHES_PER_SECOND = 100, 10
# A machine that sends less than this share measures something else.
LEAST_SHARE = 0.9
# At any phase of the sweeps and nudges.
PAUSE_SECONDS = (0.4, 1.0)
PATIENCE_SECONDS = 60
SPECIFIED_SECONDS = 30.0
# Twelve times the target of a post: critical at once.
RUNAWAY = "0.25"


class TimedSlack(SlackServer):
    """Knows when each persona was told of first. It takes more than one message a second, unlike the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.told_at: dict[str, float] = {}

    def reply(self, request: Request) -> Reply:
        arrived, lines = time.time(), str(request.json["text"]).splitlines()
        if "Type: cost_spike" in lines:
            persona = next(line for line in lines if line.startswith("Persona: ")).removeprefix("Persona: ")
            self.told_at.setdefault(persona, arrived)
        return super().reply(request)


class Alerting:
    """All three channels, a worker that books, one that watches, and a beat, as `make up` starts them."""

    def __init__(self, supply: Supply) -> None:
        self._supply, self._chance = supply, random.Random(SEED)
        self._slack = TimedSlack()
        self._stack = ExitStack()
        self._seconds: list[float] = []
        self._runs = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            pager, mail = PagerDutyServer(), MailServer()
            for vendor in (self._slack, pager, mail):
                stack.enter_context(vendor.running())
            # The sweeps' own intervals: the tests' shorter ones would flatter the figure.
            extra = OnCall(self._slack, pager, mail).environment | {"FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS": "30"}
            for process in (booker(extra, 2), watcher(extra, 2), processes.beat(**extra)):
                stack.enter_context(process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def p95(self, count: int) -> float:
        self._seconds = self._measure(count)
        return quantile(self._seconds, 0.95)

    def p50(self, count: int) -> float:
        """Of the same incidents, where they were measured just before."""
        return quantile(self._seconds or self._measure(count), 0.5)

    def _measure(self, count: int) -> list[float]:
        """Seconds of so many incidents, each of another persona."""
        self._runs += 1
        personas = [f"runaway_{self._runs}_{number}" for number in range(count)]
        before = CostEvent.objects.count()
        with background(self._supply, math.ceil(count * PAUSE_SECONDS[1]) + 1) as load:
            committed_at = {persona: self._go_mad(persona) for persona in personas}
            wait_until(
                lambda: self._slack.told_at.keys() >= committed_at.keys(),
                PATIENCE_SECONDS,
                lambda: f"Nobody was told of {', '.join(committed_at.keys() - self._slack.told_at.keys())}.",
            )
        wait_until_booked()
        load.prove(CostEvent.objects.count() - before - count)
        return [self._slack.told_at[persona] - committed for persona, committed in committed_at.items()]

    def _go_mad(self, persona: str) -> float:
        """When the one dear event was committed."""
        time.sleep(self._chance.uniform(*PAUSE_SECONDS))
        event = {"event_id": f"{persona}-dear", "post_id": f"post-{persona}", "persona_id": persona}
        body = encode({**event, "cost_type": "openai_api", "operation": "draft", "amount": RUNAWAY})
        ingest.accept([body], source=DEFAULT_SOURCE, at=now())
        return time.time()


@contextmanager
def background(supply: Supply, seconds: int) -> Iterator["Load"]:
    """The steady load of at most so many seconds beside what is measured."""
    load = Load(batches(supply.bodies(seconds * EVENTS_PER_SECOND), EVENTS_PER_SECOND // BATCHES_PER_SECOND))
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        yield load
    finally:
        load.enough.set()
        thread.join()


class Load:
    """A steady load in batches, until it is enough."""

    def __init__(self, portions: Sequence[Sequence[bytes]]) -> None:
        self.enough = threading.Event()
        self._portions = portions
        self._sent = 0
        self._seconds = 0.0

    def run(self) -> None:
        started = time.monotonic()
        try:
            for number, bodies in enumerate(self._portions):
                if self.enough.wait(max(0.0, started + number / BATCHES_PER_SECOND - time.monotonic())):
                    break
                ingest.accept(bodies, source=DEFAULT_SOURCE, at=now())
                self._sent += len(bodies)
        finally:
            self._seconds = time.monotonic() - started
            connections.close_all()

    def prove(self, booked: int) -> None:
        """Raise unless all of it was booked, and was as much as it should be."""
        if booked != self._sent:
            raise RuntimeError(f"{self._sent} events were sent beside the incidents, but {booked} lines were booked.")
        if self._sent < LEAST_SHARE * EVENTS_PER_SECOND * self._seconds:
            raise RuntimeError(f"Only {self._sent / self._seconds:.0f} events a second were sent beside the incidents.")
