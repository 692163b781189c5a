"""Budgets over a stored period, by the terms they have today: also those that are younger than the period."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from anomalies import looks, outlook
from anomalies.backtest.judge import Look
from anomalies.backtest.period import Period
from anomalies.budget_check import FAST, SLOW
from anomalies.detectors.base import Detector, Window
from anomalies.detectors.burn_rate import Burn, BurnReading
from anomalies.detectors.forecast import OutlookReading
from anomalies.readings import FIVE_MINUTES
from controls.models import Budget, Usage
from costs.periods import HOUR, Span

ZERO = Decimal(0)
SECOND = timedelta(seconds=1)
# Five minutes are counted for personas only, hours by everything that a budget may bind.
SPENT = {
    FIVE_MINUTES: "SELECT starts_at, sum(amount) FROM costs_fiveminutecost"
    " WHERE starts_at >= %(start)s AND starts_at < %(end)s {scope} GROUP BY 1 ORDER BY 1",
    HOUR: "SELECT hour, sum(amount) FROM costs_hourlycost"
    " WHERE hour >= %(start)s AND hour < %(end)s {scope} GROUP BY 1 ORDER BY 1",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A budget at the end of an hour or five minutes in which `amount` was spent."""

    at: datetime
    amount: Decimal
    usage: Usage


def budget_overrun(period: Period) -> Iterator[Look]:
    for budget, detector in _budgets(period, "budget_overrun"):
        before: Usage | None = None
        for step in _steps(budget, period, _unit(budget)):
            if before and before.starts_at == step.usage.starts_at and not step.amount:
                continue
            before = step.usage
            reading = looks.budget_reading(step.usage)
            if period.levels:
                reading = replace(reading, warn_levels=())
            beyond = min(step.amount, step.usage.spent - step.usage.limit)
            yield Look(step.at, detector, reading.scope, reading, beyond)


def burn_rate(period: Period) -> Iterator[Look]:
    for budget, detector in _budgets(period, "burn_rate"):
        if _unit(budget) == HOUR:
            period.note(f"{budget.name} is left out: five minutes are not counted by model or cost type.")
            continue
        recent: deque[Decimal] = deque(maxlen=SLOW[0] // FIVE_MINUTES)
        for step in _steps(budget, period, FIVE_MINUTES):
            recent.append(step.amount)
            if not any(recent):
                continue
            spent = {span: sum(list(recent)[-(span // FIVE_MINUTES) :], ZERO) for span in (*FAST, *SLOW)}
            fast, slow = (Burn(*(_times(step.usage, spent[span], span) for span in pair)) for pair in (FAST, SLOW))
            reading = BurnReading(
                budget.pk,
                budget.name,
                covers=looks.named(step.usage.scope),
                fast=fast,
                slow=slow,
                spent=spent[FAST[0]],
                limit=budget.limit,
                window=Window(step.at - FAST[0], step.at),
            )
            even = _even(step.usage, FIVE_MINUTES)
            yield Look(step.at, detector, reading.scope, reading, step.amount - even)


def forecast(period: Period) -> Iterator[Look]:
    """Every hour, from the days before, as the outlook of a live budget."""
    for budget, detector in _budgets(period, "forecast"):
        for step in _steps(budget, period, HOUR):
            expected = outlook.of_budget(step.usage, step.at)
            if expected is None:
                continue
            reading = OutlookReading(
                budget.pk,
                budget.name,
                covers=looks.named(step.usage.scope),
                expected=expected.expected,
                limit=budget.limit,
                exceeded_at=expected.exceeded_at,
                window=Window(step.usage.starts_at, step.usage.ends_at),
            )
            yield Look(step.at, detector, reading.scope, reading)


def _budgets(period: Period, rule: str) -> Iterator[tuple[Budget, Detector]]:
    active = Budget.objects.active()
    found = list((active if period.whole else active.filter(persona_id__in=period.personas)).order_by("pk"))
    if not found:
        period.note("There is no budget to look at.")
    for done, budget in enumerate(found, start=1):
        yield budget, period.detector(rule, budget.persona_id)
        period.passed(done, len(found))


def _unit(budget: Budget) -> timedelta:
    return HOUR if budget.model or budget.cost_type else FIVE_MINUTES


def _steps(budget: Budget, period: Period, unit: timedelta) -> Iterator[Step]:
    """Every step of the span, the last one up to its end. An hour in which a period begins counts in the old one."""
    for name in ("spent", "held", "pending", "increase"):
        # What a query would bring with it.
        setattr(budget, name, ZERO)
    usage = budget.usage(period.span.start)
    amounts = _spent(budget, Span(usage.starts_at, period.span.end), unit)
    spent = sum((amount for moment, amount in amounts.items() if moment < period.span.start), ZERO)
    moment = period.span.start
    while moment < period.span.end:
        if moment >= usage.ends_at:
            usage, spent = budget.usage(moment), ZERO
        amount = amounts.get(moment, ZERO)
        spent += amount
        yield Step(min(moment + unit, period.span.end), amount, replace(usage, spent=spent))
        moment += unit


def _spent(budget: Budget, span: Span, unit: timedelta) -> dict[datetime, Decimal]:
    scope = "".join(f" AND {name} = %({name})s" for name in budget.scope)
    with connection.cursor() as cursor:
        cursor.execute(SPENT[unit].format(scope=scope), {"start": span.start, "end": span.end, **budget.scope})
        return dict(cursor.fetchall())


def _times(usage: Usage, spent: Decimal, span: timedelta) -> Decimal:
    """How many times faster than evenly."""
    return spent / _even(usage, span)


def _even(usage: Usage, span: timedelta) -> Decimal:
    """What so much time may spend if the limit is to last exactly for the period."""
    return usage.limit * Decimal(span // SECOND) / Decimal((usage.ends_at - usage.starts_at) // SECOND)
