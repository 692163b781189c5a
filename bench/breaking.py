"""How long a runaway persona goes on: the commit of the event that crosses, to a throttle that decisions obey.

While a hundred events a second of 50 other personas are booked, and looked at, by the same processes.
"""

import math
import random
import time
from contextlib import ExitStack
from typing import Self

from django.utils.timezone import now

from bench.alerting import PAUSE_SECONDS, background
from bench.engine import wait_until_booked
from bench.rounds import quantile
from bench.supply import Supply
from bench.workload import SEED
from controls.models import Control
from costs import ingest
from costs.events import encode
from costs.models import DEFAULT_SOURCE, CostEvent
from tests import processes
from tests.end_to_end.watch import booker, watcher
from tests.servers import wait_until

PATIENCE_SECONDS = 60
SPECIFIED_SECONDS = 2.0
# The breaker wants to see twenty events; five times the target of a post is critical.
POSTS = 20
RUNAWAY = "0.10"
# The sweep's own interval: the tests' shorter one would flatter the figure.
ENVIRONMENT = {"FINOPS_ANOMALY_CHECK_INTERVAL_SECONDS": "30"}


class Breaking:
    """A worker that books, one that watches, and a beat, as `make up` starts them."""

    def __init__(self, supply: Supply) -> None:
        self._supply, self._chance = supply, random.Random(SEED)
        self._stack = ExitStack()
        self._seconds: list[float] = []
        self._runs = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for process in (booker(ENVIRONMENT, 2), watcher(ENVIRONMENT, 2), processes.beat(**ENVIRONMENT)):
                stack.enter_context(process)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def p95(self, count: int) -> float:
        self._seconds = self._measure(count)
        return quantile(self._seconds, 0.95)

    def p50(self, count: int) -> float:
        """Of the same runaways, where they were measured just before."""
        return quantile(self._seconds or self._measure(count), 0.5)

    def _measure(self, count: int) -> list[float]:
        """Seconds of so many runaways, one after the other, each another persona."""
        self._runs += 1
        before = CostEvent.objects.count()
        with background(self._supply, math.ceil(count * (PAUSE_SECONDS[1] + 2)) + 1) as load:
            seconds = [self._enforced(f"spender_{self._runs}_{number}") for number in range(count)]
        wait_until_booked()
        load.prove(CostEvent.objects.count() - before - count * POSTS)
        return seconds

    def _enforced(self, persona: str) -> float:
        """Until the row says so, as every decision reads it: not until the breaker meant it to."""
        time.sleep(self._chance.uniform(*PAUSE_SECONDS))
        ingest.accept([_post(persona, number) for number in range(POSTS)], source=DEFAULT_SOURCE, at=now())
        committed = time.monotonic()
        held = Control.objects.active().filter(persona_id=persona)
        wait_until(held.exists, PATIENCE_SECONDS, lambda: f"{persona} was never throttled.")
        return time.monotonic() - committed


def _post(persona: str, number: int) -> bytes:
    name = f"{persona}-{number}"
    named = {"event_id": name, "post_id": f"post-{name}", "persona_id": persona}
    return encode({**named, "cost_type": "openai_api", "operation": "draft", "amount": RUNAWAY})
