"""What a post cost, how well its events are described, and why a single line costs what it costs.

Totals come from the counters, at the same price for a post of ten lines and of a million; what is judged per event
comes from the post's lines. One snapshot holds both, so that they agree while events come in.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Count, F, Func, IntegerField, Q, QuerySet, Sum
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan

from costs.archived import Archived, is_archived
from costs.models import ArchivedPost, CostEvent, EntryType, Evidence
from costs.models.ledger import CostEventQuerySet
from costs.periods import InvalidQuery
from costs.pricing import Component, Price
from costs.snapshot import one_snapshot
from costs.straight import Statement, text_array

BASE_CONFIDENCE, PER_FACTOR = Decimal("0.95"), Decimal("0.01")
HIGH_CONFIDENCE = Decimal("0.97")
HIGH_FACTORS = int((HIGH_CONFIDENCE - BASE_CONFIDENCE) / PER_FACTOR)
# What a description may consist of, by column.
FACTORS = {
    "correlation_id": "correlation_id",
    "request_id": "request_id",
    "model": "model_specified",
    "operation": "operation_specified",
}
# By type the dearest first, and ties by name; one row of nulls where nothing is counted.
COUNTED = Statement(
    "counted",
    """
    WITH asked AS (SELECT {} AS post_id, {} AS personas), types AS (
        SELECT cost_type, sum(amount) AS total, sum(events) AS events, sum(unpriced) AS unpriced
        FROM costs_postcost AS cost, asked
        WHERE cost.post_id = asked.post_id AND (asked.personas IS NULL OR cost.persona_id = ANY (asked.personas))
        GROUP BY cost_type
    )
    SELECT json_object_agg(cost_type, total::text ORDER BY total DESC, cost_type COLLATE "C")::text,
           sum(events)::text, sum(unpriced)::text
    FROM types
    """,
    *("text", "text[]"),
)
PAGE = 1000
ID_LENGTH = 255
CENT = Decimal("0.01")
ZERO = Decimal(0)
Personas = list[str] | None


@dataclass(frozen=True, slots=True)
class Target:
    """What a post should cost, in dollars, and from how many times of that on it is an alert."""

    per_post: Decimal
    alert_multiplier: Decimal

    @classmethod
    def configured(cls) -> "Target":
        return cls(settings.FINOPS_COST_THRESHOLD_PER_POST, settings.FINOPS_ALERT_THRESHOLD_MULTIPLIER)

    def is_exceeded(self, total: Decimal) -> bool:
        return total > self.per_post * self.alert_multiplier


@dataclass(frozen=True, slots=True)
class Counted:
    """A post's counters, added up: dollars by cost type (the dearest first, ties by name) and its charges."""

    by_type: dict[str, Decimal] = field(default_factory=dict)
    events: int = 0
    unpriced: int = 0

    @property
    def total(self) -> Decimal:
        return sum(self.by_type.values(), ZERO)


@dataclass(frozen=True, slots=True)
class Described:
    """What a post's lines say: money and charges by evidence, and how many factors describe the charges.

    `archived` of these lines are in files: known by their sums alone.
    """

    evidence: dict[str, dict[str, Any]]
    factors: int = 0
    high_confidence: int = 0
    archived: int = 0

    def plus(self, other: "Described") -> "Described":
        evidence = {
            kind: {name: value + other.evidence[kind][name] for name, value in known.items()}
            for kind, known in self.evidence.items()
        }
        return Described(
            evidence,
            self.factors + other.factors,
            self.high_confidence + other.high_confidence,
            self.archived + other.archived,
        )


def confidence_of(factors: int) -> Decimal:
    """How well described one event is; not whether its amount is right."""
    return BASE_CONFIDENCE + PER_FACTOR * factors


def accuracy_of(events: int, factors: int) -> Decimal:
    """The mean confidence of events with so many factors together, cut to 2 decimals; the base without events."""
    if not events:
        return BASE_CONFIDENCE
    return (BASE_CONFIDENCE + PER_FACTOR * factors / events).quantize(CENT, ROUND_DOWN)


