"""RabbitMQ instead of Redis: the same promises, while it is there, while it hangs, and while it is dead."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal

import pytest
from pytest_django import Settings

from costs.diagnosis import machine
from costs.models import ApiKey, CostEvent, Scope
from costs.tasks import track_cost
from finops_project.local.home import SOURCE
from finops_project.metrics import exposition
from tests.end_to_end.account import Account
from tests.end_to_end.http import Producer
from tests.end_to_end.producers import wait_until_booked, waiting
from tests.end_to_end.test_flower import flower, wait_for_task
from tests.processes import beat, environment, web, worker
from tests.rabbitmq import RabbitMQ, rabbitmq
from tests.servers import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox"]),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
EVENTS, THREADS, MEANWHILE = 6_000, 4, 500
SECONDS = 60
EVENT = {"cost_type": "cdn", "amount": "1", "post_id": "post_001"}


@pytest.fixture
def broker() -> Iterator[RabbitMQ]:
    with rabbitmq() as running:
        yield running


@contextmanager
def producing(broker: RabbitMQ, account: Account) -> Iterator[None]:
    """Threads of another process track costs; the end of the block waits for the last acceptance."""
    command = [sys.executable, "-m", "tests.end_to_end.producer_process", str(EVENTS), str(THREADS)]
    own = environment("command") | broker.environment
    with subprocess.Popen(command, cwd=SOURCE, env=own, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        with ThreadPoolExecutor(1) as thread:
            noting = thread.submit(note_all, process.stdout, account)
            yield
    noting.result()
    assert process.returncode == 0


def note_all(lines: Iterable[str], account: Account) -> None:
    for line in lines:
        accepted = json.loads(line)
        account.note(accepted["event_id"], Decimal(accepted["amount"]))


def wait_until_accepted(more: int, account: Account) -> None:
    enough = len(account) + more
    wait_until(lambda: len(account) >= enough, SECONDS, lambda: f"{len(account)} of {enough} were accepted")


@contextmanager
def dead(broker: RabbitMQ) -> Iterator[None]:
    broker.kill()
    try:
        yield
    finally:
        broker.start()


@pytest.mark.parametrize("away", [dead, RabbitMQ.frozen], ids=["killed", "hanging"])
def test_costs_are_accepted_while_rabbitmq_is_away_and_booked_once_when_it_is_back(
    broker: RabbitMQ, away: Callable[[RabbitMQ], AbstractContextManager[None]], capsys: pytest.CaptureFixture[str]
) -> None:
    account = Account()

    with beat(**broker.environment), worker(2, **broker.environment) as booking, producing(broker, account):
        wait_until_accepted(MEANWHILE, account)
        with away(broker):
            wait_until_accepted(MEANWHILE, account)
        # Of the same worker, which nobody has started again.
        wait_until(lambda: CostEvent.objects.count() > 2 * MEANWHILE, SECONDS, waiting)
        wait_until_accepted(EVENTS - len(account), account)
        wait_until_booked(SECONDS)
        assert booking.is_alive()

    comparison = account.compare()
    with capsys.disabled():
        print(f"\n{comparison}")
    assert comparison.accepted == EVENTS
    assert comparison.is_exact


def test_a_nudge_through_rabbitmq_books_at_once_and_flower_shows_it(broker: RabbitMQ) -> None:
    """Nobody sweeps: there is no beat."""
    _, secret = ApiKey.issue(name="producer", scopes=[Scope.EVENTS_WRITE])

    with flower(**broker.environment) as shown, worker(1, **broker.environment), web(1, **broker.environment) as server:
        wait_until(lambda: "test-" in shown.get("/workers"), SECONDS, lambda: "Flower sees no worker")
        with closing(Producer(server, secret)) as producer:
            status, _ = producer.ask("POST", "/costs/events", EVENT | {"event_id": "nudged"})
        wait_until_booked(SECONDS)
        task = wait_for_task(shown, lambda task: task["name"] == track_cost.name)

    assert status == 202
    assert CostEvent.objects.get().event_id == "nudged"
    assert (task["state"], task["kwargs"]) == ("SUCCESS", "{'nudge': True}")


def test_what_waits_in_rabbitmq_is_told_and_that_it_is_away(broker: RabbitMQ, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = broker.url
    _, secret = ApiKey.issue(name="producer", scopes=[Scope.EVENTS_WRITE, Scope.COSTS_READ])

    with web(1, **broker.environment) as server, closing(Producer(server, secret)) as producer:
        assert lengths() == {"celery": 0, "watch": 0, "tell": 0}
        producer.ask("POST", "/costs/events", EVENT | {"event_id": "waits"})
        wait_until(lambda: lengths()["celery"] == 1, SECONDS, lambda: str(lengths()))
        assert 'finops_queue_length{queue="celery"} 1.0' in metrics()
        assert "finops_redis_up 1.0" in metrics()
        assert health_of_broker(producer) == "ok"
        broker.kill()
        assert "finops_redis_up 0.0" in metrics()
        assert "finops_queue_length{" not in metrics()
        assert health_of_broker(producer).startswith("degraded: RabbitMQ does not answer: ")
        _, wrong = machine.broker()
        assert wrong[0].startswith("RabbitMQ does not answer: ")


def lengths() -> dict[str, int]:
    section, wrong = machine.broker()
    assert wrong == []
    return dict(section.rows)


def metrics() -> str:
    return exposition.render(with_ledger=True).decode()


def health_of_broker(producer: Producer) -> str:
    status, body = producer.ask("GET", "/ready")
    assert status == 200
    check = body["checks"]["redis"]
    return f"{check['status']}: {check['detail']}" if "detail" in check else str(check["status"])
