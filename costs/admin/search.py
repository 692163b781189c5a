"""Find ledger lines among millions: by index only, a page at a time, with the totals of all that is found.

Nothing here counts rows. What no index helps is cut off after a few seconds with a sentence, not waited for.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any, NamedTuple, Self

from django.db import OperationalError, connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Sum
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from psycopg.errors import QueryCanceled

from costs.models import AdjustmentKey, CostEvent, DailyCost, EntryType, PostCost
from costs.models.ledger import BOOKED_BEFORE, CostEventQuerySet

PAGE_SIZE = 50
DEFAULT_DAYS = 7
# More posts than this have the same beginning: then the beginning says too little.
POSTS_FOUND = 50
PAGE_MILLISECONDS, TOTALS_MILLISECONDS = 5_000, 3_000
ADJUSTMENT = Q(entry_type=EntryType.ADJUSTMENT)
NAMELESS = {"persona_id": "persona", "model": "model"}


# Of the blocks within a transaction: they take no time, and must be possible when all is over.
ENDINGS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


class TooSlow(Exception):
    """Postgres was stopped, or not asked any more: the question needs more than its share of time."""


class _Rest:
    """Of the time of a block, and of those around it: each statement gets what is left."""

    def __init__(self, milliseconds: int) -> None:
        around = [rest.until for rest in connection.execute_wrappers if isinstance(rest, _Rest)]
        self.until: float = min(monotonic() + milliseconds / 1000, *around, math.inf)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if str(sql).startswith(ENDINGS):
            return execute(sql, params, many, context)
        left = int((self.until - monotonic()) * 1000)
        if left <= 0:
            raise TooSlow
        database = context["connection"]
        with database.wrap_database_errors:
            # Not by a cursor of Django's: that would come here again.
            database.connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(left)])
        return execute(sql, params, many, context)


@contextmanager
def within(milliseconds: int) -> Iterator[None]:
    """Raises TooSlow when the statements of the block take longer together. What they wrote is undone then."""
    try:
        with transaction.atomic(), connection.execute_wrapper(_Rest(milliseconds)):
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooSlow from error
        raise


@dataclass(frozen=True, slots=True)
class Totals:
    """In dollars; `amount` includes the adjustments, `unpriced` are charges that have no price yet."""

    amount: Decimal
    adjustments: Decimal
    charges: int
    unpriced: int


class Entry(NamedTuple):
    """A line as the list shows it, with the sum of its adjustments (None: it has none)."""

    line: CostEvent
    adjusted: Decimal | None

    @property
    def is_unpriced(self) -> bool:
        return self.line.cost_amount is None and self.adjusted is None


@dataclass(frozen=True, slots=True)
class Search:
    """What an auditor asks for. Days are UTC, both included; empty means any. `hour` is one of the first day's.

    `without` is one of NAMELESS: only lines that have no such name.
    """

    q: str = ""
    post: str = ""
    persona_id: str = ""
    cost_type: str = ""
    model: str = ""
    operation: str = ""
    entry_type: str = ""
    state: str = ""
    start: date | None = None
    end: date | None = None
    hour: int | None = None
    without: str = ""

    @property
    def is_narrow(self) -> bool:
        """Few lines, whatever the period: those of a post or an event, and those that still lack a price."""
        return bool(self.q or self.post) or self.state == "unpriced"

    def lines(self) -> CostEventQuerySet:
        found = CostEvent.objects.all()
        if self.state == "unpriced":
            found = found.unpriced()
        elif self.state == "deviating":
            found = found.filter(deviating=1)
        names = ("persona_id", "cost_type", "model", "operation", "entry_type")
        found = found.filter(**{name: value for name in names if (value := getattr(self, name))})
        if self.without:
            found = found.filter(Q(**{f"{self.without}__isnull": True}) | Q(**{self.without: ""}))
        if self.post:
            found = found.for_post(self.post)
        if self.q:
            found = found.filter(Q(event_id=self.q) | Q(post_id__in=posts_beginning_with(self.q)))
        return self._in_period(found)

    def _in_period(self, lines: CostEventQuerySet) -> CostEventQuerySet:
        if self.start:
            start = _midnight(self.start)
            if self.hour is not None:
                start += timedelta(hours=self.hour)
                lines = lines.filter(timestamp__lt=start + timedelta(hours=1))
            # The bound on created_at only lets Postgres leave out older partitions.
            lines = lines.filter(timestamp__gte=start, created_at__gte=start - BOOKED_BEFORE)
        if self.end:
            lines = lines.filter(timestamp__lt=_midnight(self.end + timedelta(days=1)))
        return lines

    def page(self, older_than: "Place | None" = None) -> "Page":
        """The newest lines first. Raises TooSlow."""
        lines = self.lines().order_by("-timestamp", "-id").only(*SHOWN)
        if older_than:
            lines = lines.filter(TupleLessThan(Tuple(F("timestamp"), F("id")), tuple(older_than)))
        with within(PAGE_MILLISECONDS):
            found = list(lines[: PAGE_SIZE + 1])
            shown = found[:PAGE_SIZE]
            entries = with_adjustments(shown)
        more = len(found) > PAGE_SIZE
        return Page(entries, Place(shown[-1].timestamp, shown[-1].pk) if more else None)

    def totals(self) -> Totals:
        """Of everything found, not of the page. Raises TooSlow."""
        with within(TOTALS_MILLISECONDS):
            return self._counted() if self._is_counted else self._added_up()

    @property
    def _is_counted(self) -> bool:
        # The counters of a day know these; operations beyond the 1,000th of a persona they do not.
        named = self.q or self.post or self.operation or self.entry_type or self.state
        return not named and (self.hour is None or not self.start)

    def _counted(self) -> Totals:
        days = DailyCost.objects.all()
        if self.start:
            days = days.filter(day__gte=self.start)
        if self.end:
            days = days.filter(day__lte=self.end)
        if self.without:
            days = days.filter(**{self.without: ""})
        names = ("persona_id", "cost_type", "model")
        found = days.filter(**{name: value for name in names if (value := getattr(self, name))}).aggregate(
            amount=Sum("amount", default=Decimal(0)),
            adjustments=Sum("adjustments", default=Decimal(0)),
            charges=Sum("events", default=0),
            unpriced=Sum("unpriced", default=0),
        )
        return Totals(**found)

    def _added_up(self) -> Totals:
        found = self.lines().aggregate(
            amount=Sum("cost_amount", default=Decimal(0)),
            adjustments=Sum("cost_amount", filter=ADJUSTMENT, default=Decimal(0)),
            charges=Count("id", filter=~ADJUSTMENT),
            unpriced=Count("id", filter=Q(~Exists(AdjustmentKey.objects.filter(line_id=OuterRef("id"))), unpriced=1)),
        )
        return Totals(**found)


SHOWN = (
    "id",
    "event_id",
    "post_id",
    "persona_id",
    "cost_type",
    "provider",
    "model",
    "operation",
    "cost_amount",
    "timestamp",
    "entry_type",
    "evidence",
    "unpriced",
    "deviating",
)


class Place(NamedTuple):
    """Where a page ends."""

    timestamp: datetime
    id: int

    def __str__(self) -> str:
        return f"{self.timestamp.isoformat()}~{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for what was not written by us: then the list begins at its top."""
        moment, _, number = text.partition("~")
        try:
            place = cls(datetime.fromisoformat(moment), int(number))
        except ValueError:
            return None
        return place if place.timestamp.tzinfo and abs(place.id) < 2**63 else None