def rating_of(total: Decimal, target: Decimal) -> str:
    if total <= target / 2:
        return "excellent"
    return "good" if total <= target else "poor"


def post_breakdown(post_id: str, *, personas: Personas = None, cursor: str | None = None) -> dict[str, Any] | None:
    """All about one post; None when no visible event of it was ever accepted.

    audit_trail and confidence_factors show the latest 1,000 lines, newest first; `cursor` of an answer continues with
    older ones, but for `archived_events` lines that are in files. All other fields cover the whole post. A post whose
    events still wait in the inbox costs 0 so far, and `pending_events` says so. Raises InvalidQuery for a cursor that
    no answer gave.
    """
    if not _can_exist(post_id):
        return None
    with one_snapshot():
        counted, pending = _counted(post_id, personas), _pending(post_id, personas)
        if not counted.by_type and not pending:
            return None
        lines = CostEvent.objects.for_post(post_id).seen_by(personas)
        page = list(_older(lines, cursor).order_by("-timestamp", "-id")[: PAGE + 1])
        described = _described(lines).plus(_archived(post_id, personas))
        return _breakdown(post_id, counted, described, page, pending)


def empty_breakdown(post_id: str) -> dict[str, Any]:
    """The answer for a post that nothing is known of."""
    return _breakdown(post_id, Counted(), Described(_no_evidence()), [], 0)


def post_summary(post_id: str, *, personas: Personas = None, target: Target | None = None) -> dict[str, Any] | None:
    """One post at a glance, judged by `target` (default: the settings'); None as in `post_breakdown`."""
    if not _can_exist(post_id):
        return None
    counted = _counted(post_id, personas)
    if not counted.by_type and _is_unknown(post_id, personas):
        return None
    target = target or Target.configured()
    return {
        "post_id": post_id,
        "total_cost": counted.total,
        "primary_cost_type": next(iter(counted.by_type), None),
        "cost_efficiency_rating": rating_of(counted.total, target.per_post),
        "over_alert_threshold": target.is_exceeded(counted.total),
    }


def post_total(post_id: str) -> Decimal:
    """What a post cost so far, in dollars; 0 for an unknown one."""
    return _counted(post_id, None).total if _can_exist(post_id) else ZERO


def explain(event_id: str, *, source: str | None = None, personas: Personas = None) -> dict[str, Any] | None:
    """Why an event costs what it costs; None when it is unknown, not booked yet, or not visible to these personas.

    Raises InvalidQuery when several sources used this id and `source` names none of them, and Archived for an event
    that was booked and is no longer in the ledger; that one only to those who see all personas.
    """
    if not _can_exist(event_id):
        return None
    found = CostEvent.objects.filter(event_id=event_id).seen_by(personas).select_related("price_sheet").order_by("id")
    lines = [line for line in found if source in (None, line.source)]
    charges = [line for line in lines if line.entry_type == EntryType.CHARGE]
    if len(charges) > 1:
        names = ", ".join(sorted(line.source for line in charges))
        raise InvalidQuery("source", f"must name one of the sources that used this id: {names}")
    if charges:
        return _explanation(charges[0], [line for line in lines if line.adjusts == charges[0].pk])
    if personas is None and is_archived(event_id, source):
        raise Archived(event_id)
    return None


def _can_exist(name: str) -> bool:
    """Postgres refuses the NUL character even in a comparison."""
    return 0 < len(name) <= ID_LENGTH and "\0" not in name


def _counted(post_id: str, personas: Personas) -> Counted:
    whose = None if personas is None else text_array(personas)
    by_type, events, unpriced = COUNTED.row([post_id, whose], using=DEFAULT_DB_ALIAS)
    if by_type is None:
        return Counted()
    amounts = msgspec.json.decode(by_type, type=dict[str, str])
    return Counted({kind: Decimal(amount) for kind, amount in amounts.items()}, int(events or 0), int(unpriced or 0))


