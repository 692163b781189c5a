"""Postgres is restarted, killed, away: what was accepted stays accepted, and everybody comes back by themselves."""

import random
import time

import pytest
from django.db import OperationalError, connections

from costs.models import DeadLetter
from costs.tasks import track_cost
from tests.end_to_end.account import Account, random_events
from tests.end_to_end.producers import steady_load, wait_until_booked
from tests.processes import beat, worker
from tests.servers import Server, wait_until
from tests.stalls import Stalls

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
RETURN_SECONDS = 5
# Rows that were claimed when Postgres went away wait for the end of their lease.
LEASE_SECONDS = 3


@committed
@pytest.mark.slow
@pytest.mark.parametrize(("way", "away_seconds"), [("killed", 0), ("stopped", 5)])
def test_accepted_costs_survive_an_outage_of_postgres(running_postgres: Server, way: str, away_seconds: int) -> None:
    account = Account()
    events = random_events(100_000, random.Random(6), prefix=way)
    lease = {"FINOPS_INBOX_LEASE_SECONDS": str(LEASE_SECONDS)}

    with beat(), worker(2, **lease), steady_load(events, account) as load:
        wait_until(lambda: len(account) > 200, 10, lambda: "too few events")
        back = _outage(running_postgres, way, away_seconds)
        wait_until(lambda: bool(load.first_accepted_after(back)), 20, lambda: "no event was accepted any more")
        time.sleep(1)
        load.end()
        wait_until_booked(10)

    print(f"{way}: {len(account):,} accepted, {load.refusals} refusals, slowest {load.slowest:.1f} s")
    assert (load.first_accepted_after(back) or 0) < RETURN_SECONDS
    assert not DeadLetter.objects.exists()
    comparison = account.compare()
    assert comparison.is_exact, str(comparison)


@committed
@pytest.mark.slow
def test_tracking_raises_when_postgres_stays_away(running_postgres: Server, stalls: Stalls) -> None:
    connections.close_all()
    running_postgres.stop()
    try:
        started = time.monotonic()
        with pytest.raises(OperationalError):
            track_cost.delay(cost_type="cdn", amount="1", event_id="never")
        seconds = time.monotonic() - started
    finally:
        running_postgres.start()

    assert 7 <= seconds < 10 + stalls.longest, "three more tries, after 1, 2 and 4 seconds"


def _outage(postgres: Server, way: str, away_seconds: float) -> float:
    """Returns when Postgres answered again, on the monotonic clock."""
    if way == "killed":
        postgres.kill()
    else:
        postgres.stop()
    time.sleep(away_seconds)
    postgres.start()
    # This process's own connection is broken as well.
    connections.close_all()
    return time.monotonic()
