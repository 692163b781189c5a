"""Detection drives the breaker: what every look read is put before it, quiet readings too.

Call `observe` last in the transaction that stores what the looks found: decisions of a persona wait for whoever holds
the row of its breaker. `revisit` looks at all triggers of those who are held back: they come down when nothing happens.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from alerts.signal import Severity
from anomalies import fresh, incidents, looks, triggers
from anomalies.detectors.base import Window
from anomalies.detectors.budget_overrun import BudgetReading
from anomalies.detectors.cost_spike import CostReading
from anomalies.fresh import Fresh
from anomalies.incidents import Look
from anomalies.models import Anomaly
from anomalies.readings import RECENT
from anomalies.rules import Rules
from controls import breaker
from controls.ladder import ENTER, Level, Reading
from controls.models import Control, Hold
from controls.policy_rules import Policies
from costs.attribution import Target
from costs.models.counters import FiveMinuteCost

# Others may have found something critical that a complete look does not read again.
READ_AGAIN = ("cost_spike", "efficiency_drop", "negative_roi", "budget_overrun")
ZERO = Decimal(0)


class Seen(NamedTuple):
    """A reading and the look that it comes from."""

    look: Look
    reading: Reading


def observe(found: Iterable[Look], *, at: datetime, complete: Collection[str] = ()) -> None:
    """Have the breaker read these looks. `complete` are personas of whom these are looks at every trigger."""
    policies = Policies.stored()
    seen = [
        Seen(look, reading)
        for look in _not_tolerated(map(triggers.with_held, found), at)
        for reading in triggers.readings(look, policies.of(look.scope["persona_id"]))
    ]
    worst = _worst(_with_fresh(_weighed(seen, at), policies, at))
    breaker.observe([*worst, *_standing(complete, policies)], at=at, complete=complete, policies=policies)


def revisit(at: datetime) -> None:
    """A complete look at everybody who is held back. A pause ends by the clock alone."""
    held = Control.objects.active().exclude(level=Level.PAUSE).order_by("pk")
    personas = list(held.values_list("persona_id", flat=True))
    if not personas:
        return
    rules = Rules.stored()
    found = [
        *looks.at_spending(dict.fromkeys(personas, at), rules, target=Target.configured()),
        *looks.at_outcomes(personas, rules, at, per_follow=settings.FINOPS_COST_PER_FOLLOW_TARGET),
        *looks.at_budgets(rules, at, set(personas)),
    ]
    observe(found, at=at, complete=set(personas))


def _not_tolerated(found: Iterable[Look], at: datetime) -> list[Look]:
    """Without those of nobody, without history, and without what a person called normal."""
    judged = [look for look in found if look.judgement and look.scope.get("persona_id") and not _is_history(look, at)]
    if not any(look.judgement and look.judgement.severity for look in judged):
        return judged
    tolerances = incidents.tolerances_of(judged, at)
    return [look for look in judged if look.judgement and not incidents.is_tolerated(look, look.judgement, tolerances)]


def _is_history(look: Look, at: datetime) -> bool:
    """What waited while everything stood still is an incident, but not one that goes on."""
    return isinstance(look.reading, CostReading) and look.reading.window.end < at - RECENT


def _worst(seen: Iterable[Seen]) -> list[Reading]:
    """One reading for each persona and trigger: there may be many dear posts, or several budgets."""
    worst: dict[tuple[str, str], Reading] = {}
    for _, reading in seen:
        key = reading.persona_id, reading.trigger
        if key not in worst or reading.excess > worst[key].excess:
            worst[key] = reading
    return list(worst.values())


def _standing(personas: Collection[str], policies: Policies) -> list[Reading]:
    """What is critical and has not calmed down, of rules that a complete look does not read: it keeps its level."""
    if not personas:
        return []
    still = Anomaly.objects.open().filter(persona_id__in=personas, severity=Severity.CRITICAL, calm_since=None)
    return [
        Reading(
            persona_id=persona,
            trigger=triggers.critical_trigger(rule),
            severity=Severity.CRITICAL,
            excess=ENTER,
            events=0,
            amount=ZERO,
            is_lagging=True,
            says=f"A critical anomaly is still open: {rule}.",
        )
        for persona, rule in still.exclude(rule__in=READ_AGAIN).values_list("persona_id", "rule").distinct().order_by()
        if policies.of(persona).on_critical
    ]


# The counters of the hours are enough to tell 20 events from fewer.
SAMPLES = """
SELECT asked.place, COALESCE(sum(counted.events), 0), COALESCE(sum(counted.amount), 0)
FROM unnest(%(personas)s::text[], %(models)s::text[], %(types)s::text[], %(starts)s::timestamptz[],
            %(ends)s::timestamptz[]) WITH ORDINALITY AS asked(persona_id, model, cost_type, since, until, place)
