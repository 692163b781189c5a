"""How fast a decision with a hold is over HTTP, on real servers, with the client on the same machine.

Closed loop: a few clients ask, one call after the other. Open loop: calls are due at fixed moments whether the ones
before have come back or not, and a late answer counts from the moment at which its call was due.
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
import redis
from django.conf import settings
from django.utils.timezone import now

from bench.rounds import quantile
from controls import budgets
from controls.models import Budget
from costs.models import ApiKey, Scope
from tests import processes

PERSONAS = 50
CLIENTS = 8
PER_SECOND = 300
TIMEOUT_SECONDS = 30
# Never exhausted: every call is let in and writes its hold.
LIMIT = Decimal(1_000_000)
HOT = "asking_hot"

Ask = Callable[[int], object]


class Deciding:
    """The web server as `make up` starts it, 50 personas with a hard budget each, and one more whose budget is hot."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for persona in (*(f"asking_{number}" for number in range(PERSONAS)), HOT):
            budget = Budget(name=persona, persona_id=persona, period="monthly", limit=LIMIT, hard=True)
            budgets.create(budget, actor="bench", at=now())
        _, secret = ApiKey.issue(name="bench", scopes=[Scope.DECISIONS_WRITE])
        with ExitStack() as stack:
            self._address = urlsplit(stack.enter_context(processes.web(2)).url)
            self._stack = stack.pop_all()
        self._head = f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        self._bodies = [self._request(f"asking_{number}") for number in range(PERSONAS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def per_second(self, count: int) -> float:
        return _per_second(count, self._askers(self._bodies))

    def hot_per_second(self, count: int) -> float:
        return _per_second(count, self._askers([self._request(HOT)]))

    def p99(self, count: int) -> float:
        """Milliseconds."""
        return _p99(count, self._askers(self._bodies, 2 * CLIENTS))

    def _request(self, persona: str) -> bytes:
        body = json.dumps(
            {
                "persona_id": persona,
                "post_id": "post",
                "model": "gpt-4o",
                "operation": "draft",
                "estimated_tokens": {"input_tokens": 1000, "output_tokens": 500},
            }
        )
        head = f"POST /controls/decision HTTP/1.1\r\nHost: {self._address.netloc}\r\n{self._head}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _askers(self, requests: Sequence[bytes], clients: int = CLIENTS) -> list[Ask]:
        where = (str(self._address.hostname), int(self._address.port or 80))
        return [_Client(where, requests).ask for _ in range(clients)]


class _Client:
    """One kept-alive connection. Written out: a client library takes more of the two cores than the server does."""

    def __init__(self, where: tuple[str, int], requests: Sequence[bytes]) -> None:
        self._socket = socket.create_connection(where, TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests

    def ask(self, number: int) -> None:
        self._socket.sendall(self._requests[number % len(self._requests)])
        answer = b""
        while True:
            answer += self._socket.recv(65_536)
            head, blank, body = answer.partition(b"\r\n\r\n")
            if blank and len(body) >= _length(head):
                break
        if b'"decision":"allow"' not in body:
            raise RuntimeError(f"A decision answered {body[:500]!r}.")


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


class Bare:
    """The yardsticks: what a decision cannot be faster than, one round trip to Redis or to an index of Postgres."""

    def redis(self, count: int) -> float:
        return _per_second(count, [_get(redis.Redis.from_url(settings.CELERY_BROKER_URL)) for _ in range(CLIENTS)])

    def select(self, count: int) -> float:
        return _per_second(count, self._selects(CLIENTS))

    def select_p99(self, count: int) -> float:
        """Milliseconds."""
        return _p99(count, self._selects(2 * CLIENTS))

    def _selects(self, clients: int) -> list[Ask]:
        url = processes.current_database_url()
        return [_select(psycopg.connect(url, autocommit=True)) for _ in range(clients)]


def _get(broker: redis.Redis) -> Ask:
    return lambda number: broker.get("nothing")


def _select(connection: "psycopg.Connection[Any]") -> Ask:
    text = "SELECT spent FROM controls_budgetperiod WHERE budget_id = %s ORDER BY starts_at DESC LIMIT 1"
    return lambda number: connection.execute(text, [number % PERSONAS]).fetchone()


def _per_second(count: int, askers: Sequence[Ask]) -> float:
    """Closed loop: each asker takes its share, one after the other."""

    def work(place: int) -> None:
        for number in range(place, count, len(askers)):
            askers[place](number)

    started = time.perf_counter()
    with ThreadPoolExecutor(len(askers)) as pool:
        list(pool.map(work, range(len(askers))))
    return count / (time.perf_counter() - started)


def _p99(count: int, askers: Sequence[Ask]) -> float:
    """Open loop at a fixed rate: milliseconds from the moment at which a call was due to its answer."""
    started = time.perf_counter() + 0.1

    def work(place: int) -> list[float]:
        taken = []
        for number in range(place, count, len(askers)):
            due = started + number / PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            askers[place](number)
            taken.append(time.perf_counter() - due)
        return taken

    with ThreadPoolExecutor(len(askers)) as pool:
        found = [seconds for part in pool.map(work, range(len(askers))) for seconds in part]
    return quantile(found, 0.99) * 1000
