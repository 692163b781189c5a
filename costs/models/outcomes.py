"""What posts brought: outcomes as they were told, for ever, and their sums by hour and by post.

As for events an outcome is told once and never changed; a follow that is taken back is another outcome, of -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Sum

from costs.models.fields import SumField


class OutcomeKind(models.TextChoices):
    FOLLOW = "follow"
    ENGAGEMENT = "engagement"
    REVENUE = "revenue"


# What needs a quantity; revenue needs an amount.
COUNTED = (OutcomeKind.FOLLOW, OutcomeKind.ENGAGEMENT)
AMOUNT_LIMIT = Decimal(1_000_000_000)
QUANTITY_LIMIT = Decimal(1_000_000_000_000)


class QuantityField(models.DecimalField):  # type: ignore[type-arg]
    """How many, with 12 decimals and as wide as every sum."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"max_digits": 38, "decimal_places": 12})


class Outcome(models.Model):
    """Something that a post brought. Never updated, never deleted (see migration 0007)."""

    source = models.CharField(max_length=100)
    event_id = models.CharField(max_length=255)
    digest = models.BinaryField(help_text="Of what the caller sent: the same id with another body is a conflict.")
    timestamp = models.DateTimeField(help_text="When it happened.")
    created_at = models.DateTimeField(help_text="When it was accepted.")
    post_id = models.CharField(max_length=255, blank=True)
    persona_id = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=20, choices=OutcomeKind)
    quantity = QuantityField(null=True, help_text="How many; negative where they were taken back.")
    amount = SumField(null=True, help_text="US dollars; negative for a refund.")

    class Meta:
        constraints = [
            # NaN is greater than every number: the upper bounds keep it out.
            models.CheckConstraint(
                condition=models.Q(quantity__gt=-QUANTITY_LIMIT, quantity__lt=QUANTITY_LIMIT),
                name="costs_outcome_quantity",
            ),
            models.CheckConstraint(
                condition=models.Q(amount__gt=-AMOUNT_LIMIT, amount__lt=AMOUNT_LIMIT), name="costs_outcome_amount"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=COUNTED, quantity__isnull=False)
                | models.Q(kind=OutcomeKind.REVENUE, amount__isnull=False),
                name="costs_outcome_says_how_much",
            ),
            # The id comes first: the index also finds an event of which only the id is known.
            models.UniqueConstraint(fields=["event_id", "source"], name="costs_outcome_once"),
        ]
        indexes = [
            models.Index(fields=["post_id"], condition=~models.Q(post_id=""), name="costs_outcome_post"),
            models.Index(fields=["persona_id", "timestamp"], name="costs_outcome_persona"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id} of {self.source}"


class OutcomeCounter(models.Model):
    quantity = QuantityField()
    amount = SumField()
    outcomes = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return "/".join(map(str, self.pk))


@dataclass(frozen=True, slots=True)
class OutcomeSums:
    """Quantity, US dollars, and how many outcomes told of them."""

    quantity: Decimal
    amount: Decimal
    outcomes: int


class HourlyOutcomeQuerySet(models.QuerySet["HourlyOutcome"]):
    def sums(
        self, persona_ids: Sequence[str], start: datetime, end: datetime
    ) -> dict[tuple[str, OutcomeKind], OutcomeSums]:
        """By (persona, kind), over the hours that begin in [start, end). What brought nothing is absent."""
        hours = self.filter(persona_id__in=persona_ids, hour__gte=start, hour__lt=end)
        grouped = hours.values_list("persona_id", "kind").order_by()
        rows = grouped.annotate(Sum("quantity"), Sum("amount"), Sum("outcomes"))
        return {(persona, OutcomeKind(kind)): OutcomeSums(*sums) for persona, kind, *sums in rows}


class HourlyOutcome(OutcomeCounter):
    """What the posts of one persona brought in one hour of UTC."""

    pk = models.CompositePrimaryKey("persona_id", "hour", "kind")
    persona_id = models.CharField(max_length=100)
    hour = models.DateTimeField()
    kind = models.CharField(max_length=20)

    objects = HourlyOutcomeQuerySet.as_manager()


class PostOutcome(OutcomeCounter):
    """What one post brought, by persona and kind."""

    pk = models.CompositePrimaryKey("post_id", "persona_id", "kind")
    post_id = models.CharField(max_length=255)
    persona_id = models.CharField(max_length=100)
    kind = models.CharField(max_length=20)
