"""Keep book of beat's entries as workers run them: what the admin's Schedule page, /ready and the metrics read.

Celery's signals surround every task. Sweeps run every second in several processes, so each process writes an entry
at most once a second, in one statement after the task; what it skips is counted with the next one.
"""

import time
from datetime import datetime, timedelta
from typing import Any

from celery.signals import task_postrun, task_prerun
from django.db import InterfaceError, OperationalError
from django.utils.timezone import now

from costs import schedule
from costs.models import ScheduledRun
from finops_project.logs import reason

QUIET_SECONDS = 1.0


class Book:
    """The runs of this process that are not written down yet, by entry."""

    def __init__(self) -> None:
        self._entries = {entry.task: entry.name for entry in schedule.entries()}
        self._started: dict[str, tuple[datetime, float]] = {}
        self._unwritten: dict[str, ScheduledRun] = {}
        self._written: dict[str, float] = {}

    def begin(self, task: str, task_id: str, *, at: datetime) -> None:
        if task in self._entries:
            self._started[task_id] = (at, time.monotonic())

    def end(self, task: str, task_id: str, *, error: str) -> None:
        """`error` is empty for a run that went well. Never raises while Postgres is away: the next run writes both."""
        if task_id not in self._started:
            return
        entry, (at, moment) = self._entries[task], self._started.pop(task_id)
        self._add(entry, at, time.monotonic() - moment, error)
        if time.monotonic() - self._written.get(entry, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._write(entry)

    def _add(self, entry: str, started_at: datetime, seconds: float, error: str) -> None:
        ended_at, before = started_at + timedelta(seconds=seconds), self._unwritten.get(entry)
        run = ScheduledRun(entry=entry, started_at=started_at, ended_at=ended_at, seconds=seconds, runs=1)
        if error:
            run.failures, run.error, run.failed_at = 1, error, ended_at
        elif before:
            run.error, run.failed_at = before.error, before.failed_at
        if before:
            run.runs, run.failures = run.runs + before.runs, run.failures + before.failures
        self._unwritten[entry] = run

    def _write(self, entry: str) -> None:
        try:
            ScheduledRun.objects.note(self._unwritten[entry])
        except (OperationalError, InterfaceError):
            return
        del self._unwritten[entry]
        self._written[entry] = time.monotonic()


_book = Book()


def _begin(sender: Any = None, task_id: str = "", **_: Any) -> None:
    _book.begin(sender.name, task_id, at=now())


def _end(sender: Any = None, task_id: str = "", retval: Any = None, state: str | None = None, **_: Any) -> None:
    _book.end(sender.name, task_id, error=reason(retval) if state == "FAILURE" else "")


task_prerun.connect(_begin)
task_postrun.connect(_end)
