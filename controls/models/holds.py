"""What a decision left behind: money reserved for a call that was let through, and calls that were turned away."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from costs.events import AMOUNT_LIMIT
from costs.models.fields import MoneyField

# Of a hold with all its extensions: who works longer asks again.
LONGEST_LIFE = timedelta(hours=24)


class HoldQuerySet(models.QuerySet["Hold"]):
    def open(self) -> "HoldQuerySet":
        return self.filter(state=Hold.State.OPEN)

    def switched(self) -> "HoldQuerySet":
        """Those of calls that were to use another model than they had asked for."""
        return self.exclude(model=models.F("asked_model"))

    def pending(self) -> "HoldQuerySet":
        """Those of which something stays counted until a person decides or a price arrives."""
        return self.filter(pending__gt=0)

    def seen_by(self, personas: Any) -> "HoldQuerySet":
        return self if personas is None else self.filter(persona_id__in=personas)


class Hold(models.Model):
    """The estimate of one call, counted in its budgets from the decision until the call's event, release or expiry.

    It ends in exactly one state. `actual` is what the event came to; of a reported amount below the computed one, the
    larger. `pending` stays counted beside what budgets have spent: the estimate of an event without a price, or what a
    reported amount falls short of the computed one. `overrun` is what was booked beyond what was reserved.
    """

    class State(models.TextChoices):
        OPEN = "open"
        SETTLED = "settled"
        UNPRICED = "unpriced"
        RELEASED = "released"
        EXPIRED = "expired"
        WRITTEN_OFF = "written off"

    id = models.UUIDField(primary_key=True, editable=False)
    source = models.CharField(max_length=100)
    persona_id = models.CharField("persona", max_length=100, blank=True)
    post_id = models.CharField("post", max_length=255, blank=True)
    operation = models.CharField(max_length=100, blank=True)
    cost_type = models.CharField(max_length=100)
    provider = models.CharField(max_length=100, blank=True)
    asked_model = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    amount = MoneyField(help_text="The estimate in US dollars, at the prices of `model`.")
    asked_amount = MoneyField(help_text="The same at the prices of `asked_model`.")
    budget_ids = ArrayField(models.BigIntegerField(), default=list)
    period_starts = ArrayField(models.DateTimeField(), default=list)
    # What a policy that only observes would have done: throttle, switch or deny.
    observed = models.CharField(max_length=10, blank=True, default="")
    state = models.CharField(max_length=12, choices=State, default=State.OPEN)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=200, blank=True, default="", help_text="Empty: the engine.")
    event_id = models.CharField(max_length=255, blank=True, default="")
    actual = MoneyField(null=True, blank=True)
    asked_actual = MoneyField(null=True, blank=True, help_text="What the event had cost with `asked_model`.")
    pending = MoneyField(default=Decimal(0))
    overrun = MoneyField(default=Decimal(0))

    objects = HoldQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["expires_at"], condition=models.Q(state="open"), name="controls_hold_open"),
            models.Index(fields=["created_at"], condition=models.Q(pending__gt=0), name="controls_hold_pending"),
            models.Index(
                fields=["persona_id", "created_at"],
                condition=~models.Q(model=models.F("asked_model")) | ~models.Q(observed=""),
                name="controls_hold_switched",
            ),
            # Ids are in the order of time: a few pages are enough to find the oldest.
            BrinIndex(fields=["created_at"], name="controls_hold_by_time", autosummarize=True),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount__gte=0, amount__lt=AMOUNT_LIMIT), name="controls_hold_amount_bounded"
            ),
            models.CheckConstraint(
                condition=models.Q(pending__gte=0, pending__lt=AMOUNT_LIMIT), name="controls_hold_pending_bounded"
            ),
            models.CheckConstraint(
                condition=models.Q(state="open", closed_at=None)
                | (~models.Q(state="open") & models.Q(closed_at__isnull=False)),
                name="controls_hold_closes_once",
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("created_at"))
                & models.Q(expires_at__lte=models.F("created_at") + LONGEST_LIFE),
                name="controls_hold_expires",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} hold of {self.persona_id or 'no persona'} on {self.model}"


class RefusalQuerySet(models.QuerySet["Refusal"]):
    def avoided(self) -> "RefusalQuerySet":
        """Those that were never let in: a call that only had to wait saved nothing."""
        return self.filter(admitted_at=None)

    def seen_by(self, personas: Any) -> "RefusalQuerySet":
        return self if personas is None else self.filter(persona_id__in=personas)


class Refusal(models.Model):
    """A call that was throttled or denied, however often it asked again: same persona, post, operation and model."""

    class Decision(models.TextChoices):
        THROTTLE = "throttle"
        DENY = "deny"

    # A digest of what makes it the same call.
    key = models.BinaryField(max_length=16)
    persona_id = models.CharField("persona", max_length=100, blank=True)
    post_id = models.CharField("post", max_length=255, blank=True)
    operation = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100)
    decision = models.CharField(max_length=10, choices=Decision)
    reason = models.CharField(max_length=20)
    budget_id = models.BigIntegerField(null=True, blank=True)
    amount = MoneyField(help_text="What the call would have cost, in US dollars.")
    attempts = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    admitted_at = models.DateTimeField(null=True, blank=True)

    objects = RefusalQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["persona_id", "first_at"], name="controls_refusal_of_persona"),
            BrinIndex(fields=["first_at"], name="controls_refusal_by_time", autosummarize=True),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["key"], condition=models.Q(admitted_at=None), name="controls_refusal_asked_again"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} of {self.persona_id or 'no persona'} on {self.model}"