@dataclass(frozen=True, slots=True)
class Page:
    entries: list[Entry]
    older: Place | None


def posts_beginning_with(text: str) -> list[str]:
    """Up to POSTS_FOUND ids, in order; the counters hold every post once for each persona and type."""
    posts = PostCost.objects.filter(post_id__startswith=text).order_by("post_id")
    return list(posts.values_list("post_id", flat=True).distinct()[:POSTS_FOUND])


def with_adjustments(lines: list[CostEvent]) -> list[Entry]:
    rows = CostEvent.objects.filter(adjusts__in=[line.pk for line in lines]).values_list("adjusts")
    sums = {line: total for line, total in rows.annotate(total=Sum("cost_amount")) if line is not None}
    return [Entry(line, sums.get(line.pk)) for line in lines]


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Names that were charged lately: what the filter suggests. Anything else may be typed."""

    personas: list[str]
    cost_types: list[str]
    models: list[str]

    @classmethod
    def since(cls, day: date) -> Self:
        rows = DailyCost.objects.filter(day__gte=day).values_list("persona_id", "cost_type", "model").distinct()[:5000]
        personas, cost_types, models = map(set, zip(*rows, strict=True)) if rows else (set(), set(), set())
        return cls(*(sorted(names - {""}) for names in (personas, cost_types, models)))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
