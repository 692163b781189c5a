"""How much longer reads take while 5,000 events a second come in and are booked, on the same machine.

Three readers ask at an easy pace, in quiet and beside the load, for the same things of the same ledger.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Self

from django.utils.timezone import now

from bench.callers import Service
from bench.deciding import asking, give_budgets
from bench.engine import joined, wait_until_booked
from bench.filling import fill
from bench.fleet import Fleet
from bench.loops import Client, milliseconds_at, request
from bench.paced import Call, PacedClients
from bench.reading import some_posts
from bench.rounds import Shared, quantile
from bench.stand import first_runs
from bench.supply import Supply, batches
from bench.workload import PERSONAS
from costs.models import ApiKey, CostEvent, Scope

EVENTS_PER_SECOND, BATCH, SENDERS = 5_000, 500, 4
# Of each kind: so few that the reads themselves are no load.
READS_PER_SECOND = 5
KINDS = ("summary", "breakdown", "decision")
SHARES = {"p50": 0.5, "p95": 0.95}
# Detection still looks at what was booked last.
SETTLE_SECONDS, LEAD_SECONDS = 3.0, 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """Milliseconds of each kind of read; events a second that were accepted and booked meanwhile."""

    milliseconds: dict[str, list[float]]
    accepted: float = 0.0
    booked: float = 0.0


class Loaded:
    """Everything that `make up` starts, over a ledger of `lines` lines; 50 personas with a hard budget each."""

    def __init__(self, supply: Supply, lines: int) -> None:
        self._supply, self._lines = supply, lines
        self._stack = ExitStack()
        self._quiet, self._busy = Shared(self._in_quiet), Shared(self._beside_the_load)

    def __enter__(self) -> Self:
        fill(self._supply, self._lines)
        give_budgets(PERSONAS)
        _, self._key = ApiKey.issue(name="loaded", source="loaded", scopes=Scope.values)
        service = Service()
        with ExitStack() as stack:
            with first_runs():
                stack.enter_context(Fleet(service))
            self._url = service.pick()
            self._senders = stack.enter_context(PacedClients(SENDERS))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def quiet(self, count: int, *, kind: str, share: float) -> float:
        """Milliseconds that this share of the reads stays within; all kinds are read in one measurement."""
        return quantile(self._quiet.take(f"{kind} {share}", count).milliseconds[kind], share)

    def loaded(self, count: int, *, kind: str, share: float) -> float:
        """The same beside the load."""
        return quantile(self._busy.take(f"{kind} {share}", count).milliseconds[kind], share)

    def accepted(self, count: int) -> float:
        """Events a second, of the same measurement."""
        return self._busy.take("accepted", count).accepted

    def booked(self, count: int) -> float:
        """Events a second that left the inbox while the others came in, of the same measurement."""
        return self._busy.take("booked", count).booked

    def _in_quiet(self, count: int) -> Seen:
        time.sleep(SETTLE_SECONDS)
        return Seen(self._read(count))

    def _beside_the_load(self, count: int) -> Seen:
        """The load lasts as long as the reads do, and what it brought must be lines at the end."""
        calls = self._calls(count * EVENTS_PER_SECOND // READS_PER_SECOND)
        self._senders.prepare(self._url, calls)
        before, started = CostEvent.objects.count(), time.monotonic() + LEAD_SECONDS
        sending = self._senders.start(started)
        time.sleep(LEAD_SECONDS)
        milliseconds = self._read(count)
        answered = max(sending.result())
        booked, seconds = CostEvent.objects.count() - before, time.monotonic() - started
        wait_until_booked()
        sent = BATCH * len(calls)
        if (lines := CostEvent.objects.count() - before) != sent:
            raise RuntimeError(f"{sent} events were sent beside the reads, but {lines} lines were booked.")
        return Seen(milliseconds, sent / answered, booked / seconds)

    def _calls(self, events: int) -> list[Call]:
        portions = batches(self._supply.bodies(max(events // BATCH, 1) * BATCH), BATCH)
        posting = partial(request, self._url, self._key, "POST", "/costs/events")
        return [(place * BATCH / EVENTS_PER_SECOND, posting(joined(bodies))) for place, bodies in enumerate(portions)]

    def _read(self, count: int) -> dict[str, list[float]]:
        """`count` of each kind, one at any moment of each fifth of a second; from when it was due: none waits."""
        posts = some_posts()
        clients = [Client(self._url, self._requests(kind, posts), b"200 OK") for kind in KINDS]
        rate, asks = READS_PER_SECOND * len(KINDS), [client.ask for client in clients]
        taken = batches(milliseconds_at(rate, count * len(KINDS), asks, chance=Random(self._lines)), count)
        return {kind: list(part) for kind, part in zip(KINDS, taken, strict=True)}

    def _requests(self, kind: str, posts: Sequence[str]) -> list[bytes]:
        asked = partial(request, self._url, self._key)
        if kind == "summary":
            return [asked("GET", f"/costs/post/{post}/summary") for post in posts]
        if kind == "decision":
            return [asked("POST", "/controls/decision", asking(persona)) for persona in PERSONAS]
        end = now().date()
        period = f"start_date={end - timedelta(days=29)}&end_date={end}"
        return [asked("GET", f"/costs/breakdown?{period}&group_by=persona_id")]
