"""The load that the specification names, all of it at once, and what of the machine the service takes for it.

75 posts are tracked at any moment, 250 begin and end in a minute, each with 3 to 12 events of one call each, and 750
times a second somebody asks what a post costs. Clients are processes of their own and do not count.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple, Self

from bench.callers import Service
from bench.engine import wait_until_booked
from bench.filling import fill
from bench.fleet import Fleet
from bench.loops import request
from bench.meters import Meter, cores
from bench.paced import PacedClients
from bench.reading import some_posts
from bench.rounds import Shared, quantile
from bench.supply import Supply
from bench.workload import Fields
from costs.events import encode
from costs.models import ApiKey, CostEvent, Scope
from tests.servers import Server

POSTS_PER_MINUTE, AT_ONCE, QUERIES_PER_SECOND = 250, 75, 750
HALF_OF_THE_MACHINE = (os.cpu_count() or 1) / 2
SUB_SECOND_MS = 1_000.0
INTERVAL_SECONDS = 60 / POSTS_PER_MINUTE
# So long a post is tracked, for so many of them to be at once.
POST_SECONDS = AT_ONCE * INTERVAL_SECONDS
MOST_EVENTS = 12
TRACKERS, ASKERS = 4, 16
# In less no post would end.
LEAST_SECONDS = 3.0
LEAD_SECONDS = 0.5
SERVERS = ("postgres", "valkey")


class Step(NamedTuple):
    """One event of a post, due so many seconds after the start; `begins` and `ends` are the post's first and last."""

    due: float
    fields: Fields
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Held:
    """What was reached: a minute, at once, a second; milliseconds of queries; cores of each role."""

    posts: float
    at_once: float
    queries: float
    query_p95: float
    cores: Mapping[str, float]


class SpecifiedLoad:
    """Everything that `make up` starts, over a ledger of at least `lines` lines, whose posts are asked for."""

    def __init__(self, supply: Supply, lines: int, running: Mapping[str, Server]) -> None:
        self._supply, self._lines, self._running = supply, lines, running
        self._stack = ExitStack()
        self._whole, self._alone = Shared(self._hold), Shared(partial(self._hold, is_asked=False))

    def __enter__(self) -> Self:
        fill(self._supply, self._lines)
        _, self._key = ApiKey.issue(name="specified", source="specified", scopes=Scope.values)
        service = Service()
        with ExitStack() as stack:
            fleet = stack.enter_context(Fleet(service))
            self._url = service.pick()
            self._meter = Meter(lambda: fleet.pids | {name: server.pid for name, server in self._running.items()})
            self._trackers = stack.enter_context(PacedClients(TRACKERS))
            self._askers = stack.enter_context(PacedClients(ASKERS))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cores(self, count: int) -> float:
        """Of all processes of the service, Postgres and Redis included; `count` is that of the queries."""
        return sum(self._whole.take("cores", count).cores.values())

    def cores_of_web(self, count: int) -> float:
        return self._whole.take("web", count).cores["web"]

    def cores_of_servers(self, count: int) -> float:
        """Postgres and Redis."""
        taken = self._whole.take("servers", count).cores
        return sum(taken[role] for role in SERVERS)

    def cores_without_queries(self, count: int) -> float:
        """Of the posts alone, for as long."""
        return sum(self._alone.take("cores", count).cores.values())

    def posts(self, count: int) -> float:
        return self._whole.take("posts", count).posts

    def at_once(self, count: int) -> float:
        return self._whole.take("at_once", count).at_once

    def queries(self, count: int) -> float:
        return self._whole.take("queries", count).queries

    def query_p95(self, count: int) -> float:
        """Milliseconds from when each was due, of those that were answered."""
        return self._whole.take("query_p95", count).query_p95

    def _hold(self, count: int, *, is_asked: bool = True) -> Held:
        """For as long as `count` queries should take. What cannot be asked until then is not asked."""
        seconds = max(count / QUERIES_PER_SECOND, LEAST_SECONDS)
        steps, queries = self._steps(seconds), self._queries(seconds if is_asked else 0)
        posting = partial(request, self._url, self._key, "POST", "/costs/events")
        self._trackers.prepare(self._url, [(step.due, posting(encode(step.fields))) for step in steps])
        self._askers.prepare(self._url, queries)
        before, started = CostEvent.objects.count(), time.monotonic() + LEAD_SECONDS
        tracking, asking = self._trackers.start(started), self._askers.start(started, until=seconds)
        time.sleep(LEAD_SECONDS)
        first = self._meter.read()
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        last = self._meter.read()
        tracked, asked = tracking.result(), asking.result()
        self._prove(before, len(steps))
        late = [(answer - due) * 1000 for (due, _), answer in zip(queries, asked, strict=True) if answer < math.inf]
        return Held(
            posts=ended(steps, tracked, seconds) * 60 / seconds,
            at_once=at_once(steps, tracked, seconds),
            queries=sum(answer <= seconds for answer in asked) / seconds,
            query_p95=quantile(late, 0.95) if late else 0.0,
            cores=cores(first, last),
        )

    def _steps(self, seconds: float) -> list[Step]:
        posts = math.ceil((seconds + POST_SECONDS) / INTERVAL_SECONDS)
        return tracked_steps(self._supply.fields(posts * MOST_EVENTS), seconds)

    def _queries(self, seconds: float) -> list[tuple[float, bytes]]:
        posts = some_posts()
        asking = [request(self._url, self._key, "GET", f"/costs/post/{post}/summary") for post in posts]
        count = int(seconds * QUERIES_PER_SECOND)
        return [(number / QUERIES_PER_SECOND, asking[number % len(asking)]) for number in range(count)]

    def _prove(self, before: int, sent: int) -> None:
        wait_until_booked()
        if (lines := CostEvent.objects.count() - before) != sent:
            raise RuntimeError(f"{sent} events were tracked, but {lines} lines were booked.")


def tracked_steps(events: Sequence[Fields], seconds: float) -> list[Step]:
    """The posts of these events, one after the other at even distances, as if it had been so for ever: at the start
    some are half done already. What lies outside of so many seconds is left out.
    """
    steps = []
    for number, post in enumerate(_posts(events)):
        begins = number * INTERVAL_SECONDS - POST_SECONDS
        apart = POST_SECONDS / max(len(post) - 1, 1)
        dues = [begins + apart * place for place in range(len(post))]
        steps += [Step(due, fields, begins, dues[-1]) for due, fields in zip(dues, post, strict=True)]
    return sorted((step for step in steps if 0 <= step.due < seconds), key=attrgetter("due"))


def at_once(steps: Sequence[Step], answered: Sequence[float], seconds: float) -> float:
    """How many posts were tracked at a time, on average: from the first event of each to the answer to its last."""
    spans: dict[str, float] = {}
    for step, answer in zip(steps, answered, strict=True):
        end = answer if step.due == step.ends else seconds
        spans[step.fields["post_id"]] = min(end, seconds) - max(step.begins, 0.0)
    return sum(spans.values()) / seconds


def ended(steps: Sequence[Step], answered: Sequence[float], seconds: float) -> int:
    """How many posts had the answer to their last event in time."""
    return sum(step.due == step.ends and answer <= seconds for step, answer in zip(steps, answered, strict=True))


def _posts(events: Sequence[Fields]) -> Iterator[list[Fields]]:
    """The last one may have been cut off."""
    for _, post in groupby(events, key=itemgetter("post_id")):
        yield list(post)
