"""How fast a decision with a hold is over HTTP, on real servers, with the client on the same machine."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Self

import psycopg
import redis
from django.conf import settings
from django.utils.timezone import now

from bench.loops import Ask, Client, p99_at, per_second, request
from controls import budgets
from controls.models import Budget
from costs.models import ApiKey, Scope
from tests import processes

PERSONAS = 50
CLIENTS = 8
PER_SECOND = 300
# Never exhausted: every call is let in and writes its hold.
LIMIT = Decimal(1_000_000)
HOT = "asking_hot"
ALLOWED = b'"decision":"allow"'


class Deciding:
    """The web server as `make up` starts it, 50 personas with a hard budget each, and one more whose budget is hot."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        give_budgets([*(f"asking_{number}" for number in range(PERSONAS)), HOT])
        _, self._key = ApiKey.issue(name="bench", scopes=[Scope.DECISIONS_WRITE])
        with ExitStack() as stack:
            self._url = stack.enter_context(processes.web(2)).url
            self._stack = stack.pop_all()
        self._bodies = [self._request(f"asking_{number}") for number in range(PERSONAS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def per_second(self, count: int) -> float:
        return per_second(count, self._askers(self._bodies))

    def hot_per_second(self, count: int) -> float:
        return per_second(count, self._askers([self._request(HOT)]))

    def p99(self, count: int) -> float:
        """Milliseconds."""
        return p99_at(PER_SECOND, count, self._askers(self._bodies, 2 * CLIENTS))

    def _request(self, persona: str) -> bytes:
        return request(self._url, self._key, "POST", "/controls/decision", asking(persona))

    def _askers(self, requests: Sequence[bytes], clients: int = CLIENTS) -> list[Ask]:
        return [Client(self._url, requests, ALLOWED).ask for _ in range(clients)]


def give_budgets(personas: Sequence[str]) -> None:
    """A hard budget for each, which is never exhausted."""
    for persona in personas:
        budget = Budget(name=persona, persona_id=persona, period="monthly", limit=LIMIT, hard=True)
        budgets.create(budget, actor="bench", at=now())


def asking(persona: str) -> bytes:
    """The body of a request for a decision with a hold."""
    body = {
        "persona_id": persona,
        "post_id": "post",
        "model": "gpt-4o",
        "operation": "draft",
        "estimated_tokens": {"input_tokens": 1000, "output_tokens": 500},
    }
    return json.dumps(body).encode()


class Bare:
    """The yardsticks: what a decision cannot be faster than, one round trip to Redis or to an index of Postgres."""

    def redis(self, count: int) -> float:
        return per_second(count, [_get(redis.Redis.from_url(settings.CELERY_BROKER_URL)) for _ in range(CLIENTS)])

    def select(self, count: int) -> float:
        return per_second(count, self._selects(CLIENTS))

    def select_p99(self, count: int) -> float:
        """Milliseconds."""
        return p99_at(PER_SECOND, count, self._selects(2 * CLIENTS))

    def _selects(self, clients: int) -> list[Ask]:
        url = processes.current_database_url()
        return [_select(psycopg.connect(url, autocommit=True)) for _ in range(clients)]


def _get(broker: redis.Redis) -> Ask:
    return lambda number: broker.get("nothing")


def _select(connection: "psycopg.Connection[Any]") -> Ask:
    text = "SELECT spent FROM controls_budgetperiod WHERE budget_id = %s ORDER BY starts_at DESC LIMIT 1"
    return lambda number: connection.execute(text, [number % PERSONAS]).fetchone()