CROSS JOIN LATERAL generate_series(date_trunc('hour', asked.since, 'UTC'), asked.until, interval '1 hour') AS hours(at)
JOIN costs_hourlycost counted ON counted.hour = hours.at AND counted.persona_id = asked.persona_id
WHERE asked.model IN ('', counted.model) AND asked.cost_type IN ('', counted.cost_type)
GROUP BY 1
"""


def _weighed(seen: Sequence[Seen], at: datetime) -> list[Seen]:
    """With the events and the amount behind those that crossed and do not know them."""
    unknown = [each for each in seen if each.reading.is_triggered and not _is_spike(each)]
    spikes = [each for each in seen if each.reading.is_triggered and _is_spike(each)]
    calm = [each for each in seen if not each.reading.is_triggered]
    return [*calm, *_with_all_events(spikes, at), *(_with_sample(unknown) if unknown else ())]


def _with_all_events(spikes: Sequence[Seen], at: datetime) -> list[Seen]:
    """Ten posts of one event each are ten events: the window that the minimum is about is the quarter of an hour."""
    personas = {each.reading.persona_id for each in spikes}
    pulse = FiveMinuteCost.objects.filter(persona_id__in=personas, starts_at__gt=at - RECENT, starts_at__lte=at)
    counted = dict(pulse.values_list("persona_id").annotate(Sum("events"))) if personas else {}
    return [
        Seen(look, replace(reading, events=max(reading.events, counted.get(reading.persona_id, 0))))
        for look, reading in spikes
    ]


def _with_sample(unknown: Sequence[Seen]) -> list[Seen]:
    counted, waiting, known = _counted(unknown), _open_holds(unknown), []
    for place, (look, reading) in enumerate(unknown):
        events, amount = counted.get(place, (0, ZERO))
        events += waiting.get(_budget_of(look), 0)
        known.append(Seen(look, replace(reading, events=events, amount=reading.amount or amount)))
    return known


def _counted(unknown: Sequence[Seen]) -> dict[int, tuple[int, Decimal]]:
    asked: dict[str, list[Any]] = {name: [] for name in ("personas", "models", "types", "starts", "ends")}
    for look, reading in unknown:
        window: Window | None = getattr(look.reading, "window", None)
        asked["personas"].append(reading.persona_id)
        asked["models"].append(look.scope.get("model", ""))
        asked["types"].append(look.scope.get("cost_type", ""))
        asked["starts"].append(window.start if window else None)
        asked["ends"].append(window.end if window else None)
    with connection.cursor() as cursor:
        cursor.execute(SAMPLES, asked)
        return {place - 1: (int(events), amount) for place, events, amount in cursor.fetchall()}


def _open_holds(unknown: Iterable[Seen]) -> dict[int, int]:
    """How many calls are under way in those of the budgets that hold something: they count as events to come."""
    ids = {_budget_of(look) for look, _ in unknown} - {0}
    counts = dict.fromkeys(ids, 0)
    if ids:
        under_way = Hold.objects.open().filter(budget_ids__overlap=list(ids)).values_list("budget_ids", flat=True)
        for budget in (budget for budgets in under_way for budget in budgets if budget in ids):
            counts[budget] += 1
    return counts


def _budget_of(look: Look) -> int:
    return look.reading.budget_id if isinstance(look.reading, BudgetReading) else 0


def _with_fresh(seen: Sequence[Seen], policies: Policies, at: datetime) -> list[Seen]:
    """Spikes of those who are held back get the excess of what came since their level began."""
    spiking = {each.reading.persona_id for each in seen if each.reading.is_triggered and _is_spike(each)}
    if not spiking:
        return list(seen)
    held = Control.objects.active().exclude(level=Level.PAUSE).filter(persona_id__in=spiking)
    since = dict(held.values_list("persona_id", "since"))
    found = fresh.spent_since(since, at) if since else {}
    return [_again(each, found.get(each.reading.persona_id), policies) if _is_spike(each) else each for each in seen]


def _is_spike(seen: Seen) -> bool:
    return isinstance(seen.look.reading, CostReading)


def _again(seen: Seen, found: Fresh | None, policies: Policies) -> Seen:
    look, reading = seen
    assert isinstance(look.reading, CostReading), "only spikes are judged afresh"
    kind = look.reading.kind
    value = found.value(kind) if found and reading.is_triggered else None
    if found is None or value is None or found.behind(kind) < policies.of(reading.persona_id).minimum_amount:
        return seen
    # The same baseline and threshold: the excess grows as the value does.
    return Seen(look, replace(reading, fresh=reading.excess * value / look.reading.current))
