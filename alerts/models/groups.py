"""What fires: each alert, and the incident of one persona and rule that people are told about as one."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from alerts.decide import Incident
from alerts.models.choices import reasons, severities, statuses
from alerts.signal import Severity, Status


class AlertGroupQuerySet(models.QuerySet["AlertGroup"]):
    def open(self) -> Self:
        return self.filter(resolved_at=None)

    def unacknowledged(self) -> Self:
        return self.open().filter(acknowledged_at=None)

    def visible_to(self, personas: list[str] | None) -> Self:
        """Those of the personas that a key is bound to; None: all."""
        return self if personas is None else self.filter(persona_id__in=personas)

    def due(self, at: datetime) -> Self:
        return self.filter(due_at__lte=at).order_by("due_at")

    def lock(self) -> Self:
        """In the order in which everybody locks groups: nobody waits in a circle.

        Not against those who write rows that refer to it: they hold locks of their own.
        """
        return self.select_for_update(no_key=True).order_by("persona_id", "rule", "pk")

    def to_look_at(self, ids: Iterable[int], at: datetime) -> None:
        """Have the sweep look at these again."""
        locked = list(self.open().filter(pk__in=list(ids)).lock().values_list("pk", flat=True))
        AlertGroup.objects.filter(pk__in=locked).update(due_at=at)


class AlertGroup(models.Model):
    """An incident: all that one rule found for one persona, from the first alert until the last is resolved.

    At most one row per (persona, rule) is current. When something fires again soon after the end it is the same
    incident, the row opens anew; later a new row takes its place. A row that is not current is over for good.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    persona_id = models.CharField("persona", max_length=255, blank=True)
    rule = models.CharField(max_length=100)
    is_current = models.BooleanField(default=True)
    opened_at = models.DateTimeField()
    firing_since = models.DateTimeField(help_text="Later than the opening if it was over in between.")
    resolved_at = models.DateTimeField(null=True, blank=True)
    severity = models.CharField(max_length=10, choices=severities, help_text="The worst that fires, or did last.")
    firing = models.PositiveIntegerField(default=0, help_text="How many of its alerts fire.")
    total = models.PositiveIntegerField(default=0, help_text="How many alerts belong to it.")
    said_severity = models.CharField(max_length=10, choices=severities, blank=True, help_text="The worst ever said.")
    said_at = models.DateTimeField(null=True, blank=True, help_text="When it was last said that it fires.")
    told_from = models.PositiveIntegerField(
        null=True, blank=True, help_text="Since this message the channels believe that it fires. Empty: they do not."
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_severity = models.CharField(max_length=10, choices=severities, blank=True)
    escalates_at = models.DateTimeField(null=True, blank=True, help_text="When everybody is told, if nobody takes it.")
    escalated_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, help_text="When there may be something to say next.")
    sequence = models.PositiveIntegerField(default=0, help_text="Counts what was said.")

    objects = AlertGroupQuerySet.as_manager()

    class Meta:
        verbose_name = "alert group"
        constraints = [
            models.UniqueConstraint(
                fields=["persona_id", "rule"], condition=models.Q(is_current=True), name="alerts_one_current_group"
            ),
            models.CheckConstraint(
                condition=models.Q(is_current=True) | models.Q(resolved_at__isnull=False),
                name="alerts_open_group_is_current",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="alerts_group_due"),
            models.Index(fields=["persona_id", "rule"], condition=models.Q(resolved_at=None), name="alerts_group_open"),
            models.Index(fields=["-opened_at"], name="alerts_group_opened"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} of {self.persona_id or 'all'}: {self.severity}"

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None

    @property
    def dedup_key(self) -> str:
        """The same in everything that is ever said about this incident."""
        return f"finops-{self.key}"

    @property
    def worst(self) -> Severity:
        return Severity(self.severity)

    def incident(self) -> Incident:
        return Incident(
            self.persona_id,
            self.rule,
            self.worst if self.is_open else None,
            self.firing_since,
            said=Severity(self.said_severity) if self.said_severity else None,
            said_at=self.said_at,
            is_told=self.told_from is not None,
            acknowledged=Severity(self.acknowledged_severity) if self.acknowledged_severity else None,
            escalates_at=self.escalates_at,
            was_escalated=self.escalated_at is not None,
        )

    def take(self, incident: Incident, at: datetime) -> None:
        """Become what was decided; `sequence` is that of the message which decided it, if there is one."""
        self.said_severity, self.said_at = incident.said or "", incident.said_at
        if not incident.is_told:
            self.told_from = None
        elif self.told_from is None:
            self.told_from = self.sequence
        if incident.acknowledged is None:
            self.acknowledged_at, self.acknowledged_by, self.acknowledged_severity = None, "", ""
        self.escalates_at = incident.escalates_at
        if incident.was_escalated and self.escalated_at is None:
            self.escalated_at = at

    # What `take`, counting and routing may change.
    CHANGING = (
        "opened_at",
        "firing_since",
        "resolved_at",
        "severity",
        "firing",
        "total",
        "said_severity",
        "said_at",
        "told_from",
        "acknowledged_at",
        "acknowledged_by",
        "acknowledged_severity",
        "escalates_at",
        "escalated_at",
        "due_at",
        "sequence",
    )


class AlertQuerySet(models.QuerySet["Alert"]):
    def firing(self) -> Self:
        return self.filter(status=Status.FIRING)

    def visible_to(self, personas: list[str] | None) -> Self:
        return self if personas is None else self.filter(persona_id__in=personas)


class Alert(models.Model):
    """The last that was heard of one fingerprint."""

    fingerprint = models.CharField(max_length=500, unique=True)
    group = models.ForeignKey(AlertGroup, models.CASCADE, related_name="alerts")
    persona_id = models.CharField("persona", max_length=255, blank=True)
    rule = models.CharField(max_length=100)
    scope = models.JSONField(default=dict)
    severity = models.CharField(max_length=10, choices=severities)
    status = models.CharField(max_length=12, choices=statuses)
    title = models.TextField()
    # Pairs, because jsonb keeps no order of keys, and people read facts in theirs.
    fact_pairs = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    url = models.TextField(blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(help_text="When the last signal was made.")

    objects = AlertQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["group", "status", "severity"], name="alerts_alert_counts"),
            models.Index(fields=["persona_id", "-started_at"], name="alerts_alert_persona"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def facts(self) -> Mapping[str, Any]:
        return dict(self.fact_pairs)


class Decision(models.Model):
    """Why something was not said: one row for each incident and reason, counted up."""

    group = models.ForeignKey(AlertGroup, models.CASCADE, related_name="decisions")
    reason = models.CharField(max_length=40, choices=reasons)
    sentence = models.TextField()
    count = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    last_fingerprint = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "reason"], name="alerts_one_decision")]
        indexes = [models.Index(fields=["-last_at"], name="alerts_decision_last")]

    def __str__(self) -> str:
        return f"{self.reason}: {self.sentence}"
