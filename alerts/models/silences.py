"""What people do not want to hear for a while."""

from datetime import datetime
from typing import Self

from django.db import models, transaction

from alerts.decide import Mute
from alerts.models.choices import severities
from alerts.models.groups import AlertGroup
from alerts.signal import Severity


class SilenceQuerySet(models.QuerySet["Silence"]):
    def in_force(self, at: datetime) -> Self:
        return self.filter(ended_at=None, starts_at__lte=at, ends_at__gt=at)

    def visible_to(self, personas: list[str] | None) -> Self:
        return self if personas is None else self.filter(persona_id__in=personas)

    def mutes(self) -> list[Mute]:
        # The longest first: then nothing is looked at earlier than it can be heard.
        return [silence.mute() for silence in self.order_by("-ends_at", "pk")]


class Silence(models.Model):
    """From its start to its end nothing new is said of what it covers; what still fires then is said then."""

    persona_id = models.CharField("persona", max_length=255, blank=True, help_text="Empty: any.")
    rule = models.CharField(max_length=100, blank=True, help_text="Empty: any.")
    up_to = models.CharField(
        "up to severity",
        max_length=10,
        choices=severities,
        default=Severity.CRITICAL,
        help_text="What is worse is said all the same.",
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    owner = models.CharField(max_length=150)
    reason = models.CharField(max_length=300)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_by = models.CharField(max_length=150, blank=True, editable=False)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")),
                name="alerts_silence_ends_after_start",
                violation_error_message="A silence must end after it starts.",
            ),
            models.CheckConstraint(
                condition=~models.Q(owner="") & ~models.Q(reason=""),
                name="alerts_silence_has_owner_and_reason",
                violation_error_message="A silence needs an owner and a reason.",
            ),
        ]
        indexes = [models.Index(fields=["ends_at"], condition=models.Q(ended_at=None), name="alerts_silence_ends")]

    def __str__(self) -> str:
        return f"{self.rule or 'everything'} of {self.persona_id or 'anybody'} until {self.ends_at:%Y-%m-%d %H:%M}"

    def mute(self) -> Mute:
        return Mute(self.persona_id, self.rule, Severity(self.up_to), self.ends_at, self.owner, self.reason)

    def end(self, by: str, at: datetime) -> bool:
        """End it now; returns whether it had not ended yet. What it held back is said by the next sweep."""
        with transaction.atomic():
            ended = Silence.objects.filter(pk=self.pk, ended_at=None, ends_at__gt=at).update(ended_at=at, ended_by=by)
            if ended:
                covered = AlertGroup.objects.open()
                if self.persona_id:
                    covered = covered.filter(persona_id=self.persona_id)
                if self.rule:
                    covered = covered.filter(rule=self.rule)
                AlertGroup.objects.to_look_at(covered.values_list("pk", flat=True), at)
        self.refresh_from_db(fields=["ended_at", "ended_by"])
        return bool(ended)
