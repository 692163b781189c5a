"""What workers write down about beat's entries: little, at once, and never in the way of the work."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from costs import schedule
from costs.models import ScheduledRun
from costs.tasks import track_cost
from finops_project.beat import FixedScheduler
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.schedule import Book, go_on
from tests.processes import AppProcess, beat, worker
from tests.servers import wait_until

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOURLY = {"partitions", "verify-ledger", "controls-forget"}
SWEEP = "costs.tasks.sweep_inbox"
SECONDS = 30


@pytest.fixture
def book() -> Book:
    return Book()


def run(book: Book, *, error: str = "", at: datetime = NOW, task: str = SWEEP) -> None:
    book.begin(task, "t-1", at=at)
    book.end(task, "t-1", error=error)


def later(book: Book, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass for this book."""
    moment = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: moment)


@pytest.mark.django_db
class TestARun:
    def test_it_is_written_once_it_ends(self, book: Book) -> None:
        book.begin(SWEEP, "t-1", at=NOW)
        assert not ScheduledRun.objects.exists()

        book.end(SWEEP, "t-1", error="")

        written = ScheduledRun.objects.get()
        assert (written.entry, written.started_at, written.runs, written.error) == ("inbox-sweep", NOW, 1, "")
        assert written.ended_at - NOW == timedelta(seconds=round(written.seconds, 6))

    def test_a_task_that_is_not_in_the_schedule_is_none(self, book: Book) -> None:
        run(book, task=track_cost.name)

        assert not ScheduledRun.objects.exists()

    def test_more_within_a_second_are_counted_with_the_next_one(
        self, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            for number in range(5):
                run(book, error="ValueError: broken" if number == 3 else "")
        assert (len(queries), ScheduledRun.objects.get().runs) == (1, 1)

        later(book, monkeypatch, 1.1)
        run(book, at=NOW + timedelta(seconds=2))

        written = ScheduledRun.objects.get()
        assert (written.runs, written.failures, written.error) == (6, 1, "ValueError: broken")
        assert written.started_at == NOW + timedelta(seconds=2)
        assert not written.has_failed

    def test_without_postgres_it_is_written_by_a_later_one(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(run: ScheduledRun) -> None:
            raise OperationalError

        with monkeypatch.context() as patch:
            patch.setattr(ScheduledRun.objects, "note", away)
            run(book)
        run(book)

        assert ScheduledRun.objects.get().runs == 2


def known(entry: str, started_at: datetime) -> None:
    ScheduledRun.objects.note(
        ScheduledRun(entry=entry, started_at=started_at, ended_at=started_at, seconds=0, runs=1, failures=0)
    )


@pytest.mark.django_db
class TestABeatWhoseFileIsNew:
    @pytest.fixture
    def scheduler(self, tmp_path: Path) -> Iterator[FixedScheduler]:
        found = FixedScheduler(current_app, schedule_filename=str(tmp_path / "schedule"))
        yield found
        found.close()

    @staticmethod
    def due(scheduler: FixedScheduler) -> set[str]:
        go_on(scheduler.schedule.values(), timezone.now())
        return {name for name, entry in scheduler.schedule.items() if entry.is_due()[0]}

    def test_what_never_ran_is_due_but_for_the_report_of_the_day(self, scheduler: FixedScheduler) -> None:
        assert self.due(scheduler) & set(HOURLY | {"daily-digest"}) == HOURLY

    def test_what_ran_is_due_a_period_after_its_last_run(self, scheduler: FixedScheduler) -> None:
        known("partitions", timezone.now() - timedelta(minutes=61))
        known("verify-ledger", timezone.now() - timedelta(minutes=59))
        known("daily-digest", timezone.now() - timedelta(hours=25))

        assert self.due(scheduler) & {"partitions", "verify-ledger", "daily-digest"} == {"partitions", "daily-digest"}

    def test_what_the_file_knows_better_stays(self, scheduler: FixedScheduler) -> None:
        known("partitions", timezone.now() - timedelta(hours=2))
        scheduler.reserve(scheduler.schedule["partitions"])

        assert "partitions" not in self.due(scheduler)


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
class TestRealProcesses:
    @pytest.fixture
    def consumer(self) -> Iterator[AppProcess]:
        with worker(1) as process:
            yield process

    def test_what_beat_sends_and_a_worker_runs_is_written_down(self, consumer: AppProcess) -> None:
        with beat():
            wait_until(lambda: _runs("inbox-sweep") > 2 and _runs("alert-sweep") > 1, SECONDS, _what_ran)

        sweep = ScheduledRun.objects.get(pk="inbox-sweep")
        assert schedule.overdue(sweep.ended_at) == {}
        assert (sweep.failures, sweep.error) == (0, "")
        assert timedelta(0) < sweep.ended_at - sweep.started_at < timedelta(seconds=SECONDS)

    def test_a_new_beat_makes_up_for_what_should_have_run_before_it(self, consumer: AppProcess) -> None:
        known("partitions", timezone.now() - timedelta(minutes=61))
        known("controls-forget", timezone.now() - timedelta(minutes=59))

        with beat():
            wait_until(lambda: _runs("partitions") > 1 and _runs("verify-ledger") > 0, SECONDS, _what_ran)

        assert _runs("controls-forget") == 1

    def test_without_postgres_beat_sends_all_the_same(self) -> None:
        nowhere = f"postgresql://finops@{LOOPBACK}:{free_port()}/finops"

        with beat(DATABASE_URL=nowhere) as sender, redis.from_url(settings.CELERY_BROKER_URL) as broker:
            sender.wait_until(lambda: bool(broker.llen("celery")), "message")
            assert sender.count_logged("beat starts without its last runs") == 1

    def test_a_run_that_fails_leaves_its_error(self, consumer: AppProcess) -> None:
        current_app.send_task(SWEEP, kwargs={"unexpected": "argument"})

        wait_until(lambda: ScheduledRun.objects.filter(failures=1).exists(), SECONDS, _what_ran)
        failed = ScheduledRun.objects.get(failures=1)
        assert failed.entry == "inbox-sweep"
        assert failed.error.startswith("TypeError: sweep_inbox() got an unexpected keyword argument")

    def test_its_error_hides_secrets(self, consumer: AppProcess) -> None:
        current_app.send_task(SWEEP, kwargs={"postgresql://finops:canary@db": 1})

        wait_until(lambda: ScheduledRun.objects.filter(failures=1).exists(), SECONDS, _what_ran)
        error = ScheduledRun.objects.get(failures=1).error
        assert "got an unexpected keyword argument 'postgresql://***@db'" in error


def _runs(entry: str) -> int:
    return sum(ScheduledRun.objects.filter(pk=entry).values_list("runs", flat=True))


def _what_ran() -> Any:
    return f"only these ran: {list(ScheduledRun.objects.values())}"
