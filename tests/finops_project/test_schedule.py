"""What workers write down about beat's entries: little, at once, and never in the way of the work."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from costs import schedule
from costs.models import ScheduledRun
from costs.tasks import track_cost
from finops_project.schedule import Book
from tests.processes import AppProcess, beat, worker
from tests.servers import wait_until

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
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

    def test_it_costs_less_than_a_millisecond(self, book: Book) -> None:
        def seconds() -> float:
            started = time.perf_counter()
            ScheduledRun.objects.note(
                ScheduledRun(entry="inbox-sweep", started_at=NOW, ended_at=NOW, seconds=0.1, runs=1)
            )
            return time.perf_counter() - started

        seconds()

        # The best of some: the machine has other things to do.
        assert min(seconds() for _ in range(20)) < 0.001


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

    def test_a_run_that_fails_leaves_its_error(self, consumer: AppProcess) -> None:
        current_app.send_task(SWEEP, kwargs={"unexpected": "argument"})

        wait_until(lambda: ScheduledRun.objects.filter(failures=1).exists(), SECONDS, _what_ran)
        failed = ScheduledRun.objects.get(failures=1)
        assert failed.entry == "inbox-sweep"
        assert failed.error.startswith("TypeError: sweep_inbox() got an unexpected keyword argument")


def _runs(entry: str) -> int:
    return sum(ScheduledRun.objects.filter(pk=entry).values_list("runs", flat=True))


def _what_ran() -> Any:
    return f"only these ran: {list(ScheduledRun.objects.values())}"
