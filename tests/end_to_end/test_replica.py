"""Reports read a streaming replica; what decides, books or answers for what was just paid reads the primary."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

import psutil
import pytest
from django.utils.timezone import now

from costs.models import ApiKey, ScheduledRun, Scope
from tests.end_to_end.http import Producer
from tests.end_to_end.producers import wait_until_booked
from tests.processes import web, worker
from tests.replica import Replica, replica
from tests.servers import Server, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox"]),
    pytest.mark.slow,
    pytest.mark.timeout(180),
]
CALL = {"persona_id": "ai_jesus", "post_id": "post-1", "model": "gpt-4o", "operation": "draft"}
TOKENS = {"estimated_tokens": {"input_tokens": 100, "output_tokens": 50}}


@pytest.fixture
def followed(running_postgres: Server) -> Iterator[Replica]:
    with replica(running_postgres) as running:
        yield running


@pytest.fixture
def producer(followed: Replica) -> Iterator[Producer]:
    """Of a web server that knows the replica, beside a worker that books."""
    secret = ApiKey.issue(name="reader", scopes=Scope.values, source="reader")[1]
    replicated = web(1, DATABASE_REPLICA_URL=followed.url)
    with replicated as server, worker(1) as booking, closing(Producer(server, secret)) as producer:
        yield producer
        # To shut down in an orderly way takes them longer than the test.
        server.kill()
        booking.kill()


def pay(producer: Producer, amount: str) -> None:
    event = {"post_id": "post-1", "persona_id": "ai_jesus", "cost_type": "cdn", "amount": amount}
    status, _ = producer.ask("POST", "/costs/events", event)
    assert status == 202
    wait_until_booked(20)


def reports() -> list[str]:
    today = now().date().isoformat()
    period = f"start_date={today}&end_date={today}"
    return [
        f"/costs/breakdown?{period}",
        f"/controls/savings?{period}",
        "/controls/recommendations",
        "/forecast",
    ]


def total(producer: Producer) -> Any:
    _, answer = producer.ask("GET", reports()[0])
    return answer["total_cost"]


def test_reports_tell_what_the_replica_knows_and_posts_tell_what_is_true(producer: Producer, followed: Replica) -> None:
    pay(producer, "0.25")
    followed.catch_up()
    assert {path: producer.ask("GET", path)[0] for path in reports()} == dict.fromkeys(reports(), 200)
    assert total(producer) == 0.25

    followed.pause()
    pay(producer, "0.50")

    assert total(producer) == 0.25
    assert producer.ask("GET", "/costs/post/post-1/summary")[1]["total_cost"] == 0.75
    assert producer.ask("GET", "/costs/post/post-1")[1]["total_cost"] == 0.75

    followed.resume()
    followed.catch_up()
    assert total(producer) == 0.75


def test_without_its_replica_the_service_does_everything_but_reports(producer: Producer, followed: Replica) -> None:
    followed.server.kill()

    pay(producer, "0.25")
    assert producer.ask("POST", "/controls/decision", CALL | TOKENS)[1]["decision"] == "allow"
    assert producer.ask("GET", "/costs/post/post-1/summary")[0] == 200
    status, ready = producer.ask("GET", "/ready")
    assert (status, ready["status"]) == (200, "degraded")
    assert ready["checks"]["replica"]["detail"].startswith("The replica does not answer")
    assert ready["checks"]["replica"]["seconds"] < 1
    assert {producer.ask("GET", path)[0] for path in reports()} == {503}

    followed.server.start()
    followed.catch_up()
    assert total(producer) == 0.25
    assert readiness(producer) == "ok"


def test_a_replica_that_falls_behind_or_hangs_is_degraded(producer: Producer, followed: Replica) -> None:
    assert readiness(producer) == "ok"

    followed.pause()
    note_a_run(now() + timedelta(minutes=2))
    lagging = readiness(producer)
    followed.resume()
    wait_until(lambda: readiness(producer) == "ok", 20, lambda: readiness(producer))
    with hanging_server(followed.server):
        hanging = readiness(producer)

    assert lagging.endswith("behind, and so are reports")
    assert hanging.startswith("The replica does not answer")


@contextmanager
def hanging_server(server: Server) -> Iterator[None]:
    """It takes connections and answers nobody."""
    first = psutil.Process(server.pid)
    still = [first, *first.children(recursive=True)]
    for process in still:
        process.suspend()
    try:
        yield
    finally:
        for process in still:
            process.resume()


def note_a_run(at: datetime) -> None:
    run = ScheduledRun(entry="inbox-sweep", started_at=at, ended_at=at, seconds=0.1, runs=1)
    ScheduledRun.objects.note(run)


def readiness(producer: Producer) -> str:
    """Of the replica: ok, or what is wrong with it."""
    check = producer.ask("GET", "/ready")[1]["checks"]["replica"]
    assert check["seconds"] < 1
    return str(check.get("detail", check["status"]))
