"""Workers on two hosts, and the cable of one is pulled out in the middle of a booking: nobody is told anything."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.conf import settings
from django.db import connections
from django.db.models.functions import Now

from costs.models import CostEvent, DeadLetter, InboxRow
from finops_project.local.processes import QUEUES
from tests.end_to_end.account import Account, random_events
from tests.end_to_end.producers import steady_load, wait_until_booked, waiting
from tests.hosts import Host, hosts
from tests.processes import AppProcess, beat, current_database_url, worker_of
from tests.servers import wait_until

LEASE_SECONDS = 4
# A row of the cut-off host is free when its lease and its transaction have ended, and may wait for a lock before.
TAKEN_OVER_SECONDS = 90
BOOKED = "booked"


@contextmanager
def worker_on(host: Host) -> Iterator[AppProcess]:
    """One child, which Postgres knows by the name of its host."""
    extra = {
        "DATABASE_URL": f"{host.reached(current_database_url())}?application_name={host.name}",
        "REDIS_URL": host.reached(settings.CELERY_BROKER_URL),
        "FINOPS_INBOX_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    with worker_of(QUEUES, 1, extra, within=host.within) as process:
        yield process


@contextmanager
def counters_locked() -> Iterator[None]:
    """Every booking comes to a stand in its middle: its rows are taken, and its lines not committed."""
    with connections["inbox"].cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1 FROM costs_postcost FOR UPDATE")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def is_in_the_middle(host: Host) -> bool:
    """Of a booking."""
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
            " AND query LIKE '%%costs_postcost%%'",
            [host.name],
        )
        return bool(cursor.fetchone()[0])


def newest_waiting() -> int:
    return InboxRow.objects.order_by("-id").values_list("id", flat=True).first() or 0


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_other_host_books_what_a_cut_off_one_had_taken_and_its_return_doubles_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    account = Account()
    events = random_events(100_000, random.Random(20), prefix="cut")

    with ExitStack() as stack:
        stays, leaves = stack.enter_context(hosts("stays", "leaves"))
        stack.enter_context(beat())
        stack.enter_context(worker_on(stays))
        returning = stack.enter_context(worker_on(leaves))
        load = stack.enter_context(steady_load(events, account))
        wait_until(lambda: returning.count_logged(BOOKED) > 3, 30, waiting)
        with counters_locked():
            wait_until(lambda: is_in_the_middle(leaves), 10, lambda: "it books nothing")
            claimed = InboxRow.objects.filter(leased_until__gt=Now()).count()
            leaves.cut()
        heard, left_behind, booked = leaves.heard(), newest_waiting(), returning.count_logged(BOOKED)
        wait_until(lambda: not InboxRow.objects.filter(id__lte=left_behind).exists(), TAKEN_OVER_SECONDS, waiting)
        booked_without = CostEvent.objects.count()
        assert leaves.heard() == heard
        leaves.mend()
        wait_until(lambda: returning.count_logged(BOOKED) > booked, 60, lambda: "it books nothing any more")
        load.end()
        wait_until_booked(60)

    comparison = account.compare()
    with capsys.disabled():
        print(f"\n{claimed} rows were claimed when the cable was pulled out, {booked_without:,} lines came without it")
        print(comparison)
    assert claimed > 0
    assert load.refusals == 0
    assert not DeadLetter.objects.exists()
    assert comparison.is_exact
