"""What was found: one open row for each rule and scope, and the list of everything that happened to it."""

from collections.abc import Mapping
from typing import Any, Self

from django.db import models

from alerts.signal import Severity
from anomalies.detectors import DETECTORS
from anomalies.lifecycle import Change, State
from costs.models.fields import ExactJSONField


def rules() -> list[tuple[str, str]]:
    return [(rule, rule) for rule in (*DETECTORS, "emergency_override")]


def severities() -> list[tuple[str, str]]:
    return [(severity.value, severity.value) for severity in Severity]


def changes() -> list[tuple[str, str]]:
    return [(change.value, change.value) for change in Change]


class AnomalyQuerySet(models.QuerySet["Anomaly"]):
    def open(self) -> Self:
        return self.filter(resolved_at=None)

    def visible_to(self, personas: list[str] | None) -> Self:
        """Those of the personas that a key is bound to; None: all."""
        return self if personas is None else self.filter(persona_id__in=personas)


class Anomaly(models.Model):
    """One incident, from its opening to its end."""

    rule = models.CharField("type", max_length=40, choices=rules)
    scope_key = models.CharField(max_length=700, help_text="What it is about, as one text.")
    scope = models.JSONField(help_text="What it is about: persona, post, budget, …")
    persona_id = models.CharField("persona", max_length=100, blank=True)
    post_id = models.CharField("post", max_length=255, blank=True)
    severity = models.CharField(max_length=10, choices=severities)
    current = models.DecimalField(max_digits=38, decimal_places=12, help_text="At its worst.")
    latest = models.DecimalField(max_digits=38, decimal_places=12, null=True, help_text="At the last look.")
    baseline = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    multiplier = models.DecimalField(max_digits=38, decimal_places=6, null=True)
    score = models.DecimalField(max_digits=38, decimal_places=6, help_text="What was compared with the rule's levels.")
    evidence = ExactJSONField(default=dict, help_text="The window, what was compared, and what drove it.")
    opened_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(help_text="When it was last found, not calm.")
    calm_since = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=200, blank=True)
    false_positive_by = models.CharField(max_length=150, blank=True)

    objects = AnomalyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "anomalies"
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "scope_key"], condition=models.Q(resolved_at=None), name="anomalies_one_open"
            )
        ]
        indexes = [
            models.Index(fields=["persona_id", "-opened_at"], name="anomalies_persona"),
            models.Index(fields=["-opened_at"], name="anomalies_opened"),
            models.Index(fields=["post_id"], condition=~models.Q(post_id=""), name="anomalies_post"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} of {self.persona_id or 'all'}: {self.severity}"

    @property
    def state(self) -> State:
        return State(Severity(self.severity), self.calm_since)

    @property
    def fingerprint(self) -> str:
        """The identity of this incident for alerts."""
        return f"anomaly-{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None


class Transition(models.Model):
    """Something that happened to an anomaly. Rows are only ever added."""

    anomaly = models.ForeignKey(Anomaly, models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    change = models.CharField(max_length=20, choices=changes)
    severity = models.CharField(max_length=10)
    current = models.DecimalField(max_digits=38, decimal_places=12)
    actor = models.CharField(max_length=150, default="engine")
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.change} at {self.at:%Y-%m-%d %H:%M:%S}"


def key_of(scope: Mapping[str, Any]) -> str:
    """A scope as one text, the same however it was put together."""
    return "|".join(f"{name}={scope[name]}" for name in sorted(scope))


def tolerated_scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What a person's judgement holds for: the persona, not the one post."""
    return {name: value for name, value in scope.items() if name != "post_id"}


class Tolerance(models.Model):
    """What a person called a false alarm: up to this score it is normal for this persona, until the date."""

    persona_id = models.CharField("persona", max_length=100, blank=True)
    rule = models.CharField("type", max_length=40, choices=rules)
    scope_key = models.CharField(max_length=700)
    up_to = models.DecimalField(max_digits=38, decimal_places=6, help_text="As the rule measures: what is normal.")
    until = models.DateTimeField()
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    anomaly = models.ForeignKey(Anomaly, models.SET_NULL, null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "scope_key"], name="anomalies_one_tolerance")]

    def __str__(self) -> str:
        return f"{self.rule} of {self.persona_id or 'all'} up to {self.up_to.normalize():f}"
