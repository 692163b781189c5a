"""One message to one channel: the work row of everything that is said."""

import json
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models

from alerts.channels.base import Event, Notice
from alerts.decide import URGENT
from alerts.models.channels import Channel
from alerts.models.choices import events
from alerts.models.groups import AlertGroup
from alerts.signal import Severity

# Longer than a task may live: who still holds the row then is dead.
LEASE = timedelta(seconds=90)
GIVE_UP_AFTER = timedelta(hours=24)
# A receiver that hangs must not hold all workers; two, because the place of one who died is free only after its lease.
MOST_AT_ONCE = 2


class State(models.TextChoices):
    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    DROPPED = "dropped"


UNSENT = (State.PENDING, State.SENDING)
# A message is not said before an earlier one of its incident on the same channel is said or given up.
CLAIM = """
UPDATE alerts_delivery AS mine
SET state = 'sending', attempts = attempts + 1, lease_until = %(lease_until)s
WHERE id = %(id)s AND digest_id IS NULL
  AND (state = 'pending' AND due_at <= %(at)s OR state = 'sending' AND lease_until <= %(at)s)
  AND NOT EXISTS (
      SELECT 1 FROM alerts_delivery AS earlier
      WHERE earlier.group_id = mine.group_id AND earlier.channel_id = mine.channel_id
        AND earlier.sequence < mine.sequence AND earlier.state IN ('pending', 'sending')
        -- An urgent one waits for no digest.
        AND (earlier.digest_id IS NULL OR mine.urgency < %(urgent)s)
  )
  AND NOT EXISTS (SELECT 1 FROM alerts_channel WHERE id = mine.channel_id AND paused_until > %(at)s)
  AND %(most)s > (
      SELECT count(*) FROM alerts_delivery AS other
      WHERE other.channel_id = mine.channel_id AND other.state = 'sending' AND other.lease_until > %(at)s
        AND other.digest_id IS NULL
  )
"""


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def claim(self, delivery_id: int, at: datetime) -> "Delivery | None":
        """Take the row for one attempt, which is counted before the work; None when it is not due or somebody's."""
        with connection.cursor() as cursor:
            cursor.execute(
                CLAIM,
                {"id": delivery_id, "at": at, "lease_until": at + LEASE, "urgent": URGENT.rank, "most": MOST_AT_ONCE},
            )
            if not cursor.rowcount:
                return None
        return self.select_related("channel", "group").get(pk=delivery_id)

    def due(self, at: datetime) -> Self:
        """What should be attempted now, the most urgent first."""
        waits = models.Q(state=State.PENDING, due_at__lte=at) | models.Q(state=State.SENDING, lease_until__lte=at)
        paused = models.Q(channel__paused_until__gt=at)
        return self.filter(waits, digest=None).exclude(paused).order_by("-urgency", "due_at", "pk")

    def unsent(self) -> Self:
        return self.filter(state__in=UNSENT)

    def dead(self) -> Self:
        return self.filter(state=State.DEAD)

    def replay(self, at: datetime) -> int:
        """Try the dead ones of these again; returns how many."""
        return self.dead().update(
            state=State.PENDING, attempts=0, due_at=at, gives_up_at=at + GIVE_UP_AFTER, lease_until=None, error=""
        )


class Delivery(models.Model):
    """A notice on its way to a channel. Sent at least once: who dies between sending and marking sends again."""

    group = models.ForeignKey(AlertGroup, models.CASCADE, null=True, blank=True, related_name="deliveries")
    sequence = models.PositiveIntegerField(default=0, help_text="The place among what was said of the group.")
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    # What has no group is unique by this: one digest for each channel and minute.
    key = models.CharField(max_length=200, null=True, unique=True, editable=False)  # noqa: DJ001  # NULLs differ
    event = models.CharField(max_length=20, choices=events)
    urgency = models.PositiveSmallIntegerField(default=0)
    stored_notice = models.JSONField("notice", encoder=DjangoJSONEncoder)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    gives_up_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    receipt = models.TextField(blank=True)
    error = models.TextField(blank=True)
    digest = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="members", help_text="Said as a line of this."
    )
    stands_in_for = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="stand_ins", help_text="Which could not be said."
    )

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["group", "sequence", "channel"], name="alerts_one_delivery"),
            models.CheckConstraint(
                condition=models.Q(state__in=State.values),
                name="alerts_delivery_state",
            ),
        ]
        indexes = [
            models.Index(
                fields=["-urgency", "due_at"], condition=models.Q(state__in=UNSENT), name="alerts_delivery_due"
            ),
            models.Index(fields=["channel", "created_at"], name="alerts_delivery_rate"),
            models.Index(fields=["-created_at"], name="alerts_delivery_created"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel.name}: {self.state}"

    @classmethod
    def of(cls, notice: Notice, channel_id: int, at: datetime, **fields: Any) -> Self:
        """A row that says this notice; not saved yet."""
        return cls(
            channel_id=channel_id,
            event=notice.event,
            urgency=notice.severity.rank,
            stored_notice=stored(notice),
            created_at=at,
            gives_up_at=at + GIVE_UP_AFTER,
            **{"due_at": at, **fields},
        )

    @property
    def notice(self) -> Notice:
        return restored(self.stored_notice)

    def mark(self, state: State, **changes: Any) -> bool:
        """End this attempt; False when its lease ran out and somebody else took over."""
        return bool(
            Delivery.objects.filter(pk=self.pk, state=State.SENDING, attempts=self.attempts).update(
                state=state, lease_until=None, **changes
            )
        )


def stored(notice: Notice) -> dict[str, Any]:
    """The notice as JSON. Facts as pairs, because jsonb keeps no order of keys."""
    values = {field.name: getattr(notice, field.name) for field in fields(notice)}
    return values | {"facts": list(notice.facts.items()), "lines": list(notice.lines), "at": notice.at.isoformat()}


def restored(values: dict[str, Any]) -> Notice:
    return Notice(
        **values
        | {
            "event": Event(values["event"]),
            "severity": Severity(values["severity"]),
            "at": datetime.fromisoformat(values["at"]),
            "facts": dict(values["facts"]),
            "lines": tuple(values["lines"]),
        }
    )


class _Encoder(DjangoJSONEncoder):
    """Django cuts times to milliseconds; what is compared later must keep its microseconds."""

    def default(self, value: object) -> object:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


def as_json(value: object) -> str:
    return json.dumps(value, cls=_Encoder)
