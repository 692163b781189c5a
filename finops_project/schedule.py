"""Keep book of beat's entries as workers run them: what the admin's Schedule page, /ready and the metrics read.

Celery's signals surround every task. Sweeps run every second in several processes, so each process writes an entry
at most once a second, in one statement after the task; what it skips is counted with the next one.

Beat reads it when it starts: in a container its own file is new each time, and says of every entry that it just ran.
"""

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from celery.beat import ScheduleEntry
from celery.schedules import crontab
from celery.signals import beat_init, task_postrun, task_prerun
from django.db import Error, InterfaceError, OperationalError, connection
from django.utils.timezone import now

from costs import schedule
from costs.models import ScheduledRun
from finops_project.logs import reason

log = logging.getLogger(__name__)

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


def go_on(entries: Iterable[ScheduleEntry], at: datetime) -> None:
    """Of entries that beat's file knows no run of, take the last run that is known here; what never ran is due.

    Time of day is left to itself where nothing is known: a first start is no reason for a report of the day.
    """
    runs = schedule.last_runs()
    for entry in entries:
        run = runs.get(entry.name)
        if entry.total_run_count:
            continue
        if run:
            entry.last_run_at = min(run.started_at, at)
        elif not isinstance(entry.schedule, crontab):
            entry.last_run_at = at - entry.schedule.run_every


_book = Book()


def _begin(sender: Any = None, task_id: str = "", **_: Any) -> None:
    _book.begin(sender.name, task_id, at=now())


def _end(sender: Any = None, task_id: str = "", retval: Any = None, state: str | None = None, **_: Any) -> None:
    _book.end(sender.name, task_id, error=reason(retval) if state == "FAILURE" else "")


def _beat_starts(sender: Any = None, **_: Any) -> None:
    try:
        go_on(sender.scheduler.schedule.values(), now())
    except Error as error:
        # It sends all the same; what is due late is done late.
        log.warning("beat starts without its last runs: %s", type(error.__cause__ or error).__name__)
    finally:
        connection.close()


beat_init.connect(_beat_starts)
task_prerun.connect(_begin)
task_postrun.connect(_end)
