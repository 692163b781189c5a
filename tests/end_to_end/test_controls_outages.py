"""Decisions while something is away: nobody waits a second, nobody sees a 500, and no hard budget is overspent."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from django.db import connection, connections
from django.utils.timezone import now

from controls import budgets
from controls.models import Budget, BudgetPeriod, Control, Hold
from controls.verify import hold_drifts
from costs.models import ApiKey, Scope
from tests.end_to_end.producers import in_threads
from tests.end_to_end.test_broker_outages import half_open_broker
from tests.processes import web
from tests.servers import Server, wait_until
from tests.stalls import Stalls

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
LONGEST_SECONDS = 1.0
AWAY_SECONDS, RETURN_SECONDS = 3.0, 5.0
# Of 1,000 tokens in and 500 out with gpt-4o.
CALL = Decimal("0.0075")
HARD, SOFT, FREE = "hard", "soft", "free"


@dataclass(frozen=True)
class Answer:
    """What came back after `seconds`; status 0 when nothing did. `at` is when, on the monotonic clock."""

    status: int
    body: dict[str, Any]
    seconds: float
    at: float

    @property
    def reason(self) -> str:
        return str(self.body.get("reason"))

    @property
    def is_exact(self) -> bool:
        return self.status == 200 and self.reason not in ("database_away", "busy")


class Client:
    """Asks for its persona's calls with a key of its own."""

    def __init__(self, url: str, persona: str, **key: Any) -> None:
        _, secret = ApiKey.issue(name=persona, source=persona, scopes=[Scope.DECISIONS_WRITE], **key)
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        self._url, self.persona = url, persona
        self.answers: list[Answer] = []

    def ask(self, **fields: Any) -> Answer:
        asked = {"model": "gpt-4o", "persona_id": self.persona, "post_id": str(len(self.answers))}
        tokens = {"estimated_tokens": {"input_tokens": 1000, "output_tokens": 500}}
        self.answers.append(self.post("/controls/decision", asked | tokens | fields))
        return self.answers[-1]

    def ask_until(self, enough: threading.Event) -> None:
        while not enough.wait(0.02):
            self.ask()

    def between(self, since: float, until: float) -> list[Answer]:
        """The answers of questions that began and ended between these moments."""
        return [answer for answer in self.answers if since < answer.at - answer.seconds and answer.at < until]

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        request = Request(f"{self._url}{path}", json.dumps(body).encode(), self._headers)  # noqa: S310
        started = time.monotonic()
        try:
            with urlopen(request, timeout=10) as response:  # noqa: S310
                status, told = response.status, json.load(response)
        except HTTPError as refusal:
            with refusal:
                status, told = refusal.code, json.load(refusal)
        except (OSError, HTTPException) as error:
            status, told = 0, {"error": str(error)}
        ended = time.monotonic()
        return Answer(status, told, ended - started, ended)


def make_budget(persona: str, limit: str, *, hard: bool) -> Budget:
    budget = Budget(name=persona, persona_id=persona, period="monthly", limit=Decimal(limit), hard=hard)
    return budgets.create(budget, actor="ann", at=now())


@contextmanager
def asking(*clients: Client) -> Iterator[None]:
    """All of them ask on and on while the block runs."""
    enough = threading.Event()
    asking = threading.Thread(target=in_threads, args=(lambda client: client.ask_until(enough), clients))
    asking.start()
    try:
        yield
    finally:
        enough.set()
        asking.join()


@contextmanager
def stopped(postgres: Server) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def killed(postgres: Server) -> Iterator[None]:
    postgres.kill()
    try:
        yield
    finally:
        postgres.start()


