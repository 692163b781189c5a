"""What was accepted and is not booked yet, and what could not be booked."""

from collections.abc import Collection
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now


class EventKey(models.Model):
    """Every event id ever accepted: (source, event_id) is unique for ever, whatever the timestamp."""

    pk = models.CompositePrimaryKey("source", "event_id")
    source = models.CharField(max_length=100)
    event_id = models.CharField(max_length=255)
    digest = models.BinaryField(help_text="Of what the caller sent: the same id with another body is a conflict.")

    def __str__(self) -> str:
        return f"{self.event_id} of {self.source}"


class InboxRowQuerySet(models.QuerySet["InboxRow"]):
    def of_post(self, post_id: str) -> "InboxRowQuerySet":
        return self.filter(post_ids__contains=[post_id])

    def with_hold(self, hold_ids: Collection[str]) -> "InboxRowQuerySet":
        """Rows that hold an event with one of these hold_ids, whoever sent it."""
        return self.exclude(hold_ids=[]).filter(hold_ids__overlap=list(hold_ids))


class InboxRow(models.Model):
    """One request's fresh events, durable, until the drain books them and deletes the row."""

    source = models.CharField(max_length=100)
    # Text, not jsonb: numbers must come back digit by digit, and nothing ever searches inside.
    payload = models.TextField()
    event_count = models.PositiveIntegerField()
    post_ids = ArrayField(models.CharField(max_length=255), default=list)
    hold_ids = ArrayField(models.CharField(max_length=100), db_default=[])
    received_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(db_default=0, help_text="Counted before the work, so a crash counts.")
    errors = models.PositiveSmallIntegerField(db_default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, db_default="")

    objects = InboxRowQuerySet.as_manager()

    class Meta:
        verbose_name = "inbox row"
        indexes = [
            GinIndex(fields=["hold_ids"], condition=~models.Q(hold_ids=[]), name="costs_inbox_holds"),
        ]

    def __str__(self) -> str:
        return f"{self.event_count} events of {self.source}"


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    def open(self) -> "DeadLetterQuerySet":
        """Those about which somebody has to do something."""
        return self.filter(replayed_at=None, written_off_at=None)


class DeadLetter(models.Model):
    """An accepted event that could not be booked: kept, listed, replayable; written off where it never will be."""

    source = models.CharField(max_length=100)
    event_id = models.CharField(max_length=255)
    post_id = models.CharField(max_length=255, blank=True, default="", db_index=True)
    persona_id = models.CharField(max_length=100, blank=True, default="")
    payload = models.TextField()
    reason = models.TextField()
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    replayed_at = models.DateTimeField(null=True, blank=True)
    replayed_by = models.CharField(max_length=150, blank=True, default="")
    written_off_at = models.DateTimeField(null=True, blank=True)
    written_off_by = models.CharField(max_length=150, blank=True, db_default="")
    written_off_because = models.TextField(blank=True, db_default="")

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        verbose_name = "dead letter"
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(replayed_at=None, written_off_at=None),
                name="costs_deadletter_to_do",
            ),
        ]

    def __str__(self) -> str:
        return f"Event {self.event_id}: {self.reason}"

    def as_inbox_row(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "payload": f"[{self.payload}]",
            "event_count": 1,
            "post_ids": [self.post_id] if self.post_id else [],
        }
