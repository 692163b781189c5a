"""What the controls saved: for every call that was switched, throttled or denied, what it would have cost and did cost.

A switched call is known once its event has settled its hold: the same tokens at both models' prices. Until then, and
for calls that never took place, the estimate of the decision counts, and is counted apart. A call that only had to
wait saved nothing. What a policy that only observes would have saved is told beside it and is no part of any sum; a
call that it would have throttled is taken for one that had only waited, since it took place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from controls.switches import Lists, targets_of
from costs import metric_gauges, metric_totals
from costs.breakdown import breakdown
from costs.periods import InvalidQuery, Span, parse_period, parse_zone
from costs.pricing import PriceBook, Quantities
from costs.reports import reading

GROUPS = ("persona_id",)
MONTH = timedelta(days=30)
ZERO = Decimal(0)
_HUNDREDTH = Decimal("0.01")


class Kind(NamedTuple):
    """Calls to which one thing was done. Of what was saved, `estimated` rests on estimates.

    `delayed` calls were let in later and saved nothing; of `unknown` ones a price is missing. Both are not in `calls`.
    """

    calls: int = 0
    would_have_cost: Decimal = ZERO
    cost: Decimal = ZERO
    estimated: Decimal = ZERO
    delayed: int = 0
    unknown: int = 0

    @property
    def saved(self) -> Decimal:
        return self.would_have_cost - self.cost

    def plus(self, other: "Kind") -> "Kind":
        return Kind(
            self.calls + other.calls,
            self.would_have_cost + other.would_have_cost,
            self.cost + other.cost,
            self.estimated + other.estimated,
            self.delayed + other.delayed,
            self.unknown + other.unknown,
        )


SWITCHED, THROTTLED, DENIED = "switched", "throttled", "denied"
KINDS = (SWITCHED, THROTTLED, DENIED)
OBSERVED = ("throttle", "switch", "deny")


@dataclass(slots=True)
class Savings:
    """Of one persona, or of all: what was spent, what the controls saved and what observing policies would have."""

    spent: Decimal = ZERO
    kinds: dict[str, Kind] = field(default_factory=lambda: dict.fromkeys(KINDS, Kind()))
    observed: dict[str, Kind] = field(default_factory=lambda: dict.fromkeys(OBSERVED, Kind()))
    observed_steps: int = 0

    @property
    def saved(self) -> Decimal:
        return sum((kind.saved for kind in self.kinds.values()), ZERO)

    @property
    def saved_percent(self) -> Decimal | None:
        """Of what would have been spent; cut, never rounded up. None where that is nothing."""
        return percent_of(self.saved, self.spent + self.saved)

    def plus(self, other: "Savings") -> "Savings":
        return Savings(
            self.spent + other.spent,
            {name: kind.plus(other.kinds[name]) for name, kind in self.kinds.items()},
            {name: kind.plus(other.observed[name]) for name, kind in self.observed.items()},
            self.observed_steps + other.observed_steps,
        )


def percent_of(part: Decimal, whole: Decimal) -> Decimal | None:
    return (100 * part / whole).quantize(_HUNDREDTH, "ROUND_DOWN") if whole > 0 else None


@dataclass(frozen=True, slots=True)
class Whose:
    """One persona's (None: everybody's), among all that the asker may see (None: all)."""

    persona_id: str | None = None
    personas: Sequence[str] | None = None

    def parameters(self) -> dict[str, Any]:
        return {"persona_id": self.persona_id, "personas": None if self.personas is None else list(self.personas)}


WHOSE = (
    "(%(persona_id)s::text IS NULL OR persona_id = %(persona_id)s)"
    " AND (%(personas)s::text[] IS NULL OR persona_id = ANY(%(personas)s))"
)
# A call that was released or has expired never took place; what a person wrote off is not known.
TOOK_PLACE = "state IN ('settled', 'open', 'unpriced')"

SAVED = f"""
WITH hold AS (
    SELECT persona_id, observed, model <> asked_model AS is_switched, state = 'settled' AS is_settled,
        CASE state WHEN 'settled' THEN asked_actual ELSE asked_amount END AS asked,
        CASE state WHEN 'settled' THEN actual ELSE amount END AS cost
    FROM controls_hold
    WHERE created_at >= %(start)s AND created_at < %(end)s AND (model <> asked_model OR observed <> '')
        AND {TOOK_PLACE} AND {WHOSE}
)
SELECT persona_id, 'switched', count(*) FILTER (WHERE asked IS NOT NULL AND cost IS NOT NULL),
    COALESCE(sum(asked) FILTER (WHERE cost IS NOT NULL), 0), COALESCE(sum(cost) FILTER (WHERE asked IS NOT NULL), 0),
    COALESCE(sum(asked - cost) FILTER (WHERE NOT is_settled), 0), 0,
    count(*) FILTER (WHERE asked IS NULL OR cost IS NULL)
