"""Prices that the token library does not know, and the sheets that booked lines refer to."""

from django.core.exceptions import ValidationError
from django.db import connections, models
from django.db.models.functions import Now

from costs.models.fields import ExactJSONField
from costs.pricing import Rate, Sheet


class PriceRateQuerySet(models.QuerySet["PriceRate"]):
    def stamp(self) -> str:
        """Changes with every change of a row, however it came about: what a cached price book is compared with."""
        with connections[self.db].cursor() as cursor:
            cursor.execute("SELECT md5(string_agg(row::text, ',' ORDER BY id)) FROM costs_pricerate AS row")
            return cursor.fetchone()[0] or ""


class PriceRate(models.Model):
    """One unit price over a half-open period [effective_from, effective_to)."""

    class Kind(models.TextChoices):
        CONTRACT = "contract", "contract (overrides every list price)"
        CORRECTION = "correction", "correction (a list price the library has wrong at that date)"
        RATE = "rate", "rate (infrastructure)"

    kind = models.CharField(max_length=20, choices=Kind)
    cost_type = models.CharField(max_length=100, blank=True, help_text="Empty: any.")
    provider = models.CharField(max_length=100, blank=True, help_text="Empty: any.")
    model = models.CharField(max_length=100, blank=True, help_text="Empty: any.")
    service_tier = models.CharField(max_length=40, blank=True, help_text="Empty: the standard tier; or batch, flex, …")
    bucket = models.CharField(max_length=50, help_text="What is priced: input_tokens, cpu_core_hours, …")
    unit_price = models.DecimalField(max_digits=21, decimal_places=12, help_text="US dollars.")
    per = models.PositiveIntegerField(default=1, help_text="For how many units: 1, or 1,000,000 for tokens.")
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True, help_text="The first moment it no longer holds.")
    note = models.CharField(max_length=255, blank=True, help_text="Where this price stands: contract, page, mail.")
    changed_at = models.DateTimeField(auto_now=True)

    objects = PriceRateQuerySet.as_manager()

    class Meta:
        verbose_name = "price"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(unit_price__gte=0) & models.Q(unit_price__lt=1_000_000), name="costs_rate_bounded"
            ),
            models.CheckConstraint(condition=models.Q(per__gt=0), name="costs_rate_per_positive"),
            models.CheckConstraint(
                condition=models.Q(effective_to=None) | models.Q(effective_to__gt=models.F("effective_from")),
                name="costs_rate_period",
            ),
        ]

    def __str__(self) -> str:
        scope = "/".join(part for part in (self.cost_type, self.provider, self.model) if part) or "any"
        return f"{scope} {self.bucket}: ${self.unit_price.normalize():f} per {self.per:,}"

    def clean(self) -> None:
        if self.effective_to and self.effective_from and self.effective_to <= self.effective_from:
            raise ValidationError({"effective_to": "The end must lie after the start."})

    def as_rate(self) -> Rate:
        return Rate(
            kind=self.kind,
            cost_type=self.cost_type or None,
            provider=self.provider or None,
            model=self.model or None,
            bucket=self.bucket,
            unit_price=self.unit_price,
            per=self.per,
            effective_from=self.effective_from,
            effective_to=self.effective_to,
            version=self.version,
            tier=self.service_tier or None,
        )

    @property
    def version(self) -> str:
        # The content, not the row: re-saving an unchanged price must not make a new version.
        return f"{self.pk}:{self.unit_price.normalize():f}/{self.per}"


class PriceSheet(models.Model):
    """Unit prices that lines were priced with, each with its origin. Never changed: the id is made of the content."""

    id = models.UUIDField(primary_key=True)
    content = ExactJSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "price sheet"

    def __str__(self) -> str:
        return f"Sheet {self.id}"

    def as_sheet(self) -> Sheet:
        return Sheet.from_json(self.content)
