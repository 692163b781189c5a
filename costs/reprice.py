"""Correct the past: compare lines with today's price book and write adjustments for what differs. Nothing is edited.

What a line says with its adjustments is compared, so a second run writes nothing, and a price that is taken back is
taken back in the ledger too. Amounts that callers gave stand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan

from costs import ledger, partitions
from costs.booking import ADJUSTMENT, COMPUTED, Line
from costs.events import AMOUNT_LIMIT
from costs.models import AdjustmentKey, CostEvent, PriceRate
from costs.models.ledger import CostEventQuerySet
from costs.prices import current_book, keep_sheets
from costs.pricing import LIBRARY_VERSION, Price, PriceBook, Sheet

CHUNK = 1000
SETTLED_AFTER = 2
# One repricing at a time: two with different prices would both correct the same old sum.
LOCK = 2_400_002


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What the earlier adjustments of one line come to, and how many there are."""

    total: Decimal
    times: int


NEVER = Adjusted(Decimal(0), 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many lines were looked at, were given their first price, were corrected, and what that came to in dollars."""

    seen: int = 0
    newly_priced: int = 0
    corrected: int = 0
    change: Decimal = Decimal(0)

    def plus(self, lines: list[Line], seen: int) -> "Outcome":
        first = sum(line.unpriced == -1 for line in lines)
        change = sum((line.cost_amount or Decimal(0) for line in lines), self.change)
        return replace(
            self,
            seen=self.seen + seen,
            newly_priced=self.newly_priced + first,
            corrected=self.corrected + len(lines) - first,
            change=change,
        )


def reprice(
    start: datetime,
    end: datetime,
    *,
    at: datetime,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Correct every computed line of [start, end); `progress` is told how many lines were looked at."""
    return _correct(CostEvent.objects.in_period(start, end), at=at, dry_run=dry_run, progress=progress)


class _Settled:
    """The prices under which this process has looked at all unpriced lines, and how often."""

    prices = ""
    times = 0


def reprice_unpriced(*, at: datetime) -> Outcome:
    """Price what had no price when it was booked and has one now; nothing to do while prices are as they were."""
    prices = f"{LIBRARY_VERSION} {PriceRate.objects.stamp()}"
    # Twice, because a line may be booked at the old prices while the first run looks at the others.
    if _Settled.prices == prices and _Settled.times >= SETTLED_AFTER:
        return Outcome()
    outcome = _correct(CostEvent.objects.unpriced(), at=at, dry_run=False, progress=None)
    _Settled.times = _Settled.times + 1 if _Settled.prices == prices else 1
    _Settled.prices = prices
    return outcome


def _correct(
    lines: CostEventQuerySet, *, at: datetime, dry_run: bool, progress: Callable[[int], None] | None
) -> Outcome:
    partitions.ensure_once(at)
    outcome, last = Outcome(), None
    while True:
        with transaction.atomic():
            _wait_for_other_runs()
            chunk = list(_after(lines.charges().filter(evidence=COMPUTED), last)[:CHUNK])
            if not chunk:
                return outcome
            written = _write(chunk, at=at, dry_run=dry_run)
        last = (chunk[-1].timestamp, chunk[-1].pk)
        outcome = outcome.plus(written, len(chunk))
        if progress:
            progress(outcome.seen)


def _after(lines: CostEventQuerySet, last: tuple[datetime, int] | None) -> CostEventQuerySet:
    ordered = lines.order_by("timestamp", "id")
    if last is None:
        return ordered
    return ordered.filter(TupleGreaterThan(Tuple(F("timestamp"), F("id")), last))


def _write(chunk: list[CostEvent], *, at: datetime, dry_run: bool) -> list[Line]:
    before = _adjusted([line.pk for line in chunk])
    found = list(_corrections(chunk, before, current_book()))
    lines = [line for line, _ in found]
    if not dry_run:
        _number(lines, before)
        keep_sheets([sheet for _, sheet in found])
        ledger.write(lines, at=at)
    return lines


def _corrections(
    chunk: list[CostEvent], before: dict[int, Adjusted], prices: PriceBook
) -> Iterator[tuple[Line, Sheet]]:
    for line in chunk:
        counted = line.counted
        if counted is None:
            continue
        price = prices.price(
            cost_type=line.cost_type, provider=line.provider, model=line.model, quantities=counted, at=line.timestamp
        )
        is_first = line.cost_amount is None and line.pk not in before
        booked = (line.cost_amount or Decimal(0)) + before.get(line.pk, NEVER).total
        if price.amount is None or price.amount >= AMOUNT_LIMIT:
            # Beyond the ledger's bound it stays as it is: an unpriced line stays listed as one.
            continue
        if is_first or price.amount != booked:
            yield _adjustment(line, price, price.amount - booked, is_first=is_first), price.sheet


def _adjustment(line: CostEvent, price: Price, change: Decimal, *, is_first: bool) -> Line:
    return Line(
        event_id=line.event_id,
        source=line.source,
        post_id=line.post_id,
        cost_type=line.cost_type,
        cost_amount=change,
        cost_metadata={},
        persona_id=line.persona_id,
        operation=line.operation,
        provider=line.provider,
        model=line.model,
        timestamp=line.timestamp,
        entry_type=ADJUSTMENT,
        adjusts=line.pk,
        evidence=COMPUTED,
        quantities=line.quantities,
        service_tier=line.service_tier,
        usage=None,
        computed_amount=price.amount,
        price_sheet_id=price.sheet.id,
        unpriced=-int(is_first),
        deviating=0,
        correlation_id=line.correlation_id,
        request_id=line.request_id,
        hold_id=line.hold_id,
    )


def _adjusted(ids: list[int]) -> dict[int, Adjusted]:
    rows = CostEvent.objects.filter(adjusts__in=ids).values_list("adjusts")
    found = rows.annotate(total=Sum("cost_amount"), times=Count("id"))
    return {line: Adjusted(total, times) for line, total, times in found if line is not None}


def _number(lines: list[Line], before: dict[int, Adjusted]) -> None:
    """Take the next number of each line. If another run took it, this one's sums are old: IntegrityError."""
    adjusted = [line.adjusts for line in lines if line.adjusts is not None]
    keys = [AdjustmentKey(line_id=line, number=before.get(line, NEVER).times + 1) for line in sorted(adjusted)]
    AdjustmentKey.objects.bulk_create(keys)


def _wait_for_other_runs() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
