"""Decisions while all others get stuck: Postgres hangs under them, or those who send stall in the middle of a body."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from django.db import connections

from costs.models import ApiKey, Scope
from finops_project.express import LANES
from finops_project.local.processes import WEB_THREADS
from tests.end_to_end.test_controls_outages import FREE, LONGEST_SECONDS, RETURN_SECONDS, Answer, Client, frozen
from tests.processes import WebProcess, web
from tests.servers import Server, wait_until
from tests.stalls import Stalls

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
PRODUCERS = WEB_THREADS + 4
STUCK_SECONDS = 4.0
EVENT = {"event_id": "stuck", "cost_type": "cdn", "amount": "0.01", "persona_id": FREE}


class Producer(Client):
    """Posts one event over and over."""

    def __init__(self, server: WebProcess, number: int) -> None:
        super().__init__(server.url, f"producer-{number}")
        ApiKey.objects.filter(source=self.persona).update(scopes=[Scope.EVENTS_WRITE])

    def statuses(self, first: int) -> set[int]:
        """Of the answers from this one on."""
        return {answer.status for answer in self.answers[first:]}

    def produce_until(self, enough: threading.Event) -> None:
        while not enough.is_set():
            self.answers.append(self.post("/costs/events", EVENT))
            enough.wait(0.05)


@contextmanager
def producing(producers: Sequence[Producer]) -> Iterator[None]:
    """All of them post on and on while the block runs."""
    enough = threading.Event()
    with ThreadPoolExecutor(len(producers)) as threads:
        under_way = [threads.submit(producer.produce_until, enough) for producer in producers]
        try:
            yield
        finally:
            enough.set()
    for future in under_way:
        future.result()


@contextmanager
def lanes_that_wait_for_keys(server: WebProcess) -> Iterator[None]:
    """All of them hold a connection, or wait for one, until the block ends."""
    with ThreadPoolExecutor(LANES) as threads, connections["default"].cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE costs_apikey IN ACCESS EXCLUSIVE MODE")
        try:
            for number in range(LANES):
                threads.submit(status_of, server, "/costs/breakdown", f"unknown-{number}")
            wait_until(lambda: waiting_for_keys() > 0, 10, lambda: "nobody waits")
            yield
        finally:
            cursor.execute("ROLLBACK")


def waiting_for_keys() -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'costs_apikey'::regclass")
        return int(cursor.fetchone()[0])


def status_of(server: WebProcess, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urlopen(Request(f"{server.url}{path}", headers=headers), timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        return error.code


@contextmanager
def stalled_bodies(server: WebProcess, count: int) -> Iterator[None]:
    """So many have sent the beginning of an event, and nothing since."""
    _, secret = ApiKey.issue(name="slow", scopes=[Scope.EVENTS_WRITE])
    head = "\r\n".join(
        [
            "POST /costs/events HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {secret}",
            "Content-Type: application/json",
            "Content-Length: 1000",
        ]
    )
    address = urlsplit(server.url)
    with ExitStack() as stack:
        for _ in range(count):
            opened = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=5))
            opened.sendall(f"{head}\r\n\r\n{{".encode())
        yield


def ask_for(seconds: float, client: Client) -> list[Answer]:
    ends, answers = time.monotonic() + seconds, list[Answer]()
    while time.monotonic() < ends:
        answers.append(client.ask())
        time.sleep(0.02)
    return answers


@committed
@pytest.mark.slow
def test_while_postgres_hangs_under_all_producers_decisions_are_answered(
    running_postgres: Server, stalls: Stalls, capsys: pytest.CaptureFixture[str]
) -> None:
    with web(1) as server:
        asker = Client(server.url, FREE)
        producers = [Producer(server, number) for number in range(PRODUCERS)]
        asker.ask()
        with producing(producers):
            wait_until(lambda: all(each.answers for each in producers), 20, lambda: "they do not begin")
            with frozen(running_postgres):
                answers = ask_for(STUCK_SECONDS, asker)
            wait_until(lambda: asker.ask().is_exact, RETURN_SECONDS, lambda: str(asker.answers[-1]))
            connections.close_all()
            heard = [len(each.answers) for each in producers]
            # One after the other: they are more than may wait at once.
            wait_until(
                lambda: all(200 in each.statuses(first) for each, first in zip(producers, heard, strict=True)),
                20,
                lambda: "they stay away",
            )
        life = asker.post("/health", {})

    slowest = max(answer.seconds for answer in answers)
    posted = Counter(answer.status for producer in producers for answer in producer.answers)
    with capsys.disabled():
        print(f"\n{len(answers)} decisions, slowest {slowest:.2f} s; {PRODUCERS} producers heard {dict(posted)}")
    assert {answer.status for answer in answers} == {200}
    assert slowest < LONGEST_SECONDS + stalls.longest
    assert set(posted) <= {200, 202, 503}
    assert posted[503] > PRODUCERS
    assert life.status == 405


@committed
@pytest.mark.slow
def test_bodies_that_stall_hold_no_decision_up(stalls: Stalls) -> None:
    with web(1) as server:
        asker = Client(server.url, FREE)
        asker.ask()
        with stalled_bodies(server, PRODUCERS):
            answers = ask_for(2.0, asker)
            turned_away = Producer(server, 0).post("/costs/events", EVENT)
        wait_until(lambda: Producer(server, 1).post("/costs/events", EVENT).status in (200, 202), 10, lambda: "stuck")

    assert all(answer.is_exact for answer in answers)
    assert max(answer.seconds for answer in answers) < LONGEST_SECONDS + stalls.longest
    assert (turned_away.status, turned_away.seconds < LONGEST_SECONDS + stalls.longest) == (503, True)


@committed
@pytest.mark.slow
def test_a_process_whose_lanes_are_full_and_connections_taken_is_still_ready() -> None:
    with web(1, FINOPS_DB_POOL_MIN="1", FINOPS_DB_POOL_MAX="1") as server:
        with lanes_that_wait_for_keys(server):
            started = time.monotonic()
            full = status_of(server, "/ready")
            seconds = time.monotonic() - started
        again = status_of(server, "/ready")
        server.kill()

    assert (full, again) == (200, 200)
    # Kubernetes waits five seconds.
    assert seconds < STUCK_SECONDS
