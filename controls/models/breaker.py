"""The circuit breaker's state: one row for each persona it ever touched, what moved it, and who overrode it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Coalesce

from costs.models.fields import ExactJSONField, MoneyField

LONGEST_OVERRIDE = timedelta(hours=24)
EVERYBODY = ""


class Level(models.TextChoices):
    """How much is held back; each level keeps what the ones before it do. Half open: a trial after a pause."""

    CLOSED = "closed"
    THROTTLE = "throttle"
    SWITCH = "switch"
    HALF_OPEN = "half_open"
    PAUSE = "pause"


class Policy(models.Model):
    """When the breaker acts on a persona and what it may do; the row without a persona is everybody's."""

    persona_id = models.CharField("persona", max_length=100, blank=True, default=EVERYBODY, unique=True)
    is_observing = models.BooleanField(
        "only observe", default=False, help_text="Record what would have been done and saved, and do nothing."
    )
    throttle_requests = models.BooleanField(default=True)
    disable_expensive_models = models.BooleanField(default=True)
    pause_persona = models.BooleanField(default=True)
    alert_human_operator = models.BooleanField(default=True)
    spike_from = models.DecimalField(
        max_digits=9, decimal_places=2, default=Decimal("3"), help_text="Times the baseline."
    )
    budget_from = models.DecimalField(max_digits=6, decimal_places=2, default=Decimal("90"), help_text="Per cent used.")
    roi_from = models.DecimalField(
        max_digits=6, decimal_places=2, default=Decimal("-60"), help_text="Per cent; below zero."
    )
    on_critical = models.BooleanField("on critical anomalies", default=True)
    minimum_events = models.PositiveIntegerField(default=20)
    minimum_amount = MoneyField(default=Decimal("0.05"), help_text="US dollars.")
    leave = models.DecimalField(
        max_digits=3, decimal_places=2, default=Decimal("0.7"), help_text="Calm is below this share of the threshold."
    )
    calm_seconds = models.PositiveIntegerField(
        default=90, validators=[MinValueValidator(1)], help_text="Three windows of 30 seconds: calm for so long."
    )
    stay_seconds = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1)], help_text="The shortest stay on a level."
    )
    expiry_seconds = models.PositiveIntegerField(
        default=3600, validators=[MinValueValidator(1)], help_text="A level that nothing renews ends after so long."
    )
    pause_seconds = models.PositiveIntegerField(default=3600, validators=[MinValueValidator(1)])
    medium_per_minute = models.PositiveIntegerField(default=50, validators=[MinValueValidator(1)])
    high_per_minute = models.PositiveIntegerField(default=30, validators=[MinValueValidator(1)])
    critical_per_minute = models.PositiveIntegerField(default=10, validators=[MinValueValidator(1)])

    class Meta:
        verbose_name = "breaker policy"
        verbose_name_plural = "breaker policies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(spike_from__gt=1)
                & models.Q(budget_from__gt=0)
                & models.Q(roi_from__lt=0)
                & models.Q(leave__gt=0)
                & models.Q(leave__lt=1)
                & models.Q(minimum_amount__gte=0),
                name="controls_policy_makes_sense",
            ),
            models.CheckConstraint(
                condition=models.Q(medium_per_minute__gt=0, high_per_minute__gt=0, critical_per_minute__gt=0),
                name="controls_policy_lets_some_through",
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.persona_id or 'everybody'}"


class ControlQuerySet(models.QuerySet["Control"]):
    def active(self) -> "ControlQuerySet":
        return self.exclude(level=Level.CLOSED)

    def holding(self, at: datetime) -> "ControlQuerySet":
        """Those that hold somebody back; a pause that ran out is a trial until the breaker moves."""
        return self.active().filter(models.Q(expires_at__gt=at) | models.Q(level=Level.PAUSE))

    def over(self, at: datetime) -> "ControlQuerySet":
        """Those to let go without another look: expired, or begun while their policy acted and now only observes.

        And the other way round: what was only noted must not begin to bite.
        """
        own = Policy.objects.filter(persona_id=models.OuterRef("persona_id")).values("is_observing")
        everybodys = Policy.objects.filter(persona_id=EVERYBODY).values("is_observing")
        is_observed = Coalesce(models.Subquery(own), models.Subquery(everybodys), False)
        of_another = ~models.Q(is_observing=is_observed)
        return self.active().filter(models.Q(expires_at__lte=at) | of_another, wanted_level="")

    def wanted(self) -> "ControlQuerySet":
        """Those with a step that nobody has taken yet."""
        return self.exclude(wanted_level="")

    def seen_by(self, personas: Any) -> "ControlQuerySet":
        return self if personas is None else self.filter(persona_id__in=personas)


