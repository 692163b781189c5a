"""The ledger: append-only by trigger, partitioned by the month of booking (see migration 0002)."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import models
from django.db.models import Sum

from costs.models.fields import ExactJSONField, MoneyField
from costs.models.prices import PriceSheet
from costs.pricing import Price, Quantities

# An event may lie 10 minutes ahead when it is accepted; the rest is for clocks that differ between machines.
BOOKED_BEFORE = timedelta(hours=1)


class EntryType(models.TextChoices):
    CHARGE = "charge"
    ADJUSTMENT = "adjustment"


class Evidence(models.TextChoices):
    """Where the amount of a line comes from, best first."""

    REPORTED = "reported", "reported by the caller"
    COMPUTED = "computed", "computed from exact usage"
    ESTIMATED = "estimated", "estimated"
    ALLOCATED = "allocated", "allocated"


class CostEventQuerySet(models.QuerySet["CostEvent"]):
    def for_post(self, post_id: str) -> "CostEventQuerySet":
        return self.filter(post_id=post_id)

    def seen_by(self, personas: list[str] | None) -> "CostEventQuerySet":
        """Only the lines of these personas; None means all."""
        return self if personas is None else self.filter(persona_id__in=personas)

    def charges(self) -> "CostEventQuerySet":
        return self.filter(entry_type=EntryType.CHARGE)

    def unpriced(self) -> "CostEventQuerySet":
        """Charges that have no price yet: none at booking, and no adjustment since."""
        since = AdjustmentKey.objects.filter(line_id=models.OuterRef("id"))
        return self.filter(unpriced=1).exclude(models.Exists(since))

    def in_period(self, start: datetime, end: datetime) -> "CostEventQuerySet":
        """Lines of [start, end). The bound on created_at only lets Postgres leave out older partitions."""
        return self.filter(timestamp__gte=start, timestamp__lt=end, created_at__gte=start - BOOKED_BEFORE)

    def total(self) -> Decimal:
        return self.aggregate(total=Sum("cost_amount"))["total"] or Decimal(0)


class CostEvent(models.Model):
    """One line of the ledger: a charge, or an adjustment of an earlier line. Never updated, never deleted."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=255)
    source = models.CharField(max_length=100)
    post_id = models.CharField(max_length=255, null=True)
    cost_type = models.CharField(max_length=100)
    cost_amount = MoneyField(null=True, help_text="US dollars; empty means unpriced, never free.")
    cost_metadata = ExactJSONField(default=dict, help_text="What the caller wrote beside the event.")
    persona_id = models.CharField(max_length=100, null=True)
    operation = models.CharField(max_length=100, null=True)
    provider = models.CharField(max_length=100, null=True)
    model = models.CharField(max_length=100, null=True)
    timestamp = models.DateTimeField(help_text="When the resource was used.")
    created_at = models.DateTimeField(help_text="When the line was booked.")
    entry_type = models.CharField(max_length=20, choices=EntryType)
    adjusts = models.BigIntegerField(null=True, help_text="The line that this adjustment corrects.")
    evidence = models.CharField(max_length=20, choices=Evidence)
    quantities = ExactJSONField(null=True, help_text="The usage in disjoint buckets; empty where only an amount came.")
    service_tier = models.CharField(max_length=40, null=True, help_text="Empty: the standard tier.")
    usage = ExactJSONField(null=True, help_text="A provider's own usage object, as it came.")
    computed_amount = MoneyField(null=True, help_text="What the price sheet gives, beside an amount that was given.")
    price_sheet = models.ForeignKey(PriceSheet, models.PROTECT, null=True, db_constraint=False, db_index=False)
    unpriced = models.SmallIntegerField(help_text="1: a charge without a price. -1: the adjustment that priced one.")
    deviating = models.SmallIntegerField(help_text="1: the given amount is more than 1 % off the computed one.")
    correlation_id = models.CharField(max_length=255, null=True)
    request_id = models.CharField(max_length=255, null=True)
    hold_id = models.CharField(max_length=100, null=True)

    objects = CostEventQuerySet.as_manager()

    class Meta:
        db_table = "cost_events"
        verbose_name = "ledger line"

    def __str__(self) -> str:
        amount = "unpriced" if self.cost_amount is None else f"${self.cost_amount.normalize():f}"
        return f"{self.cost_type} {amount}"

    @property
    def counted(self) -> Quantities | None:
        return None if self.quantities is None else Quantities(self.quantities, self.service_tier)

    def explained(self) -> Price | None:
        """The price by the sheet that the line keeps: its components, formula, or why there is none."""
        counted, sheet = self.counted, self.price_sheet
        return sheet.as_sheet().price(counted) if counted and sheet else None


class AdjustmentKey(models.Model):
    """A line's first, second, … adjustment: each exists once (the ledger's partitions cannot hold this constraint)."""

    pk = models.CompositePrimaryKey("line_id", "number")
    line_id = models.BigIntegerField()
    number = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"adjustment {self.number} of line {self.line_id}"
