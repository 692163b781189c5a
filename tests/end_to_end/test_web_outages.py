"""The HTTP door when web workers die, Postgres goes away, or the broker hangs."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connections
from django.utils.timezone import now

from costs import drain
from costs.models import ApiKey, Scope
from tests.end_to_end.account import Account, Sent, random_events
from tests.end_to_end.producers import in_threads, shares
from tests.end_to_end.test_broker_outages import half_open_broker
from tests.processes import WebProcess, web
from tests.servers import Server
from tests.stalls import Stalls

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
CLIENTS, BATCH, KILLS, SEED = 4, 5, 6, 17


class Client:
    """Posts events with its key, again and again under the same ids until there is an answer."""

    def __init__(self, url: str) -> None:
        _, self._secret = ApiKey.issue(name="test", source="web", scopes=[Scope.EVENTS_WRITE])
        self._url = f"{url}/costs/events"
        self.statuses: Counter[str] = Counter()
        self.resolved = 0
        self.slowest = 0.0

    def send(self, request: Sequence[Sent], account: Account) -> None:
        body = json.dumps({"events": [sent.fields for sent in request]}).encode()
        results, failures = self._post_until_answered(body)
        statuses = [result["status"] for result in results]
        self.statuses.update(statuses)
        self.resolved += bool(failures) and set(statuses) == {"duplicate"}
        for result, sent in zip(results, request, strict=True):
            account.note(result["event_id"], sent.amount)

    def post(self, body: bytes) -> list[dict[str, str]]:
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        started = time.monotonic()
        with urlopen(Request(self._url, body, headers), timeout=30) as answer:  # noqa: S310
            results: list[dict[str, str]] = json.load(answer)["results"]
        self.slowest = max(self.slowest, time.monotonic() - started)
        return results

    def _post_until_answered(self, body: bytes) -> tuple[list[dict[str, str]], int]:
        failures, deadline = 0, time.monotonic() + 30
        while True:
            try:
                return self.post(body), failures
            except HTTPError as refusal:
                if refusal.code != 503:
                    raise
            except (OSError, HTTPException):
                # The worker died; whether it had committed is not known.
                pass
            failures += 1
            assert time.monotonic() < deadline, "no answer any more"
            time.sleep(0.02)


@committed
@pytest.mark.slow
def test_kill_9_of_web_workers_loses_nothing_and_retries_resolve_to_duplicates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance, account = random.Random(SEED), Account()
    events = list(random_events(200_000, chance, prefix="http"))
    requests = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]

    with web(2) as server, ThreadPoolExecutor(1) as background:
        client = Client(server.url)
        killing = background.submit(_kill_workers, server, random.Random(SEED))
        _send_all(client, requests, account, enough=killing.done)
        killing.result()
    drain.drain(at=now(), seconds=60)

    comparison = account.compare()
    with capsys.disabled():
        answers = f"{client.resolved} requests whose answer was lost resolved to duplicates"
        print(f"\n{KILLS} kill -9 of web workers, seed {SEED}; {answers}\n{comparison}")
    assert client.statuses["accepted"] + client.statuses["duplicate"] == len(account)
    assert comparison.is_exact, str(comparison)


@committed
@pytest.mark.slow
def test_without_postgres_the_answer_is_503_and_the_first_success_follows_its_return(running_postgres: Server) -> None:
    account = Account()
    events = [[sent] for sent in random_events(40, random.Random(18), prefix="away")]

    with web(1) as server:
        client = Client(server.url)
        for request in events[:20]:
            client.send(request, account)
        running_postgres.stop()
        try:
            refused = _refusal(client, events[20])
        finally:
            running_postgres.start()
        back = time.monotonic()
        connections.close_all()
        client.send(events[20], account)
        seconds = time.monotonic() - back
        for request in events[21:]:
            client.send(request, account)
    drain.drain(at=now())

    assert refused.code == 503
    assert refused.headers["Retry-After"]
    assert seconds < 5
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
@pytest.mark.slow
def test_a_broker_that_never_answers_slows_no_request_down(stalls: Stalls) -> None:
    account = Account()
    requests = [[sent] for sent in random_events(400, random.Random(19), prefix="hung")]

    with half_open_broker() as url, web(1, REDIS_URL=url) as server:
        client = Client(server.url)
        _send_all(client, requests, account)
    drain.drain(at=now())

    assert client.slowest < 0.8 + stalls.longest
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


def _send_all(
    client: Client, requests: Sequence[Sequence[Sent]], account: Account, *, enough: Callable[[], bool] = lambda: False
) -> None:
    def send(share: Sequence[Sequence[Sent]]) -> None:
        for request in share:
            if enough():
                return
            client.send(request, account)

    in_threads(send, shares(requests, CLIENTS))


def _refusal(client: Client, request: Sequence[Sent]) -> HTTPError:
    body = json.dumps({"events": [sent.fields for sent in request]}).encode()
    with pytest.raises(HTTPError) as refused:
        client.post(body)
    refused.value.close()
    return refused.value


def _kill_workers(server: WebProcess, chance: random.Random) -> None:
    """Kill the older of two workers each time.

    The same one twice within 5 seconds would be a crash loop to the server, which then ends for its supervisor.
    """
    for killed in range(KILLS):
        server.wait_until(partial(_has_started, server, 2 + killed), "two workers")
        time.sleep(chance.uniform(0.2, 0.5))
        os.kill(server.children()[0], signal.SIGKILL)


def _has_started(server: WebProcess, workers: int) -> bool:
    return server.count_logged("Started worker-") == workers