class Control(models.Model):
    """Where the breaker stands for one persona. There is no row before it first acts.

    Changed by compare-and-set on `version`. `next_free_at` is the throttle's whole state (GCRA), taken by decisions.
    The wanted step is written by whoever observed it, and taken by a task of controls.
    """

    persona_id = models.CharField("persona", max_length=100, primary_key=True)
    level = models.CharField(max_length=10, choices=Level, default=Level.CLOSED)
    is_observing = models.BooleanField(default=False)
    per_minute = models.PositiveIntegerField(null=True, blank=True)
    next_free_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(max_length=100, blank=True, default="")
    severity = models.CharField(max_length=10, blank=True, default="")
    # How far beyond its threshold the trigger was when the level began; 1 is the threshold.
    excess = models.DecimalField(max_digits=30, decimal_places=6, null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    since = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    calm_since = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=0)
    wanted_level = models.CharField(max_length=10, choices=Level, blank=True, default="")
    wanted_at = models.DateTimeField(null=True, blank=True)
    wanted = ExactJSONField(default=dict, blank=True)

    objects = ControlQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["level"], condition=~models.Q(level="closed"), name="controls_control_active"),
            models.Index(fields=["wanted_at"], condition=~models.Q(wanted_level=""), name="controls_control_wanted"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(level="closed") | models.Q(expires_at__gt=models.F("since")),
                name="controls_control_expires",
            ),
            models.CheckConstraint(
                condition=models.Q(per_minute=None) | models.Q(per_minute__gt=0), name="controls_control_rate_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.persona_id}: {self.level}"


class ControlTransition(models.Model):
    """A step that the breaker took, or would have taken where it only observes. Append-only."""

    persona_id = models.CharField("persona", max_length=100)
    version = models.PositiveIntegerField()
    from_level = models.CharField(max_length=10, choices=Level)
    to_level = models.CharField(max_length=10, choices=Level)
    per_minute = models.PositiveIntegerField(null=True, blank=True)
    trigger = models.CharField(max_length=100, blank=True, default="")
    severity = models.CharField(max_length=10, blank=True, default="")
    reason = models.TextField()
    evidence = ExactJSONField(default=dict)
    actor = models.CharField(max_length=200)
    is_observing = models.BooleanField(default=False)
    observed_at = models.DateTimeField(help_text="When the reading was taken.")
    at = models.DateTimeField(help_text="From when on decisions obeyed it.")
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "transition"
        indexes = [
            models.Index(fields=["at"], name="controls_transition_by_time"),
            models.Index(fields=["to_level", "at"], name="controls_transition_paused"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["persona_id", "version"], name="controls_transition_numbered"),
            models.CheckConstraint(condition=~models.Q(actor=""), name="controls_transition_has_an_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.persona_id}: {self.from_level} to {self.to_level}"


class OverrideQuerySet(models.QuerySet["Override"]):
    def active(self, at: datetime) -> "OverrideQuerySet":
        return self.filter(starts_at__lte=at, expires_at__gt=at, ended_at=None)

    def seen_by(self, personas: Any) -> "OverrideQuerySet":
        """Those of these personas, and those of everybody."""
        return self if personas is None else self.filter(persona_id__in=[EVERYBODY, *personas])


class Override(models.Model):
    """A person's word over the breaker, for one persona or (without one) for all. It never lifts a hard budget."""

    class Kind(models.TextChoices):
        FORCE_OPEN = "force_open", "force open: nothing is let through"
        FORCE_CLOSED = "force_closed", "force closed: everything is let through"
        DISABLED = "disabled", "disabled: everything is let through, and the breaker does not watch"

    persona_id = models.CharField(
        "persona", max_length=100, blank=True, default=EVERYBODY, help_text="Empty: everybody."
    )
    kind = models.CharField(max_length=12, choices=Kind)
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True, default="")

    objects = OverrideQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["persona_id", "expires_at"], name="controls_override_active")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("starts_at"))
                & models.Q(expires_at__lte=models.F("starts_at") + LONGEST_OVERRIDE),
                name="controls_override_expires",
            ),
            models.CheckConstraint(
                condition=~models.Q(actor="") & ~models.Q(reason=""), name="controls_override_is_accounted_for"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.persona_id or 'everybody'}"
