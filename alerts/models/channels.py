"""Where alerts can be said, and which of them go where."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from alerts.channels import TRANSPORTS
from alerts.channels.base import Transport
from alerts.decide import Outlet, Path, Reason
from alerts.models.choices import severities
from alerts.signal import Severity

# What a channel takes from Django's settings when its own have none; without the first it is not configured.
SHARED_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "slack": {"url": "FINOPS_SLACK_WEBHOOK_URL"},
    "pagerduty": {"routing_key": "FINOPS_PAGERDUTY_ROUTING_KEY", "url": "FINOPS_PAGERDUTY_URL"},
    "email": {"to": "FINOPS_ALERT_EMAIL_TO"},
}
# These open an incident of their own at a trigger: it must be taken and closed there, and belongs into no digest.
KEEPS_INCIDENTS = frozenset({"pagerduty"})
# After so many failures in a row. Never longer than the last: so late do people hear once the receiver is back.
REST = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60))


def kinds() -> list[tuple[str, str]]:
    return [(kind, kind) for kind in TRANSPORTS]


class ChannelQuerySet(models.QuerySet["Channel"]):
    def outlets(self) -> dict[str, Outlet]:
        """All channels as routing sees them, by name."""
        return {channel.name: channel.outlet() for channel in self.select_related("fallback").order_by("pk")}


class Channel(models.Model):
    """A receiver of alerts. One that is broken is switched off by the engine, with the reason."""

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=30, choices=kinds)
    settings = models.JSONField(
        default=dict, blank=True, help_text="Addresses and keys; what is missing comes from the environment."
    )
    enabled = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=500, blank=True, editable=False)
    paused_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Its receiver asked us to wait until then, or failed."
    )
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="In a row; a success ends it.")
    fallback = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="stands_in_for",
        help_text="Says what this channel cannot.",
    )

    objects = ChannelQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.fallback_id and self.fallback_id == self.pk:
            raise ValidationError({"fallback": "A channel cannot stand in for itself."})
        if self.kind in TRANSPORTS and self.is_configured:
            try:
                self.transport.check(self.all_settings())
            except ValueError as error:
                raise ValidationError({"settings": str(error)}) from error

    @property
    def transport(self) -> Transport:
        return TRANSPORTS[self.kind]

    def all_settings(self) -> dict[str, Any]:
        """Its own settings, completed from the environment. Secret: never to be shown or logged."""
        shared = SHARED_SETTINGS.get(self.kind, {})
        inherited = {key: value for key, name in shared.items() if (value := getattr(django, name, ""))}
        merged = {**inherited, **{key: value for key, value in self.settings.items() if value}}
        if isinstance(merged.get("to"), str):
            merged["to"] = [address.strip() for address in merged["to"].split(",") if address.strip()]
        return merged

    @property
    def is_configured(self) -> bool:
        complete = self.all_settings()
        needed = next(iter(SHARED_SETTINGS.get(self.kind, {})), None)
        return bool(complete.get(needed)) if needed else bool(complete)

    @property
    def keeps_incidents(self) -> bool:
        return self.kind in KEEPS_INCIDENTS

    def outlet(self) -> Outlet:
        unusable, sentence = self._unusable()
        return Outlet(self.name, self.fallback.name if self.fallback else "", unusable, sentence)

    def _unusable(self) -> tuple[Reason | None, str]:
        if not self.enabled:
            return Reason.DISABLED, f"{self.name} is switched off: {self.disabled_reason or 'by a person'}"
        if self.kind not in TRANSPORTS:
            return Reason.ABSENT, f"{self.name} is of the kind {self.kind}, which does not exist."
        if not self.is_configured:
            return Reason.NOT_CONFIGURED, f"{self.name} has no address or key."
        return None, ""

    def switch_off(self, reason: str, at: datetime) -> bool:
        """Whether it was this call that did it. What waits for the channel is moved by who calls."""
        return bool(
            Channel.objects.filter(pk=self.pk, enabled=True).update(
                enabled=False, disabled_at=at, disabled_reason=reason[:500], paused_until=None, failures=0
            )
        )

    def switch_on(self) -> None:
        self.enabled, self.disabled_at, self.disabled_reason = True, None, ""
        self.paused_until, self.failures = None, 0
        self.save(update_fields=["enabled", "disabled_at", "disabled_reason", "paused_until", "failures"])

    def pause(self, until: datetime) -> None:
        """Its receiver wants no message before then."""
        later = models.Q(paused_until=None) | models.Q(paused_until__lt=until)
        Channel.objects.filter(later, pk=self.pk).update(paused_until=until)

    def failed(self, at: datetime) -> None:
        """Its receiver is in trouble: the channel rests, longer each time, and is then probed by one message."""
        Channel.objects.filter(pk=self.pk).update(failures=models.F("failures") + 1)
        self.refresh_from_db(fields=["failures"])
        self.pause(at + REST[min(self.failures, len(REST)) - 1])

    def worked(self) -> None:
        """Its receiver is well (again): nothing waits for the end of a rest."""
        Channel.objects.filter(pk=self.pk, failures__gt=0).update(failures=0, paused_until=None)


class RouteQuerySet(models.QuerySet["Route"]):
    def paths(self) -> list[Path]:
        return [
            Path(route.persona_id, route.rule, Severity(route.severity), tuple(route.channels)) for route in self.all()
        ]


class Route(models.Model):
    """Which channels a severity goes to. The most specific one counts: persona and rule, persona, rule, any."""

    persona_id = models.CharField("persona", max_length=255, blank=True, help_text="Empty: any.")
    rule = models.CharField(max_length=100, blank=True, help_text="Empty: any.")
    severity = models.CharField(max_length=10, choices=severities)
    channels = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, help_text="Names of channels. Empty: not said."
    )

    objects = RouteQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["persona_id", "rule", "severity"], name="alerts_one_route"),
        ]

    def __str__(self) -> str:
        return f"{self.severity} {self.rule or 'of any rule'} for {self.persona_id or 'anybody'}"

    def clean(self) -> None:
        unknown = set(self.channels) - set(Channel.objects.values_list("name", flat=True))
        if unknown:
            raise ValidationError({"channels": f"No such channel: {', '.join(sorted(unknown))}."})
