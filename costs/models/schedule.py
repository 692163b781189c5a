"""When beat's entries last ran: written by whoever ran them, read by the admin, /ready and the metrics."""

from datetime import datetime
from typing import Any

from django.db import connection, models

# A second of these rows may be lost in a crash of Postgres; waiting for the disk would cost more than the sweep itself.
NOTE = """
INSERT INTO costs_scheduledrun AS known (entry, started_at, ended_at, seconds, runs, failures, error, failed_at)
SELECT %(entry)s, %(started_at)s, %(ended_at)s, %(seconds)s, %(runs)s, %(failures)s, %(error)s, %(failed_at)s
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quickly
ON CONFLICT (entry) DO UPDATE SET
    started_at = GREATEST(known.started_at, EXCLUDED.started_at), ended_at = EXCLUDED.ended_at,
    seconds = EXCLUDED.seconds, runs = known.runs + EXCLUDED.runs, failures = known.failures + EXCLUDED.failures,
    error = CASE WHEN EXCLUDED.failed_at IS NULL THEN known.error ELSE EXCLUDED.error END,
    failed_at = COALESCE(EXCLUDED.failed_at, known.failed_at)
"""


class ScheduledRunManager(models.Manager["ScheduledRun"]):
    def note(self, run: "ScheduledRun") -> None:
        """Take these runs into the entry's row: its counts are added, its times and its error are the newest.

        One statement that does not wait for the disk. Raises OperationalError while Postgres is away.
        """
        values: dict[str, Any] = {field.attname: getattr(run, field.attname) for field in run._meta.concrete_fields}
        with connection.cursor() as cursor:
            cursor.execute(NOTE, values)


class ScheduledRun(models.Model):
    """One entry of beat's schedule and its last run that came to an end."""

    entry = models.CharField(max_length=100, primary_key=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    seconds = models.FloatField(help_text="That the last run took.")
    runs = models.BigIntegerField(help_text="That came to an end, well or not.")
    failures = models.BigIntegerField(default=0)
    error = models.TextField(blank=True, default="", help_text="Of the last run that failed, if ever one did.")
    failed_at = models.DateTimeField(null=True, blank=True)

    objects = ScheduledRunManager()

    class Meta:
        verbose_name = "scheduled run"

    def __str__(self) -> str:
        return self.entry

    @property
    def has_failed(self) -> bool:
        """The last run did."""
        return self.failed_at == self.ended_at

    def age(self, at: datetime) -> float:
        """Seconds since the last run came to an end."""
        return (at - self.ended_at).total_seconds()
