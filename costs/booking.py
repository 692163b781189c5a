"""From accepted events to lines of the ledger: counted, priced, judged. Pure: no Django, no clock, no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from costs.events import AMOUNT_LIMIT, Event, amount_of
from costs.pricing import Price, PriceBook, Quantities, Sheet, UsageError, normalise

CHARGE, ADJUSTMENT = "charge", "adjustment"
REPORTED, COMPUTED = "reported", "computed"
PLAIN_DIALECT = "plain"
# A given amount that is further from the computed one than this share of it deviates.
TOLERANCE = Decimal("0.01")


class Unbookable(ValueError):
    """The event can never become a line; the message says why."""


class Line(NamedTuple):
    """A line as it is written, in the order of the columns; `created_at` and the id come with the writing."""

    event_id: str
    source: str
    post_id: str | None
    cost_type: str
    cost_amount: Decimal | None
    cost_metadata: dict[str, Any]
    persona_id: str | None
    operation: str | None
    provider: str | None
    model: str | None
    timestamp: datetime
    entry_type: str
    adjusts: int | None
    evidence: str
    quantities: dict[str, Any] | None
    service_tier: str | None
    usage: dict[str, Any] | None
    computed_amount: Decimal | None
    price_sheet_id: UUID | None
    unpriced: int
    deviating: int
    correlation_id: str | None
    request_id: str | None
    hold_id: str | None


@dataclass(frozen=True, slots=True)
class Booked:
    """Lines with the sheets that they refer to, and the events that cannot be booked with the sentence why."""

    lines: list[Line]
    sheets: list[Sheet]
    refused: list[tuple[Event, str]]


def book(events: Sequence[Event], *, source: str, prices: PriceBook) -> Booked:
    """Make one line of each event. Never raises for an event's content: what cannot be booked is refused."""
    lines: list[Line] = []
    sheets: dict[int, Sheet] = {}
    refused: list[tuple[Event, str]] = []
    for event in events:
        try:
            line, sheet = _line(event, source, prices)
        except (UsageError, Unbookable) as error:
            refused.append((event, str(error)))
            continue
        lines.append(line)
        if sheet is not None:
            # By identity: the book hands out the same sheet again and again, and its id takes a digest.
            sheets[id(sheet)] = sheet
    return Booked(lines, list(sheets.values()), refused)


def deviates(given: Decimal, computed: Decimal | None) -> bool:
    return computed is not None and abs(given - computed) > TOLERANCE * computed


def _line(event: Event, source: str, prices: PriceBook) -> tuple[Line, Sheet | None]:
    assert event.event_id, "an accepted event has an id"
    assert event.timestamp, "an accepted event has a time"
    counted, price = _priced(event, event.timestamp, prices)
    computed = price.amount if price else None
    given = None if event.amount is None else amount_of(event)
    amount = computed if given is None else given
    if amount is not None and amount >= AMOUNT_LIMIT:
        raise Unbookable(f"amount: {amount:f} is beyond the ledger's bound of {AMOUNT_LIMIT:,}")
    line = Line(
        event_id=event.event_id,
        source=source,
        post_id=event.post_id or None,
        cost_type=event.cost_type,
        cost_amount=amount,
        cost_metadata=event.metadata or {},
        persona_id=event.persona_id or None,
        operation=event.operation or None,
        provider=event.provider or None,
        model=event.model or None,
        timestamp=event.timestamp,
        entry_type=CHARGE,
        adjusts=None,
        evidence=COMPUTED if given is None else REPORTED,
        quantities=dict(counted.buckets) if counted else None,
        service_tier=counted.service_tier if counted else None,
        usage=_own_usage(event),
        computed_amount=None if given is None else _storable(computed),
        price_sheet_id=price.sheet.id if price else None,
        unpriced=int(amount is None),
        deviating=int(given is not None and deviates(given, computed)),
        correlation_id=event.correlation_id or None,
        request_id=event.request_id or None,
        hold_id=event.hold_id or None,
    )
    return line, price.sheet if price else None


def _priced(event: Event, at: datetime, prices: PriceBook) -> tuple[Quantities | None, Price | None]:
    if event.usage is None:
        return None, None
    counted = normalise(event.usage)
    price = prices.price(
        cost_type=event.cost_type,
        provider=event.provider or None,
        model=event.model or None,
        quantities=counted,
        at=at,
    )
    return counted, price


def _own_usage(event: Event) -> dict[str, Any] | None:
    """A provider's own object is kept as evidence; the plain one is all in the quantities."""
    if event.usage is None or event.usage.get("dialect", PLAIN_DIALECT) == PLAIN_DIALECT:
        return None
    return event.usage


def _storable(computed: Decimal | None) -> Decimal | None:
    return computed if computed is not None and computed < AMOUNT_LIMIT else None
