"""The budget check, once a minute: what is used, how fast it burns, and once an hour whether it will last."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction

from anomalies import contributors, controlled, incidents, looks, outlook
from anomalies.detectors.base import Window
from anomalies.detectors.burn_rate import Burn, BurnReading
from anomalies.detectors.forecast import OutlookReading
from anomalies.incidents import Look
from anomalies.models import Watermark
from anomalies.quiet import unseen
from anomalies.rules import Rules
from anomalies.wording import plain, rounded
from controls import budgets
from controls.models import Budget, Usage
from costs.periods import HOUR, Span, floor

# A day's budget may be meant for one batch: what is used of it is watched, not how fast.
SHORTEST_PERIOD = timedelta(days=2)
FAST = (timedelta(hours=1), timedelta(minutes=5))
SLOW = (timedelta(hours=6), timedelta(minutes=30))
SECOND = timedelta(seconds=1)
ZERO = Decimal(0)


def check(at: datetime) -> None:
    """Look at every budget; an incident of a budget that has ended ends too."""
    # Committed at once: decisions and drains would wait for these rows, and a look that fails must not take them along.
    budgets.begin_ahead(at)
    _look(at)


@transaction.atomic
def _look(at: datetime) -> None:
    budgets.sample(at)
    rules, usages = Rules.stored(), budgets.usages(at)
    found = [*looks.at_budgets(rules, at), *_at_burning(rules, usages, at)]
    rules_seen = ["budget_overrun", "burn_rate"]
    if _is_a_new_hour(at):
        found += _at_outlooks(rules, usages, at)
        rules_seen.append("forecast")
    seen = {look.key for look in found}
    incidents.apply([*found, *(look for rule in rules_seen for look in unseen(rule, seen, rules))], at=at)
    # Last: decisions wait for whoever holds the row of a breaker.
    controlled.observe(found, at=at)


def _is_a_new_hour(at: datetime) -> bool:
    hour = floor(at, HOUR)
    mark, is_new = Watermark.objects.select_for_update().get_or_create(name="outlooks", defaults={"through": hour})
    if mark.through >= hour and not is_new:
        return False
    mark.through = hour
    mark.save(update_fields=["through"])
    return True


def _at_burning(rules: Rules, usages: Sequence[Usage], at: datetime) -> Iterable[Look]:
    ids = [usage.budget_id for usage in usages]
    spent = {span: budgets.spent_between(ids, at - span, at) for span in (*FAST, *SLOW)} if ids else {}
    for usage in usages:
        detector = rules.of("burn_rate", usage.scope.get("persona_id", ""))
        if detector is None or usage.ends_at - usage.starts_at < SHORTEST_PERIOD:
            continue
        in_span = {span: found.get(usage.budget_id, ZERO) for span, found in spent.items()}
        reading = BurnReading(
            usage.budget_id,
            usage.name,
            covers=looks.named(usage.scope),
            fast=_burn(usage, FAST, in_span),
            slow=_burn(usage, SLOW, in_span),
            spent=in_span[FAST[0]],
            limit=usage.limit,
            window=Window(at - FAST[0], at),
        )
        judged = detector.inspect(reading)
        if judged and judged.severity:
            reading = _as_used(reading, usage, at)
            judged = detector.inspect(reading)
        yield Look("burn_rate", detector, reading.scope, judged, partial(_burn_evidence, reading), reading)


def _as_used(reading: BurnReading, usage: Usage, at: datetime) -> BurnReading:
    """The same without what was booked now and used earlier: an import is no fire."""
    budget = Budget.objects.get(pk=usage.budget_id)
    used = {span: budgets.spent_by_ledger(budget, Span(at - span, at)) for span in (*FAST, *SLOW)}
    fast, slow = _burn(usage, FAST, used), _burn(usage, SLOW, used)
    return replace(reading, fast=_smaller(reading.fast, fast), slow=_smaller(reading.slow, slow))


def _smaller(one: Burn, other: Burn) -> Burn:
    return Burn(min(one.long, other.long), min(one.short, other.short))


def _burn(usage: Usage, pair: tuple[timedelta, timedelta], spent: Mapping[timedelta, Decimal]) -> Burn:
    return Burn(*(_times(usage, spent[span], span) for span in pair))


def _times(usage: Usage, spent: Decimal, span: timedelta) -> Decimal:
    """How many times faster than evenly: evenly, the limit lasts exactly for the period."""
    period = usage.ends_at - usage.starts_at
    even = usage.limit * Decimal(span // SECOND) / Decimal(period // SECOND)
    return spent / even


def _burn_evidence(reading: BurnReading) -> Mapping[str, Any]:
    return {
        "window": contributors.told_window(reading.window),
        "budget": reading.name,
        "burn": {
            "hour": _short(reading.fast.long),
            "five_minutes": _short(reading.fast.short),
            "six_hours": _short(reading.slow.long),
            "half_hour": _short(reading.slow.short),
        },
        "driven_by": contributors.of_days(reading.covers, reading.window),
    }


def _short(value: Decimal) -> str:
    return plain(rounded(value, 1))


def _at_outlooks(rules: Rules, usages: Sequence[Usage], at: datetime) -> Iterable[Look]:
    for usage in usages:
        detector, expected = rules.of("forecast", usage.scope.get("persona_id", "")), outlook.of_budget(usage, at)
        if detector is None or expected is None:
            continue
        reading = OutlookReading(
            usage.budget_id,
            usage.name,
            covers=looks.named(usage.scope),
            expected=expected.expected,
            limit=usage.limit,
            exceeded_at=expected.exceeded_at,
            window=Window(usage.starts_at, usage.ends_at),
        )
        judged = detector.inspect(reading)
        yield Look("forecast", detector, reading.scope, judged, partial(_outlook_evidence, reading), reading)


def _outlook_evidence(reading: OutlookReading) -> Mapping[str, Any]:
    exceeded = reading.exceeded_at
    return {
        "window": contributors.told_window(reading.window),
        "budget": reading.name,
        "expected": plain(rounded(reading.expected, 4)),
        "limit": plain(reading.limit),
        **({"exceeded_at": exceeded.isoformat().replace("+00:00", "Z")} if exceeded else {}),
    }
