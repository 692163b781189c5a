"""Budgets are made, revised and ended here, each change with its actor; and read, for those who watch them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from controls import balances, periods
from controls.balances import Move
from controls.models import Budget, BudgetPeriod, BudgetRevision, Usage
from controls.spending import LOCK, TAKE
from costs.breakdown import Query, Source, plan_of
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import Span, parse_zone

SAMPLES_KEPT = timedelta(days=3)
# How much older than asked for a sample may be, to stand for what was spent then.
SAMPLE_AGE = timedelta(minutes=2)
# Of a period's row; a few checks long, so that one that is missed does not matter.
AHEAD = timedelta(minutes=5)
REVISABLE = ("name", "limit", "hard", "warn_levels")


# Active ones of one persona, or of no single one: every line and every decision looks at all of them.
MOST_BUDGETS = 100


class Ended(ValueError):
    """The budget has ended and stays as it was."""


class TooMany(ValueError):
    """There are as many as there may be; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget says that may change."""

    name: str
    limit: Decimal
    hard: bool
    warn_levels: list[int]

    @classmethod
    def of(cls, budget: Budget) -> "Terms":
        return cls(budget.name, budget.limit, budget.hard, list(budget.warn_levels))


def create(budget: Budget, *, actor: str, at: datetime) -> Budget:
    """Store a new budget; what the ledger holds of its current period counts from the first moment. Raises TooMany."""
    budget.created_at, budget.counts_from, budget.revision = at, budget.span_at(at).start, 1
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Why this is exact stands where the lock is defined.
            cursor.execute(TAKE, [LOCK])
        _require_room(budget.persona_id)
        budget.save(force_insert=True)
        _revise(budget, BudgetRevision.Change.MADE, actor=actor, at=at)
        # Lines may lie a little ahead of the clock, and so in the next period already.
        for span in periods.periods_between(at, at + BOOKED_BEFORE, budget.period, budget.zone):
            spent = spent_by_ledger(budget, span)
            if spent or span.start <= at:
                BudgetPeriod.objects.create(budget=budget, starts_at=span.start, ends_at=span.end, spent=spent)
        _adopt_holds(budget, at)
    return budget


ADOPT = """
UPDATE controls_hold SET budget_ids = budget_ids || %(budget)s::bigint, period_starts = period_starts || %(start)s
WHERE (state = 'open' OR pending > 0 AND created_at >= %(start)s)
  AND %(persona)s IN ('', persona_id) AND %(model)s IN ('', model) AND %(cost_type)s IN ('', cost_type)
