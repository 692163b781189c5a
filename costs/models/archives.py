"""Months of the ledger that lie in files, and what Postgres keeps of them, so that every total stays as it was."""

from datetime import UTC, date, datetime, timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from costs.models.fields import SumField


class ArchivedPartitionQuerySet(models.QuerySet["ArchivedPartition"]):
    def overlapping(self, start: datetime, end: datetime) -> Self:
        """Those that may hold lines with a timestamp in [start, end)."""
        return self.filter(first_at__lt=end, last_at__gte=start)

    def sentence(self, start: datetime, end: datetime) -> str:
        """Which months hold lines of [start, end) that are in files; '' for none."""
        months = [str(archived) for archived in self.overlapping(start, end)]
        if not months:
            return ""
        return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"


class ArchivedPartition(models.Model):
    """One month of booking whose lines are in a file, no longer in `cost_events`."""

    month = models.DateField(primary_key=True, help_text="The first day of the UTC month of booking.")
    file = models.CharField(max_length=255, help_text="The name of the Parquet file, wherever it is kept.")
    file_bytes = models.BigIntegerField()
    file_sha256 = models.CharField(max_length=64)
    lines = models.BigIntegerField()
    charges = models.BigIntegerField()
    total = SumField(help_text="US dollars of all its lines.")
    first_at = models.DateTimeField(null=True, help_text="The earliest timestamp among its lines.")
    last_at = models.DateTimeField(null=True, help_text="The latest timestamp among its lines.")
    sources = ArrayField(models.CharField(max_length=100), default=list)
    archived_at = models.DateTimeField()
    dropped_at = models.DateTimeField(null=True, help_text="Empty: its table is still there, apart from the ledger.")

    objects = ArchivedPartitionQuerySet.as_manager()

    class Meta:
        verbose_name = "archived month"
        ordering = ["month"]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"

    @property
    def table(self) -> str:
        return table_of(self.month)

    @property
    def ends(self) -> date:
        return (self.month.replace(day=28) + timedelta(days=4)).replace(day=1)


def table_of(month: date) -> str:
    """The name of a month's partition."""
    return f"cost_events_y{month:%Y}m{month:%m}"


def month_of(at: datetime) -> date:
    """The month in which a line that is booked at `at` lies."""
    return at.astimezone(UTC).date().replace(day=1)


class ArchivedSum(models.Model):
    """What an archived month adds to one key of one counter: `verify` counts it as if its lines were still there.

    Names that a counter's key lacks are ''; `at` is the key's hour, five minutes or day.
    """

    archive = models.ForeignKey(ArchivedPartition, models.CASCADE, related_name="sums")
    counter = models.CharField(max_length=40, help_text="The counter's table.")
    at = models.DateTimeField(null=True)
    post_id = models.CharField(max_length=255)
    persona_id = models.CharField(max_length=100)
    provider = models.CharField(max_length=100)
    cost_type = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    operation = models.CharField(max_length=100)
    amount = SumField()
    adjustments = SumField()
    events = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    deviating = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["counter", "at"], name="costs_archivedsum_at")]

    def __str__(self) -> str:
        return f"{self.counter} in {self.archive_id}"


class ArchivedPost(models.Model):
    """What a post's archived lines said, by persona and evidence: its description stays as it was without them."""

    archive = models.ForeignKey(ArchivedPartition, models.CASCADE, related_name="posts")
    post_id = models.CharField(max_length=255)
    persona_id = models.CharField(max_length=100)
    evidence = models.CharField(max_length=20)
    amount = SumField()
    lines = models.BigIntegerField()
    events = models.BigIntegerField(help_text="Charges.")
    factors = models.BigIntegerField(help_text="How many factors describe the charges, together.")
    high = models.BigIntegerField(help_text="Charges of high confidence.")

    class Meta:
        indexes = [models.Index(fields=["post_id"], name="costs_archivedpost_post")]

    def __str__(self) -> str:
        return f"{self.post_id} in {self.archive_id}"
