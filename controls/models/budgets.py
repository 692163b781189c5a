"""Budgets, what each of their periods has spent, who changed them, and what they had spent minute by minute."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Coalesce

from controls import periods
from costs.events import AMOUNT_LIMIT
from costs.models.fields import MoneyField, SumField
from costs.periods import InvalidQuery, Span, parse_zone

SCOPE = ("persona_id", "model", "cost_type")
MOST_LEVELS = 3
# Only against NaN and infinity: a sum of lines needs 10^16 of the dearest to come here.
SUM_LIMIT = Decimal(10) ** 25
# Wide enough for every sum and its percentage; Python's own context would round to 28 digits.
_DOWN = Context(prec=80, rounding=ROUND_FLOOR)


def default_levels() -> list[int]:
    return [80, 85, 95]


@dataclass(frozen=True, slots=True)
class Usage:
    """A budget and what it has spent in one period, [starts_at, ends_at). `scope` holds only the bound names.

    `increase` is what temporary increases add to the limit now. `warn_levels` are per cent of what is allowed,
    ascending: medium, high and critical.
    """

    budget_id: int
    name: str
    scope: dict[str, str]
    period: str
    timezone: str
    limit: Decimal
    increase: Decimal
    spent: Decimal
    held: Decimal
    pending: Decimal
    starts_at: datetime
    ends_at: datetime
    hard: bool
    warn_levels: tuple[int, ...]
    created_at: datetime
    ended_at: datetime | None
    revision: int

    @property
    def allowed(self) -> Decimal:
        return _DOWN.add(self.limit, self.increase)

    @property
    def committed(self) -> Decimal:
        """What is spent, and what decisions let in that may still be."""
        return _DOWN.add(_DOWN.add(self.spent, self.held), self.pending)

    @property
    def remaining(self) -> Decimal:
        """What a decision may still let in; below zero when overspent."""
        return _DOWN.subtract(self.allowed, self.committed)

    @property
    def used_percent(self) -> Decimal:
        """What is spent, cut to 2 decimals, never rounded up: it reaches a level exactly when the money does."""
        share = _DOWN.divide(_DOWN.multiply(self.spent, Decimal(100)), self.allowed)
        return _DOWN.quantize(share, Decimal("0.01"))


class BudgetQuerySet(models.QuerySet["Budget"]):
    def active(self) -> "BudgetQuerySet":
        return self.filter(ended_at=None)

    def seen_by(self, personas: Collection[str] | None) -> "BudgetQuerySet":
        """Only the budgets of these personas; None means all, also those of no single persona."""
        return self if personas is None else self.filter(persona_id__in=personas)

    def enclosing(self, persona_id: str | None, model: str | None, cost_type: str | None) -> "BudgetQuerySet":
        """Budgets that count a line with these names, from the root to the leaf: the fewest bound names first."""
        names = dict(zip(SCOPE, (persona_id, model, cost_type), strict=True))
        found = self.filter(**{f"{field}__in": ["", name or ""] for field, name in names.items()})
        bound = [models.Case(models.When(**{field: ""}, then=0), default=1) for field in SCOPE]
        return found.annotate(bound_names=bound[0] + bound[1] + bound[2]).order_by("bound_names", "id")

    def touching(self, personas: Collection[str]) -> "BudgetQuerySet":
        """Budgets that count lines of some of these personas."""
        return self.filter(persona_id__in=["", *personas])

    def with_spent(self, at: datetime) -> "BudgetQuerySet":
        """With `spent`, `held` and `pending`, None where the period has no row, and `increase`, None without any.

        In the period at `at`; of an ended budget, in its last period.
        """
        moment = Coalesce(models.OuterRef("ended_at"), models.Value(at, models.DateTimeField()))
        current = BudgetPeriod.objects.filter(budget=models.OuterRef("pk"), starts_at__lte=moment, ends_at__gt=moment)
        newest = current.order_by("-starts_at")
        sums = {name: models.Subquery(newest.values(name)[:1]) for name in ("spent", "held", "pending")}
        increases = BudgetIncrease.objects.active(at).filter(budget=models.OuterRef("pk")).order_by().values("budget")
        return self.annotate(**sums, increase=models.Subquery(increases.values(total=models.Sum("amount"))))

    def usages(self, at: datetime) -> list[Usage]:
        """In one statement, what each has spent in its period at `at`; of an ended budget, in its last period."""
        return [budget.usage(at) for budget in self.with_spent(at)]


class Budget(models.Model):
    """A limit in US dollars for what lies in a scope, renewed each period.

    It counts whole periods: from the start of the one it was made in to the end of the one it was ended in. Scope,
    period and time zone never change; the rest does by revisions. A scope inside another makes a nested budget.
    """

    name = models.CharField(max_length=100)
    persona_id = models.CharField("persona", max_length=100, blank=True, default="", help_text="Empty: all.")
    model = models.CharField(max_length=100, blank=True, default="", help_text="Empty: all.")
    cost_type = models.CharField(max_length=100, blank=True, default="", help_text="Empty: all.")
    period = models.CharField(max_length=10, choices=[(name, name) for name in periods.PERIODS])
    timezone = models.CharField(
        "time zone", max_length=64, default="UTC", help_text="An IANA name: where its days, weeks and months begin."
    )
    limit = MoneyField(help_text="US dollars for each period.")
    hard = models.BooleanField(
        default=False,
        help_text="Decisions refuse what would overspend it; else it only warns.",
    )
    warn_levels = ArrayField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(100)]),
        size=MOST_LEVELS,
        default=default_levels,
        help_text="Up to 3 percentages, ascending, with commas between: medium, high, critical.",
    )
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    counts_from = models.DateTimeField(editable=False)
    counts_until = models.DateTimeField(null=True, editable=False)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["persona_id", "counts_until"], name="controls_budget_counting")]
        constraints = [
            # NaN is greater than every number: the upper bound keeps it out.
            models.CheckConstraint(
                condition=models.Q(limit__gt=0) & models.Q(limit__lt=AMOUNT_LIMIT), name="controls_budget_limit_bounded"
            ),
            models.CheckConstraint(condition=models.Q(period__in=periods.PERIODS), name="controls_budget_period_known"),
            models.CheckConstraint(
                condition=models.Q(warn_levels__len__gte=1) & models.Q(warn_levels__len__lte=MOST_LEVELS),
                name="controls_budget_has_levels",
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at=None, counts_until=None)
                | models.Q(ended_at__gte=models.F("created_at"), counts_until__gt=models.F("ended_at")),
                name="controls_budget_ends_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.limit is not None and not 0 < self.limit < AMOUNT_LIMIT:
            raise ValidationError({"limit": f"The limit must be above $0 and below ${AMOUNT_LIMIT:,}."})
        levels = list(self.warn_levels or [])
        if levels != sorted(set(levels)):
            raise ValidationError({"warn_levels": "The levels must ascend, such as 80, 85, 95."})
        try:
            parse_zone(self.timezone)
        except InvalidQuery as error:
            raise ValidationError({"timezone": f"The time zone {error.sentence}."}) from None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def scope(self) -> dict[str, str]:
        """The bound names."""
        return {field: name for field in SCOPE if (name := getattr(self, field))}

    def is_inside(self, other: "Budget") -> bool:
        """Whether `other` counts every line that this one counts; budgets of one scope are inside each other."""
        return other.scope.items() <= self.scope.items()

    def span_at(self, at: datetime) -> Span:
        """Its period at `at`; its last one once it has ended."""
        moment = at if self.ended_at is None else min(at, self.ended_at)
        return periods.period_at(moment, self.period, self.zone)

    def period_at(self, at: datetime) -> "BudgetPeriod":
        """What it has spent in its period at `at`; not saved, and zero, where that has no row."""
        span = self.span_at(at)
        stored = self.periods.filter(starts_at=span.start).first()
        return stored or BudgetPeriod(
            budget=self,
            starts_at=span.start,
            ends_at=span.end,
            spent=Decimal(0),
            held=Decimal(0),
            pending=Decimal(0),
            overrun=Decimal(0),
        )

    def usage(self, at: datetime) -> Usage:
        """Of a budget that was read `with_spent(at)`."""
        read: Any = self
        span = self.span_at(at)
        return Usage(
            budget_id=self.pk,
            name=self.name,
            scope=self.scope,
            period=self.period,
            timezone=self.timezone,
            limit=self.limit,
            increase=read.increase or Decimal(0),
            spent=read.spent or Decimal(0),
            held=read.held or Decimal(0),
            pending=read.pending or Decimal(0),
            starts_at=span.start,
            ends_at=span.end,
            hard=self.hard,
            warn_levels=tuple(self.warn_levels),
            created_at=self.created_at,
            ended_at=self.ended_at,
            revision=self.revision,
        )


class BudgetPeriod(models.Model):
    """What one period comes to; its row is there a few minutes before it begins, or by its first line or hold.

    `spent` is the sum of its lines, `held` that of its open holds, `pending` what closed holds still count, and
    `overrun` what was booked beyond its holds. Decisions let in what keeps spent + held + pending within the limit.
    """

    pk = models.CompositePrimaryKey("budget_id", "starts_at")
    budget = models.ForeignKey(Budget, models.PROTECT, related_name="periods", db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    spent = SumField()
    held = SumField(db_default=Decimal(0))
    pending = SumField(db_default=Decimal(0))
    overrun = SumField(db_default=Decimal(0))

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(spent__gt=-SUM_LIMIT) & models.Q(spent__lt=SUM_LIMIT),
                name="controls_period_spent_bounded",
            ),
            models.CheckConstraint(
                condition=models.Q(held__gte=0, held__lt=SUM_LIMIT)
                & models.Q(pending__gte=0, pending__lt=SUM_LIMIT)
                & models.Q(overrun__gte=0, overrun__lt=SUM_LIMIT),
                name="controls_period_holds_bounded",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="controls_period_has_length"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} from {self.starts_at:%Y-%m-%d %H:%M} UTC"


class BudgetIncreaseQuerySet(models.QuerySet["BudgetIncrease"]):
    def active(self, at: datetime) -> "BudgetIncreaseQuerySet":
        return self.filter(starts_at__lte=at, expires_at__gt=at, ended_at=None)


class BudgetIncrease(models.Model):
    """A budget may spend so much more in each of its periods, until it expires or somebody ends it."""

    budget = models.ForeignKey(Budget, models.PROTECT, related_name="increases")
    amount = MoneyField(help_text="US dollars beyond the limit.")
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True, default="")

    objects = BudgetIncreaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount__gt=0, amount__lt=AMOUNT_LIMIT), name="controls_increase_bounded"
            ),
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("starts_at")), name="controls_increase_expires"
            ),
            models.CheckConstraint(
                condition=~models.Q(actor="") & ~models.Q(reason=""), name="controls_increase_is_accounted_for"
            ),
        ]

    def __str__(self) -> str:
        return f"${self.amount} more for budget {self.budget_id}"


class BudgetRevision(models.Model):
    """What a budget said from `at` on, and who decided it. Append-only."""

    class Change(models.TextChoices):
        MADE = "made"
        REVISED = "revised"
        ENDED = "ended"

    budget = models.ForeignKey(Budget, models.PROTECT, related_name="revisions", db_index=False)
    number = models.PositiveIntegerField()
    change = models.CharField(max_length=10, choices=Change)
    name = models.CharField(max_length=100)
    limit = MoneyField()
    hard = models.BooleanField()
    warn_levels = ArrayField(models.PositiveSmallIntegerField(), size=MOST_LEVELS)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["budget", "number"], name="controls_revision_numbered"),
            models.CheckConstraint(condition=~models.Q(actor=""), name="controls_revision_has_an_actor"),
        ]

    def __str__(self) -> str:
        return f"revision {self.number} of budget {self.budget_id}"


class BudgetSample(models.Model):
    """What a budget had spent in its period at a full minute; see `controls.budgets.sample`."""

    pk = models.CompositePrimaryKey("budget_id", "at")
    budget = models.ForeignKey(Budget, models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField()
    starts_at = models.DateTimeField(help_text="The start of that period.")
    spent = SumField()

    class Meta:
        # Samples come in the order of time, so a few pages of index are enough to find the oldest.
        indexes = [BrinIndex(fields=["at"], name="controls_sample_by_time", autosummarize=True)]

    def __str__(self) -> str:
        return f"{self.budget_id} at {self.at:%Y-%m-%d %H:%M} UTC"
