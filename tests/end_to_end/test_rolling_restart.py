"""A deployment replaces the workers one by one while costs come in."""

import random
import time
from contextlib import ExitStack

import pytest

from costs.models import DeadLetter
from tests.end_to_end.account import Account, random_events
from tests.end_to_end.producers import steady_load, wait_until_booked
from tests.processes import AppProcess, beat, worker

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
TROUBLE = ("Traceback", "[error", "[critical", "WorkerLostError")


@committed
@pytest.mark.slow
def test_a_rolling_restart_loses_nothing_and_logs_no_error() -> None:
    account, troubles = Account(), 0
    events = random_events(100_000, random.Random(7), prefix="roll")

    with ExitStack() as stack, beat(), steady_load(events, account, pause=0) as load:
        old = stack.enter_context(worker(1))
        for _ in range(2):
            new = stack.enter_context(worker(1))
            time.sleep(0.5)
            old.stop()
            troubles += _troubles(old)
            old = new
        load.end()
        wait_until_booked(10)
        troubles += _troubles(old)

    assert len(account) > 1_000
    assert load.refusals == 0
    assert troubles == 0
    assert not DeadLetter.objects.exists()
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


def _troubles(process: AppProcess) -> int:
    return sum(process.count_logged(word) for word in TROUBLE)