FROM hold WHERE is_switched GROUP BY persona_id
UNION ALL
SELECT persona_id, 'observed deny', count(cost), COALESCE(sum(cost), 0), 0,
    COALESCE(sum(cost) FILTER (WHERE NOT is_settled), 0), 0, count(*) FILTER (WHERE cost IS NULL)
FROM hold WHERE observed = 'deny' GROUP BY persona_id
UNION ALL
SELECT persona_id, 'observed throttle', 0, 0, 0, 0, count(*), 0
FROM hold WHERE observed = 'throttle' GROUP BY persona_id
UNION ALL
SELECT persona_id, CASE decision WHEN 'throttle' THEN 'throttled' ELSE 'denied' END,
    count(*) FILTER (WHERE admitted_at IS NULL), COALESCE(sum(amount) FILTER (WHERE admitted_at IS NULL), 0), 0,
    COALESCE(sum(amount) FILTER (WHERE admitted_at IS NULL), 0), count(*) FILTER (WHERE admitted_at IS NOT NULL), 0
FROM controls_refusal
WHERE first_at >= %(start)s AND first_at < %(end)s AND {WHOSE} GROUP BY persona_id, decision
UNION ALL
SELECT persona_id, 'observed steps', count(*), 0, 0, 0, 0, 0
FROM controls_controltransition
WHERE is_observing AND at >= %(start)s AND at < %(end)s AND {WHOSE} GROUP BY persona_id
"""

# Of calls that would have been switched, by model: what they came to, and the tokens that their decisions expected.
WOULD_SWITCH = f"""
SELECT persona_id, cost_type, provider, asked_model, count(*), sum(input_tokens), sum(output_tokens), max(created_at),
    sum(COALESCE(actual, amount))
FROM controls_hold
WHERE created_at >= %(start)s AND created_at < %(end)s AND observed = 'switch' AND {TOOK_PLACE} AND {WHOSE}
GROUP BY persona_id, cost_type, provider, asked_model
"""


def savings(
    *,
    start_date: str,
    end_date: str,
    at: datetime,
    prices: PriceBook,
    lists: Lists,
    timezone: str = "UTC",
    persona_id: str | None = None,
    group_by: str | None = None,
    personas: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What was saved in [start_date, end_date) as one dict: in all, by kind, and by persona if asked for.

    Calls count when they were decided, `at` is now, `personas` are all that the asker may see (None: all). Raises
    InvalidQuery for parameters that have no answer.
    """
    if group_by not in (None, *GROUPS):
        raise InvalidQuery("group_by", f"must be {', '.join(GROUPS)}, not {group_by[:50]!r}")
    spent = breakdown(
        start_date=start_date,
        end_date=end_date,
        timezone=timezone,
        persona_id=persona_id,
        group_by="persona_id",
        personas=personas,
    )
    period = parse_period(start_date, end_date, parse_zone(timezone))
    found = saved_by_persona(period, Whose(persona_id, personas), prices, lists)
    for group in spent["groups"]:
        found.setdefault(group["key"]["persona_id"] or "", Savings()).spent = group["cost"]
    elapsed = min(period.end, at) - period.start
    return {
        "start_date": period.start,
        "end_date": period.end,
        "timezone": timezone,
        **_told(sum_of(found.values()), elapsed),
        "groups": _groups(found, elapsed) if group_by else [],
    }


