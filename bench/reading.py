"""How fast the ledger is read over HTTP, and how fast one event is accepted, with many lines in it."""

import random
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Self

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Visitor
from django.urls import reverse
from django.utils.timezone import now

from anomalies import detect
from bench.filling import fill
from bench.loops import Ask, Client, milliseconds, p99_at, request
from bench.rounds import quantile
from bench.stand import first_runs
from bench.supply import Supply
from costs import metric_gauges
from costs.models import ApiKey, CostEvent, MetricGauge, Scope
from tests import processes

GROUPS = ("persona_id", "model", "provider", "cost_type", "operation", "day", "hour")
POSTS = 2_000
PER_SECOND, SENDERS = 200, 8


class Reading:
    """Web, a worker, a watcher and beat over a ledger of at least `events` lines of 60 days."""

    def __init__(self, supply: Supply, events: int) -> None:
        self._supply, self._events = supply, events
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        fill(self._supply, self._events)
        _, self._key = ApiKey.issue(name="reading", scopes=Scope.values)
        with ExitStack() as stack:
            self._url = stack.enter_context(processes.web(2)).url
            stack.enter_context(processes.worker(2))
            with first_runs():
                stack.enter_context(processes.beat())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def summary_p99(self, count: int) -> float:
        """Milliseconds."""
        return quantile(self.summaries(count), 0.99)

    def summaries(self, count: int) -> list[float]:
        """Milliseconds of one post's summary; each time another post."""
        return milliseconds(count, self._get(f"/costs/post/{post}/summary" for post in some_posts()))

    def breakdown_p95(self, count: int) -> float:
        """Milliseconds of a breakdown of 30 days; by each group in turn."""
        return quantile(self.breakdowns(count), 0.95)

    def breakdowns(self, count: int, groups: Sequence[str] = GROUPS) -> list[float]:
        end = now().date()
        period = f"start_date={end - timedelta(days=29)}&end_date={end}"
        return milliseconds(count, self._get(f"/costs/breakdown?{period}&group_by={group}" for group in groups))

    def single_p99(self, count: int) -> float:
        """Milliseconds of one event, at 200 a second, from when each was due."""
        bodies = self._supply.bodies(count)
        requests = [request(self._url, self._key, "POST", "/costs/events", body) for body in bodies]
        return p99_at(PER_SECOND, count, [Client(self._url, requests, b"accepted").ask for _ in range(SENDERS)])

    def proof_ms(self) -> float:
        """How long beat's proof of all counters took, on one processor."""
        return 1000 * float(MetricGauge.objects.get(metric=metric_gauges.VERIFY_SECONDS).value)

    def select_p99(self, count: int) -> float:
        """The yardstick: milliseconds of one line, found by the index of its post, without HTTP."""
        posts = some_posts()

        def ask(number: int) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM cost_events WHERE post_id = %s LIMIT 1", [posts[number % len(posts)]])
                cursor.fetchall()

        return quantile(milliseconds(count, ask), 0.99)

    def _get(self, paths: Any) -> Ask:
        requests = [request(self._url, self._key, "GET", path) for path in paths]
        return Client(self._url, requests, b"200 OK").ask


def sweep_ms(count: int) -> list[float]:
    """Milliseconds of a look at everything, in this process."""
    return milliseconds(count, lambda _: detect.sweep(now()))


def admin_ms(count: int) -> dict[str, list[float]]:
    """Milliseconds of pages of the admin, in this process: without HTTP, templates included."""
    # The settings know no `testserver`.
    visitor = Visitor(headers={"host": "localhost"})
    visitor.force_login(User.objects.get_or_create(username="reader", is_staff=True, is_superuser=True)[0])
    lines, posts = reverse("admin:costs_costevent_changelist"), reverse("admin:costs_post_changelist")
    post = some_posts()[0]
    pages = {
        "lines": lines,
        "lines of a post": f"{lines}?q={post}",
        "lines of a persona": f"{lines}?persona_id=persona_07",
        "posts": posts,
        "posts by the start of an id": f"{posts}?q={post[:12]}",
    }

    def read(path: str, _: int) -> None:
        response = visitor.get(path)
        assert response.status_code == 200, f"{path} answers {response.status_code}"

    return {name: milliseconds(count, partial(read, path)) for name, path in pages.items()}


def some_posts() -> list[str]:
    """From all over the ledger."""
    chance = random.Random(7)
    last = CostEvent.objects.order_by("-id").values_list("id", flat=True)[0]
    ids = [chance.randrange(1, last + 1) for _ in range(2 * POSTS)]
    found = CostEvent.objects.filter(id__in=ids).values_list("post_id", flat=True)
    return [post for post in found if post][:POSTS]
