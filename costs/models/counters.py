"""Sums that the drain keeps beside the ledger, so that no read has to add up lines.

Absent values are '' here, because a key column must not be null. Every counter equals the lines it stands for at
every committed snapshot; `manage.py verify_ledger` proves it.
"""

from django.db import models

from costs.models.fields import SumField


class Counter(models.Model):
    amount = SumField()
    adjustments = SumField(help_text="The part of the amount that adjustments brought.")
    events = models.BigIntegerField(help_text="Charges, priced or not.")
    unpriced = models.BigIntegerField(help_text="Charges that have no price yet.")
    deviating = models.BigIntegerField(help_text="Charges whose given amount is more than 1 % off the computed one.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return "/".join(map(str, self.pk))


class PostCost(Counter):
    """What one post cost, by persona and type."""

    pk = models.CompositePrimaryKey("post_id", "persona_id", "cost_type")
    post_id = models.CharField(max_length=255)
    persona_id = models.CharField(max_length=100)
    cost_type = models.CharField(max_length=100)
    last_at = models.DateTimeField(help_text="The newest timestamp among its lines.")


class HourlyCost(Counter):
    pk = models.CompositePrimaryKey("hour", "persona_id", "provider", "cost_type", "model")
    hour = models.DateTimeField()
    persona_id = models.CharField(max_length=100)
    provider = models.CharField(max_length=100)
    cost_type = models.CharField(max_length=100)
    model = models.CharField(max_length=100)

    class Meta:
        indexes = [models.Index(fields=["hour"], condition=~models.Q(unpriced=0), name="costs_hours_unpriced")]


class HourlyOperation(Counter):
    pk = models.CompositePrimaryKey("hour", "persona_id", "operation")
    hour = models.DateTimeField()
    persona_id = models.CharField(max_length=100)
    operation = models.CharField(max_length=100)


class HourlyPersona(Counter):
    """Rolled up from HourlyOperation by the database itself."""

    pk = models.CompositePrimaryKey("hour", "persona_id")
    hour = models.DateTimeField()
    persona_id = models.CharField(max_length=100)


class FiveMinuteCost(Counter):
    """The pulse of a persona: what detection compares."""

    pk = models.CompositePrimaryKey("persona_id", "starts_at")
    persona_id = models.CharField(max_length=100)
    starts_at = models.DateTimeField()


class DailyCost(Counter):
    """One UTC day by everything."""

    pk = models.CompositePrimaryKey("day", "persona_id", "provider", "cost_type", "model", "operation")
    day = models.DateField()
    persona_id = models.CharField(max_length=100)
    provider = models.CharField(max_length=100)
    cost_type = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    operation = models.CharField(max_length=100)


class DailyPersona(Counter):
    """Rolled up from HourlyPersona by the database itself."""

    pk = models.CompositePrimaryKey("day", "persona_id")
    day = models.DateField()
    persona_id = models.CharField(max_length=100)


class KnownOperation(models.Model):
    """The operations of a persona that are counted by name; from the 1,001st on they count as `other`."""

    LIMIT = 1000
    OTHER = "other"

    pk = models.CompositePrimaryKey("persona_id", "operation")
    persona_id = models.CharField(max_length=100)
    operation = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"{self.operation} of {self.persona_id}"