def _is_unknown(post_id: str, personas: Personas) -> bool:
    """Nothing of it is booked or waits, both seen at one moment: else it might be booked between two looks."""
    with one_snapshot():
        return not _counted(post_id, personas).by_type and not _pending(post_id, personas)


def _pending(post_id: str, personas: Personas) -> int:
    """The post's events that are accepted and not booked yet; an inbox row may hold events of many posts."""
    whose = "" if personas is None else " AND event ->> 'persona_id' = ANY(%(personas)s::text[])"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM costs_inboxrow, json_array_elements(payload::json) AS event"
            f" WHERE post_ids @> ARRAY[%(post)s::varchar] AND event ->> 'post_id' = %(post)s{whose}",
            {"post": post_id, "personas": personas},
        )
        return int(cursor.fetchone()[0])


def _older(lines: CostEventQuerySet, cursor: str | None) -> QuerySet[CostEvent]:
    if cursor is None:
        return lines
    stamp, _, line_id = cursor.partition("_")
    try:
        place = datetime.fromisoformat(stamp), int(line_id)
    except ValueError:
        raise InvalidQuery("cursor", "must be the cursor of an earlier answer") from None
    if place[0].tzinfo is None or not 0 <= place[1] < 2**63:
        raise InvalidQuery("cursor", "must be the cursor of an earlier answer")
    return lines.filter(TupleLessThan(Tuple(F("timestamp"), F("id")), place))


def _cursor(line: CostEvent) -> str:
    # No plus sign in it: a caller may put it into a URL as it is.
    return f"{line.timestamp.astimezone(UTC).isoformat().replace('+00:00', 'Z')}_{line.pk}"


def _described(lines: CostEventQuerySet) -> Described:
    charge = Q(entry_type=EntryType.CHARGE)
    given = Func(*FACTORS, function="num_nonnulls", output_field=IntegerField())
    rows = (
        lines.alias(given=given)
        .values("evidence")
        .annotate(
            amount=Sum("cost_amount"),
            events=Count("id", filter=charge),
            factors=Sum("given", filter=charge),
            high=Count("id", filter=charge & Q(given__gte=HIGH_FACTORS)),
        )
    )
    found = {row["evidence"]: row for row in rows}
    evidence = {kind: {"amount": row["amount"] or ZERO, "events": row["events"]} for kind, row in found.items()}
    return Described(
        evidence=_no_evidence() | evidence,
        factors=sum(row["factors"] or 0 for row in found.values()),
        high_confidence=sum(row["high"] for row in found.values()),
    )


def _archived(post_id: str, personas: Personas) -> Described:
    """What the post's lines in archived months said when they left."""
    kept = ArchivedPost.objects.filter(post_id=post_id)
    if personas is not None:
        kept = kept.filter(persona_id__in=personas)
    evidence, rows = _no_evidence(), list(kept)
    for row in rows:
        known = evidence[row.evidence]
        evidence[row.evidence] = {"amount": known["amount"] + row.amount, "events": known["events"] + row.events}
    return Described(
        evidence,
        factors=sum(row.factors for row in rows),
        high_confidence=sum(row.high for row in rows),
        archived=sum(row.lines for row in rows),
    )


def _no_evidence() -> dict[str, dict[str, Any]]:
    return {kind.value: {"amount": ZERO, "events": 0} for kind in Evidence}


def _breakdown(
    post_id: str, counted: Counted, described: Described, page: list[CostEvent], pending: int
) -> dict[str, Any]:
    shown, is_truncated = page[:PAGE], len(page) > PAGE
    return {
        "post_id": post_id,
        "total_cost": counted.total,
        "cost_breakdown": counted.by_type,
        "accuracy_score": accuracy_of(counted.events, described.factors),
        "accuracy_details": {
            "confidence_factors": [_confidence(line) for line in shown if line.entry_type == EntryType.CHARGE],
            "total_events": counted.events,
            "high_confidence_events": described.high_confidence,
        },
        "audit_trail": [_audited(line) for line in shown],
        "truncated": is_truncated,
        "cursor": _cursor(shown[-1]) if is_truncated else None,
        "unpriced_events": counted.unpriced,
        "pending_events": pending,
        "archived_events": described.archived,
        "evidence": described.evidence,
    }