def saved_by_persona(period: Span, whose: Whose, prices: PriceBook, lists: Lists) -> dict[str, Savings]:
    """What the controls did; without what was spent. Personas to whom they did nothing are absent."""
    parameters = {"start": period.start, "end": period.end, **whose.parameters()}
    found: dict[str, Savings] = {}
    with reading().cursor() as cursor:
        cursor.execute(SAVED, parameters)
        for persona_id, name, *numbers in cursor.fetchall():
            _enter(found.setdefault(persona_id, Savings()), name, Kind(*numbers))
        cursor.execute(WOULD_SWITCH, parameters)
        for persona_id, *group in cursor.fetchall():
            savings = found.setdefault(persona_id, Savings())
            savings.observed["switch"] = savings.observed["switch"].plus(_would_switch(group, prices, lists))
    return found


def publish(at: datetime) -> None:
    """Keep what was saved in this UTC month so far for the metrics, by persona."""
    month = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = saved_by_persona(Span(month, at), Whose(), PriceBook(), {})
    amounts = metric_totals.by_label({persona: saved.saved for persona, saved in found.items()})
    metric_gauges.store(metric_gauges.SAVED, [((persona,), amount) for persona, amount in amounts.items()], at)


def sum_of(found: Iterable[Savings]) -> Savings:
    total = Savings()
    for each in found:
        total = total.plus(each)
    return total


def _enter(savings: Savings, name: str, kind: Kind) -> None:
    if name == "observed steps":
        savings.observed_steps = kind.calls
    elif name in KINDS:
        savings.kinds[name] = kind
    else:
        savings.observed[name.removeprefix("observed ")] = kind


def _would_switch(group: Sequence[Any], prices: PriceBook, lists: Lists) -> Kind:
    """The share that the first target had saved of the average call, of what the calls came to."""
    cost_type, provider, model, calls, given, back, last, cost = group
    average = {"input_tokens": given / calls, "output_tokens": back / calls}
    usage = Quantities({name: tokens for name, tokens in average.items() if tokens})
    targets = targets_of(
        model, cost_type=cost_type, provider=provider or None, usage=usage, at=last, prices=prices, among=lists
    )
    if not targets:
        return Kind(calls, cost, cost)
    saved = (cost * targets[0].saves / targets[0].asked_amount).quantize(Decimal(1).scaleb(-12))
    return Kind(calls, cost, cost - saved, saved)


def _told(savings: Savings, elapsed: timedelta) -> dict[str, Any]:
    observed = savings.observed
    return {
        "spent": savings.spent,
        "saved": savings.saved,
        "saved_percent": savings.saved_percent,
        "saved_per_30_days_extrapolated": extrapolated(savings.saved, elapsed),
        "by_kind": {name: _told_of(kind) for name, kind in savings.kinds.items()},
        "observed": {
            "would_have_saved": sum((kind.saved for kind in observed.values()), ZERO),
            "steps": savings.observed_steps,
            "by_decision": {name: _told_of_observed(kind) for name, kind in observed.items()},
        },
    }


def _told_of(kind: Kind) -> dict[str, Any]:
    return {
        "calls": kind.calls,
        "would_have_cost": kind.would_have_cost,
        "cost": kind.cost,
        "saved": kind.saved,
        "estimated": kind.estimated,
        "delayed_calls": kind.delayed,
        "unknown_calls": kind.unknown,
    }


def _told_of_observed(kind: Kind) -> dict[str, Any]:
    return {
        "calls": kind.calls,
        "cost": kind.would_have_cost,
        "would_have_saved": kind.saved,
        "delayed_calls": kind.delayed,
    }


def extrapolated(saved: Decimal, elapsed: timedelta) -> Decimal | None:
    """Dollars in 30 days if it went on like this, to 6 decimals; None for a period that has not begun."""
    if elapsed <= timedelta(0):
        return None
    microsecond = timedelta(microseconds=1)
    return (saved * (MONTH // microsecond) / (elapsed // microsecond)).quantize(Decimal("0.000001"))


def _groups(found: dict[str, Savings], elapsed: timedelta) -> list[dict[str, Any]]:
    """Who saved most comes first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1].saved, item[0]))
    return [{"key": {"persona_id": name or None}, **_told(each, elapsed)} for name, each in ordered]
