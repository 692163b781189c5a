"""What workers keep open to Postgres while they have nothing to do."""

import pytest
from celery import current_app
from django.db import connection

from costs.models import ScheduledRun
from finops_project.local.processes import BOOKING, TELLING
from tests.processes import worker_of
from tests.servers import wait_until

committed = pytest.mark.django_db(transaction=True)


def kept_by_workers() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'finops_engine:worker'")
        return int(cursor.fetchone()[0])


def has_run(task: str, entry: str) -> None:
    current_app.send_task(task)
    wait_until(lambda: ScheduledRun.objects.filter(entry=entry).exists(), 10, lambda: f"{task} did not run")


@committed
class TestBetweenTwoTasks:
    def test_a_teller_keeps_no_connection(self) -> None:
        with worker_of((TELLING,), 2):
            has_run("alerts.tasks.sweep", "alert-sweep")

            wait_until(lambda: kept_by_workers() == 0, 5, lambda: "the teller keeps a connection")

    def test_who_books_keeps_its_own(self) -> None:
        with worker_of((BOOKING,), 1):
            has_run("costs.tasks.sweep_inbox", "inbox-sweep")

            assert kept_by_workers() == 1