RETURNING CASE state WHEN 'open' THEN amount ELSE 0 END, pending, overrun
"""


def _adopt_holds(budget: Budget, at: datetime) -> None:
    """Calls that were let in before count too: no decision is under way, since they share the lock."""
    span = budget.span_at(at)
    scope = {"persona": budget.persona_id, "model": budget.model, "cost_type": budget.cost_type}
    with connection.cursor() as cursor:
        cursor.execute(ADOPT, {"budget": budget.pk, "start": span.start, **scope})
        found = cursor.fetchall()
    if found:
        held, pending, overrun = (sum(column, Decimal(0)) for column in zip(*found, strict=True))
        balances.move({(budget.pk, span.start): Move(held=held, pending=pending, overrun=overrun)})


def _require_room(persona_id: str) -> None:
    if Budget.objects.active().filter(persona_id=persona_id).count() >= MOST_BUDGETS:
        whose = f"of {persona_id}" if persona_id else "of no single persona"
        raise TooMany(f"There are {MOST_BUDGETS} active budgets {whose} already: end one first.")


def revise(budget_id: int, changes: dict[str, Any], *, actor: str, at: datetime) -> Budget:
    """Change some of REVISABLE; nothing happens when all are as they were. Raises Ended."""
    with transaction.atomic():
        budget = _held(budget_id)
        if budget.ended_at:
            raise Ended
        before = Terms.of(budget)
        for name in REVISABLE:
            setattr(budget, name, changes.get(name, getattr(budget, name)))
        if Terms.of(budget) != before:
            budget.revision += 1
            budget.save(update_fields=[*REVISABLE, "revision"])
            _revise(budget, BudgetRevision.Change.REVISED, actor=actor, at=at)
    return budget


def end(budget_id: int, *, actor: str, at: datetime) -> Budget:
    """Let it control nothing any more; the lines of its last period still count. Safe to do twice."""
    with transaction.atomic():
        budget = _held(budget_id)
        if not budget.ended_at:
            # A clock that differs between machines must not end it before it was made.
            budget.ended_at = max(at, budget.created_at)
            budget.counts_until = budget.span_at(budget.ended_at).end
            budget.revision += 1
            budget.save(update_fields=["ended_at", "counts_until", "revision"])
            _revise(budget, BudgetRevision.Change.ENDED, actor=actor, at=at)
    return budget


def usages(at: datetime, personas: Collection[str] | None = None) -> list[Usage]:
    """What every active budget has spent in its period at `at`; of those that count these personas, if given."""
    budgets = Budget.objects.active()
    return (budgets if personas is None else budgets.touching(personas)).order_by("id").usages(at)


def spent_by_ledger(budget: Budget, span: Span) -> Decimal:
    """Add up the scope anew: whole UTC days and hours from the counters, what is left at the ends from the lines."""
    names = tuple(budget.scope)
    plan = plan_of(Query(span, parse_zone("UTC"), names))
    parameters: dict[str, Any] = {**budget.scope, "booked_before": BOOKED_BEFORE}
    selects = []
    for number, (source, parts) in enumerate(plan.parts.values()):
        selects.append(_select(source, names, number))
        parameters[f"since_{number}"] = [source.bound(part.start) for _, part in parts]
        parameters[f"until_{number}"] = [source.bound(part.end) for _, part in parts]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COALESCE(sum(cost), 0) FROM ({' UNION ALL '.join(selects)}) AS part", parameters)
        return Decimal(cursor.fetchone()[0])


def _select(source: Source, names: Sequence[str], number: int) -> str:
    scope = "".join(f" AND {name} = %({name})s" for name in names)
    return (
        f"SELECT cost FROM unnest(%(since_{number})s::{source.kind}[], %(until_{number})s::{source.kind}[])"
        f" AS span(since, until) CROSS JOIN LATERAL (SELECT {source.sums[0]} AS cost FROM {source.table}"
        f" WHERE {source.within('since', 'until')}{scope}) AS sums"
    )


SAMPLE = """
INSERT INTO controls_budgetsample (budget_id, at, starts_at, spent)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::numeric[])
ON CONFLICT DO NOTHING
"""


def sample(at: datetime) -> None:
    """Note once a minute what every active budget has spent in its period, and drop notes older than three days."""
    minute = at.replace(second=0, microsecond=0)
    rows = [(usage.budget_id, minute, usage.starts_at, usage.spent) for usage in usages(at)]
    with connection.cursor() as cursor:
        if rows:
            cursor.execute(SAMPLE, [list(column) for column in zip(*rows, strict=True)])
        cursor.execute("DELETE FROM controls_budgetsample WHERE at < %s", [minute - SAMPLES_KEPT])


def begin_ahead(at: datetime) -> None:
    """Give the periods of soon their rows: at midnight the first decisions of all personas come at once.

    Whoever finds none makes it, but that is two statements more.
    """
    balances.begin((budget.pk, budget.span_at(at + AHEAD)) for budget in Budget.objects.active())


# From the note that stands for `since` to the newest one; periods that were over in between count as they stand now.
SPENT_BETWEEN = """
SELECT asked.id, newest.spent - oldest.spent + COALESCE((
    SELECT sum(p.spent) FROM controls_budgetperiod p
    WHERE p.budget_id = asked.id AND p.starts_at >= oldest.starts_at AND p.starts_at < newest.starts_at
), 0)
FROM unnest(%(ids)s::bigint[]) AS asked(id)
CROSS JOIN LATERAL (
    SELECT starts_at, spent FROM controls_budgetsample s
    WHERE s.budget_id = asked.id AND s.at <= %(at)s AND s.at >= COALESCE((
        SELECT max(b.at) FROM controls_budgetsample b
        WHERE b.budget_id = asked.id AND b.at >= %(since)s - %(age)s AND b.at <= %(since)s
    ), %(since)s)
    ORDER BY s.at LIMIT 1
) AS oldest
CROSS JOIN LATERAL (
    SELECT starts_at, spent FROM controls_budgetsample s
    WHERE s.budget_id = asked.id AND s.at <= %(at)s ORDER BY s.at DESC LIMIT 1
) AS newest
"""


def spent_between(budget_ids: Collection[int], since: datetime, at: datetime) -> dict[int, Decimal]:
    """What was booked for each budget from `since` to `at`, by its samples: in booking time, whenever it was used.

    A budget that is younger, or was not sampled then, counts from its first sample; without any it is left out. What
    was booked late for periods that were over at `since` is history and does not count.
    """
    parameters: dict[str, Any] = {"ids": list(budget_ids), "since": since, "at": at, "age": SAMPLE_AGE}
    with connection.cursor() as cursor:
        cursor.execute(SPENT_BETWEEN, parameters)
        return dict(cursor.fetchall())


def _held(budget_id: int) -> Budget:
    """The row, for this transaction alone; lines may be counted meanwhile. Raises Budget.DoesNotExist."""
    return Budget.objects.select_for_update(no_key=True).get(pk=budget_id)


def _revise(budget: Budget, change: BudgetRevision.Change, *, actor: str, at: datetime) -> None:
    terms = Terms.of(budget)
    BudgetRevision.objects.create(
        budget=budget,
        number=budget.revision,
        change=change,
        name=terms.name,
        limit=terms.limit,
        hard=terms.hard,
        warn_levels=terms.warn_levels,
        actor=actor,
        at=at,
    )