def _confidence(line: CostEvent) -> dict[str, Any]:
    factors = [name for column, name in FACTORS.items() if getattr(line, column)]
    return {"event_timestamp": line.timestamp, "factors": factors, "confidence": confidence_of(len(factors))}


def _audited(line: CostEvent) -> dict[str, Any]:
    entry = {
        "timestamp": line.timestamp,
        "cost_type": line.cost_type,
        "cost_amount": line.cost_amount,
        "metadata": _merged_metadata(line),
    }
    return entry if line.entry_type == EntryType.CHARGE else {**entry, "entry_type": line.entry_type}


def _merged_metadata(line: CostEvent) -> dict[str, Any]:
    """What the caller wrote, and what the line knows: the line wins, since it is what was booked."""
    facts = {name: getattr(line, name) for name in ("model", "operation", "provider")}
    ids = {name: getattr(line, name) for name in ("correlation_id", "request_id")}
    # An adjustment corrects money, not usage: counted on both lines, tokens would add up to twice as many.
    counts = line.counted.as_plain() if line.counted and line.entry_type == EntryType.CHARGE else {}
    known = {name: value for name, value in (facts | counts | ids).items() if value is not None}
    return {**line.cost_metadata, **known}


def _explanation(charge: CostEvent, adjustments: list[CostEvent]) -> dict[str, Any]:
    amounts = [line.cost_amount for line in (charge, *adjustments) if line.cost_amount is not None]
    return {
        "event_id": charge.event_id,
        "source": charge.source,
        "post_id": charge.post_id,
        "persona_id": charge.persona_id,
        "timestamp": charge.timestamp,
        "booked_at": charge.created_at,
        "cost_type": charge.cost_type,
        "operation": charge.operation,
        "provider": charge.provider,
        "model": charge.model,
        "amount": sum(amounts, ZERO) if amounts else None,
        "booked_amount": charge.cost_amount,
        "evidence": charge.evidence,
        "explanation": _sentence(charge, adjustments),
        "computed_amount": charge.computed_amount,
        "deviating": bool(charge.deviating),
        "usage": charge.counted.as_plain() if charge.counted else None,
        "provider_usage": charge.usage,
        "price": _price(charge),
        "adjustments": [_adjustment(line) for line in adjustments],
    }


def _sentence(charge: CostEvent, adjustments: list[CostEvent]) -> str:
    if charge.evidence == Evidence.REPORTED:
        given = "The caller reported this amount; it was taken as given"
        return f"{given}, and the price beside it is for comparison." if charge.price_sheet else f"{given}."
    if charge.cost_amount is None:
        price = charge.explained()
        reason = price.reason if price else "nothing was counted"
        priced = "Priced since, by an adjustment; unpriced when it was booked" if adjustments else "Unpriced"
        return f"{priced}: {reason}."
    corrected = ", and corrected since by adjustments" if adjustments else ""
    return f"Computed from the counted usage with the prices of the event's own time{corrected}."


def _price(line: CostEvent) -> dict[str, Any] | None:
    """The line's own sheet at work; None where no usage was sent, so that there was nothing to price."""
    price = line.explained()
    if price is None:
        return None
    return {
        "amount": price.amount,
        "formula": price.formula,
        "components": [_component(component) for component in price.components],
        "price_lists": _price_lists(price),
        "resolution": dict(price.sheet.resolution),
        "reason": price.reason,
        "price_sheet": str(line.price_sheet_id),
    }


def _price_lists(price: Price) -> list[str]:
    """Where the prices come from, each with its version."""
    return sorted({component.origin for component in price.components})


def _component(component: Component) -> dict[str, Any]:
    return {**component._asdict(), "formula": component.formula}


def _adjustment(line: CostEvent) -> dict[str, Any]:
    return {
        "booked_at": line.created_at,
        "amount": line.cost_amount,
        "is_first_price": line.unpriced == -1,
        "price": _price(line),
    }
