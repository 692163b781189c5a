"""Beat's schedule as the settings have it: how often each entry is due, and how late it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule
from django.conf import settings
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max

from costs.models import ScheduledRun

# A task may take as long as its soft limit, and wait as long for a free worker.
GRACE = timedelta(minutes=1)
# Beat and the workers begin only once the migrations are there, and may have to be fetched first.
FIRST_GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Entry:
    """`runs_at` is Celery's: seconds, a timedelta, a schedule or a crontab."""

    name: str
    task: str
    runs_at: Any

    @property
    def period(self) -> timedelta | None:
        """None for what runs at a time of day."""
        if isinstance(self.runs_at, crontab):
            return None
        if isinstance(self.runs_at, schedule):
            return timedelta(seconds=self.runs_at.seconds)
        return self.runs_at if isinstance(self.runs_at, timedelta) else timedelta(seconds=self.runs_at)

    @property
    def words(self) -> str:
        """Such as "every 30 s" or "at 08:00"."""
        if self.period is not None:
            return f"every {span(self.period)}"
        times = [f"{hour:02}:{minute:02}" for hour in self.runs_at.hour for minute in self.runs_at.minute]
        return f"at {', '.join(sorted(times))}" if len(times) < 5 else f"at {self.runs_at}"

    def due_after(self, last: datetime) -> datetime:
        """When it is to run next, if it last ran then."""
        if self.period is not None:
            return last + self.period
        start, distance, _ = self.runs_at.remaining_delta(last)
        due: datetime = start + distance
        return due

    def overdue(self, run: ScheduledRun, at: datetime) -> timedelta | None:
        """How long ago it should have run again; None while it is within its grace."""
        lateness = at - self.due_after(run.ended_at)
        return lateness if lateness > GRACE else None

    def missing(self, since: datetime, at: datetime) -> timedelta | None:
        """How long ago it should have run first, if it could since then; None while it is within its grace."""
        lateness = at - self.due_after(since)
        return lateness if lateness > FIRST_GRACE else None


def entries() -> list[Entry]:
    """In the order of the settings."""
    return [Entry(name, entry["task"], entry["schedule"]) for name, entry in settings.CELERY_BEAT_SCHEDULE.items()]


def last_runs() -> dict[str, ScheduledRun]:
    """By entry; what never ran to its end is absent."""
    return ScheduledRun.objects.in_bulk()


def overdue(at: datetime, known: Iterable[Entry] | None = None) -> dict[str, timedelta]:
    """The entries that did not run when they were due, with how late they are.

    What never ran was due first after the newest migration: that is when this version could begin.
    """
    runs, since = last_runs(), migrated_at()
    late = {}
    for entry in known or entries():
        run = runs.get(entry.name)
        late[entry.name] = entry.overdue(run, at) if run else entry.missing(since, at)
    return {name: lateness for name, lateness in late.items() if lateness is not None}


def migrated_at() -> datetime:
    """When the newest migration was applied: what never ran could run first then."""
    newest: datetime = MigrationRecorder.Migration.objects.aggregate(at=Max("applied"))["at"]
    return newest


def span(length: timedelta) -> str:
    """A length of time in at most two units: 0.4 s, 30 s, 5 min, 1 min 12 s, 2 h, 3 days 1 h."""
    seconds = length.total_seconds()
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    units = (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left, parts = int(seconds), []
    for name, size in units:
        count, left = divmod(left, size)
        parts.append((count, f"{name}s" if name == "day" and count > 1 else name))
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    told = [f"{count} {name}" for count, name in parts[first : first + 2] if count]
    return " ".join(told) or "0 s"
