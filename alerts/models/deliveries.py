"""One message to one channel: the work row of everything that is said."""

import json
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import RowNumber

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
MOST_URGENT = ("-urgency", "due_at", "pk")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def claim(self, delivery_id: int, at: datetime) -> "Delivery | None":
        """Take the row for one attempt, which is counted before the work; None when it is not due or somebody's.

        What cannot be claimed is not due, by construction: else it would stand before what can be for ever.
        """
        # No join, so that this is one UPDATE: who waited for another one's claim judges the row again.
        due = self.due(at).filter(pk=delivery_id).order_by()
        if not due.update(state=State.SENDING, attempts=models.F("attempts") + 1, lease_until=at + LEASE):
            return None
        return self.select_related("channel", "group").get(pk=delivery_id)

    def due(self, at: datetime) -> Self:
        """What can be attempted now, the most urgent first."""
        waits = models.Q(state=State.PENDING, due_at__lte=at) | models.Q(state=State.SENDING, lease_until__lte=at)
        # A message is not said before an earlier one of its incident on the same channel is said or given up.
        earlier = Delivery.objects.unsent().filter(
            group=OuterRef("group"), channel=OuterRef("channel"), sequence__lt=OuterRef("sequence")
        )
        # An urgent one waits for no digest.
        is_behind = models.Q(Exists(earlier.filter(digest=None))) | models.Q(Exists(earlier), urgency__lt=URGENT.rank)
        ready = self.filter(waits, ~is_behind, digest=None).exclude(channel__in=_closed(at))
        return ready.order_by(*MOST_URGENT)

    def first_of_each_channel(self) -> Self:
        """Of what is due one for each channel: a channel with a thousand in front takes no place from another."""
        place = models.Window(RowNumber(), partition_by="channel", order_by=MOST_URGENT)
        return self.annotate(place=place).filter(place=1)

    def unsent(self) -> Self:
        return self.filter(state__in=UNSENT)

    def dead(self) -> Self:
        return self.filter(state=State.DEAD)

    def given_up(self, since: datetime) -> Self:
        """The dead, tests apart, whose time for tries ended after that.

        A row does not say when it died: one that was refused for good counts for up to a day longer.
        """
        return self.dead().filter(gives_up_at__gt=since).exclude(event=Event.TEST)

    def replayable(self) -> Self:
        """The dead that are still true: later ones were not written for the channel, and what is over is not begun."""
        later = Delivery.objects.filter(
            group=OuterRef("group"), channel=OuterRef("channel"), sequence__gt=OuterRef("sequence")
        )
        is_over = models.Q(group__resolved_at__isnull=False) & ~models.Q(event=Event.RESOLVED)
        return self.dead().exclude(is_over).exclude(Exists(later))

    def replay(self, at: datetime) -> list[int]:
        """Try those of these again that are dead and still true; returns which."""
        with transaction.atomic():
            # Who ends the incident in this moment is waited for, or waits and sees that it must be ended there too.
            list(AlertGroup.objects.filter(pk__in=self.dead().values("group")).lock())
            replayed = list(self.replayable().values_list("pk", flat=True))
            Delivery.objects.dead().filter(pk__in=replayed).update(
                state=State.PENDING,
                attempts=0,
                due_at=at,
                gives_up_at=at + GIVE_UP_AFTER,
                lease_until=None,
                error="",
                digest=None,
            )
        return replayed

    def let_pass(self, urgent: Iterable["Delivery"], at: datetime) -> None:
        """Try now what stands before these on their channels: an urgent message waits for no back-off of another."""
        after = Delivery.objects.filter(
            pk__in=[delivery.pk for delivery in urgent],
            group=OuterRef("group"),
            channel=OuterRef("channel"),
            sequence__gt=OuterRef("sequence"),
        )
        self.filter(Exists(after), state=State.PENDING, digest=None, due_at__gt=at).update(due_at=at)


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


def _closed(at: datetime) -> models.QuerySet[Channel]:
    """The channels that get nothing now: they rest, or enough is on its way to them.

    All that failed last have one place together. However many receivers hang, a probe holds one process of all.
    """
    on_its_way = Delivery.objects.filter(state=State.SENDING, lease_until__gt=at, digest=None)
    busy = on_its_way.values("channel").annotate(sends=models.Count("pk")).filter(sends__gte=MOST_AT_ONCE).order_by()
    probes = on_its_way.filter(channel__failures__gt=0)
    return Channel.objects.filter(
        models.Q(paused_until__gt=at)
        | models.Q(pk__in=busy.values("channel"))
        | models.Q(Exists(probes), failures__gt=0)
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