@contextmanager
def frozen(postgres: Server) -> Iterator[None]:
    """Connections are taken and nobody ever answers, as behind a dead switch; then all goes on where it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (own,) = cursor.fetchone()
    first = psutil.Process(own).parent()
    assert first is not None
    still = [first, *first.children(recursive=True)]
    _signal(still, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal([*still, *first.children(recursive=True)], signal.SIGCONT)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        if process.is_running():
            os.kill(process.pid, number)


@committed
@pytest.mark.slow
@pytest.mark.parametrize("away", [stopped, killed, frozen])
def test_without_postgres_hard_budgets_refuse_soft_ones_let_in_and_its_return_is_noticed(
    running_postgres: Server, away: Callable[[Server], Any], stalls: Stalls, capsys: pytest.CaptureFixture[str]
) -> None:
    hard = make_budget(HARD, "100", hard=True)
    make_budget(SOFT, "0.01", hard=False)

    with web(1) as server:
        clients = [Client(server.url, HARD), Client(server.url, SOFT, rate_limit=60_000), Client(server.url, FREE)]
        with asking(*clients):
            time.sleep(1.5)
            with away(running_postgres):
                gone = time.monotonic()
                time.sleep(AWAY_SECONDS)
                ends = time.monotonic()
            back = time.monotonic()
            connections.close_all()
            time.sleep(RETURN_SECONDS + 1)

    # Until the first of them has given up, the others hear that no connection is free.
    meanwhile = [client.between(gone + LONGEST_SECONDS, ends) for client in clients]
    slowest = max(answer.seconds for client in clients for answer in client.answers)
    returned = [
        next(answer.at - back for answer in client.between(back, 1e12) if answer.is_exact) for client in clients
    ]
    with capsys.disabled():
        counts = dict(Counter(answer.status for client in clients for answer in client.answers))
        print(f"\n{away.__name__}: {counts}, slowest {slowest:.2f} s, exact again after {max(returned):.1f} s")
    assert all(answer.status == 200 for client in clients for answer in client.answers)
    assert slowest < LONGEST_SECONDS + stalls.longest
    assert all(len(answers) > 10 for answers in meanwhile)
    for answers, verdict in zip(meanwhile, ("deny", "allow", "allow"), strict=True):
        assert {(answer.reason, answer.body["decision"]) for answer in answers} == {("database_away", verdict)}
        assert {answer.body["hold_id"] for answer in answers} == {None}
        assert all("database is away" in answer.body["detail"] for answer in answers)
    assert max(returned) < RETURN_SECONDS
    for client in clients:
        assert all(answer.reason != "database_away" for answer in client.between(back + RETURN_SECONDS, 1e12))
    _assert_every_hold_that_was_told_is_held(clients)
    told = sum(bool(answer.body["hold_id"]) for answer in clients[0].answers)
    assert hard.period_at(now()).held >= told * CALL


def _assert_every_hold_that_was_told_is_held(clients: list[Client]) -> None:
    told = {answer.body["hold_id"] for client in clients for answer in client.answers} - {None}
    assert told <= {str(pk) for pk in Hold.objects.values_list("pk", flat=True)}
    assert len(told) == sum(bool(answer.body["hold_id"]) for client in clients for answer in client.answers)
    assert not hold_drifts()


@committed
@pytest.mark.slow
@pytest.mark.parametrize("away", [killed, frozen])
def test_a_release_without_postgres_is_refused_at_once_and_may_be_said_again(
    running_postgres: Server, away: Callable[[Server], Any], stalls: Stalls
) -> None:
    with web(1) as server:
        client = Client(server.url, FREE)
        path = f"/controls/holds/{client.ask().body['hold_id']}/release"
        # Long enough that the key is to be looked up again.
        time.sleep(1.1)
        with away(running_postgres):
            refused = [client.post(path, {}) for _ in range(3)]
        connections.close_all()
        wait_until(lambda: client.post(path, {}).status == 200, RETURN_SECONDS, lambda: "it is not released")

    assert {answer.status for answer in refused} == {503}
    assert max(answer.seconds for answer in refused) < LONGEST_SECONDS + stalls.longest
    assert Hold.objects.get().state == "released"


@committed
@pytest.mark.slow
def test_a_process_that_never_saw_postgres_refuses_and_says_why(running_postgres: Server, stalls: Stalls) -> None:
    with web(1) as server:
        client = Client(server.url, FREE)
        with killed(running_postgres):
            answer = client.ask()
        connections.close_all()
        wait_until(lambda: client.ask().is_exact, RETURN_SECONDS, lambda: str(client.answers[-1]))

    assert (answer.status, answer.seconds < LONGEST_SECONDS + stalls.longest) == (503, True)
    assert "this key is not known yet" in answer.body["detail"]
    assert all(answer.status in (200, 503) for answer in client.answers)


@committed
@pytest.mark.slow
def test_decisions_need_no_broker(running_redis: Server, stalls: Stalls) -> None:
    make_budget(HARD, "100", hard=True)

    with web(1) as server:
        client = Client(server.url, HARD)
        running_redis.kill()
        try:
            killed = [client.ask() for _ in range(50)]
        finally:
            running_redis.start()
    with half_open_broker() as url, web(1, REDIS_URL=url) as server:
        client = Client(server.url, HARD)
        hung = [client.ask() for _ in range(50)]

    assert all(answer.is_exact and answer.body["decision"] == "allow" for answer in [*killed, *hung])
    assert max(answer.seconds for answer in [*killed, *hung]) < LONGEST_SECONDS + stalls.longest
    assert BudgetPeriod.objects.get().held == 100 * CALL


@committed
@pytest.mark.slow
class TestNobodyWatches:
    """No worker and no beat run: what time brings about happens all the same."""

    def test_a_pause_ends_as_a_trial_and_the_trial_in_freedom(self) -> None:
        pause = timedelta(seconds=3)

        with web(1) as server:
            client = Client(server.url, "ai_jesus")
            client.ask()
            began = now()
            given = {"since": began, "expires_at": began + pause, "per_minute": 60, "reason": "a spike"}
            Control.objects.create(persona_id="ai_jesus", level="pause", **given)
            paused = client.ask()
            wait_until(lambda: now() > began + pause, 10, lambda: "time stands still")
            trial = [client.ask() for _ in range(2)]
            wait_until(lambda: now() > began + 2 * pause, 10, lambda: "time stands still")
            free = client.ask()

        assert (paused.body["decision"], paused.reason) == ("deny", "paused")
        assert 0 < paused.body["retry_after"] <= 3
        assert [answer.body["decision"] for answer in trial] == ["switch", "throttle"]
        assert trial[0].body["control"]["level"] == "half_open"
        assert (free.body["decision"], free.body["control"]) == ("allow", None)

    def test_holds_that_nobody_came_for_turn_nobody_down(self) -> None:
        budget = make_budget(HARD, "0.02", hard=True)

        with web(1) as server:
            client = Client(server.url, HARD)
            before = [client.ask(ttl_seconds=2).body["decision"] for _ in range(3)]
            time.sleep(2.1)
            after = [client.ask().body["decision"] for _ in range(3)]

        assert before == after == ["allow", "allow", "deny"]
        assert sorted(Hold.objects.values_list("state", flat=True)) == ["expired", "expired", "open", "open"]
        assert budget.period_at(now()).held == 2 * CALL
        assert not hold_drifts()
