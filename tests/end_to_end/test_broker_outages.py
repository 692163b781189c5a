"""The broker is killed, emptied, stopped, or accepts and never answers: nothing waits for it, nothing is lost."""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
import redis
from django.conf import settings

from costs.models import InboxRow
from finops_project.local.home import SOURCE
from tests.end_to_end.account import Account, random_events
from tests.end_to_end.producers import steady_load, wait_until_booked, waiting
from tests.processes import beat, environment, worker
from tests.servers import Server, wait_until
from tests.stalls import Stalls

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
DRAINED_SECONDS = 5
# An acceptance takes a millisecond or two; this is for a machine that is busy with starting servers.
HANG_SECONDS = 0.8


@committed
@pytest.mark.slow
@pytest.mark.parametrize(("way", "away_seconds"), [("killed", 2), ("stopped", 7)])
def test_costs_are_accepted_while_the_broker_is_away_and_booked_when_it_is_back(
    running_redis: Server, way: str, away_seconds: int, stalls: Stalls
) -> None:
    account = Account()
    events = random_events(100_000, random.Random(3), prefix=way)

    with beat(), worker(1), steady_load(events, account) as load:
        wait_until(lambda: len(account) > 100, 10, waiting)
        _take_away(running_redis, way)
        accepted_before = len(account)
        time.sleep(away_seconds)
        accepted_while_away = len(account) - accepted_before
        running_redis.start()
        _assert_backlog_gone_within(DRAINED_SECONDS)
        load.end()
        wait_until_booked(DRAINED_SECONDS)

    assert accepted_while_away > 100
    assert load.refusals == 0
    assert load.slowest < HANG_SECONDS + stalls.longest
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
@pytest.mark.slow
def test_flushing_the_broker_again_and_again_loses_nothing() -> None:
    account = Account()
    events = random_events(100_000, random.Random(4), prefix="flush")

    with beat(), worker(1), redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        with steady_load(events, account):
            for _ in range(20):
                broker.flushall()
                time.sleep(0.15)
        wait_until_booked(DRAINED_SECONDS)

    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
def test_a_producer_does_not_hang_on_a_broker_that_never_answers(stalls: Stalls) -> None:
    account = Account()

    with half_open_broker() as url:
        slowest = _produce_elsewhere(300, url, account)
    with beat(), worker(1):
        wait_until_booked(DRAINED_SECONDS)

    assert len(account) == 300
    assert slowest < HANG_SECONDS + stalls.longest
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


def _take_away(broker: Server, way: str) -> None:
    if way == "killed":
        broker.kill()
    else:
        broker.stop()


def _assert_backlog_gone_within(seconds: float) -> None:
    """Later rows keep coming; what waits now must be booked."""
    newest = InboxRow.objects.order_by("-id").values_list("id", flat=True).first() or 0
    wait_until(lambda: not InboxRow.objects.filter(id__lte=newest).exists(), seconds, waiting)


@contextmanager
def half_open_broker() -> Iterator[str]:
    """The kernel accepts connections up to the backlog, and nobody ever reads or answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def _produce_elsewhere(count: int, broker_url: str, account: Account) -> float:
    """Track from another process that has this broker; returns the seconds of its slowest call."""
    command = [sys.executable, "-m", "tests.end_to_end.producer_process", str(count)]
    own = environment("command") | {"REDIS_URL": broker_url}
    done = subprocess.run(command, cwd=SOURCE, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    accepted = [json.loads(line) for line in done.stdout.splitlines()]
    for one in accepted:
        account.note(one["event_id"], Decimal(one["amount"]))
    return float(max(one["seconds"] for one in accepted))
