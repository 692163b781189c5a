"""Every line that is booked moves what its budgets have spent and held, in the transaction that writes the line.

The lines of a batch are first added up by persona, model, cost type and quarter of an hour; the up to 8 scopes that
hold such a sum are then looked up among the budgets. A few statements for a batch, whatever its size: a lock against
budgets that are being made, the budgets, the holds that lines settle, and one update in the order of budgets.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection

from controls import balances, holds
from controls.balances import Move, Period
from controls.periods import QUARTER, period_at
from costs.booking import Line
from costs.periods import Span

# A budget that is made counts the ledger's lines of its period once, and drains add those that come later. A line may
# be missed or counted twice only if it is committed while that happens. So drains share this lock from before they
# look for budgets until they commit, and whoever makes a budget takes it alone: every drain has then either committed
# its lines, which the count sees, or has yet to look for budgets, and will find the new one. A transaction that takes
# it does not move the ledger's counters again afterwards: who holds those may wait for it.
LOCK = 2_400_010
SHARE = "SELECT pg_advisory_xact_lock_shared(%s)"
TAKE = "SELECT pg_advisory_xact_lock(%s)"

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Scope = tuple[str, str, str]
Quarters = dict[tuple[Scope, int], Decimal]
Spent = dict[tuple[int, Span], Decimal]


class _Budget(NamedTuple):
    id: int
    persona_id: str
    model: str
    cost_type: str
    period: str
    timezone: str
    counts_from: datetime
    counts_until: datetime | None

    @property
    def scope(self) -> Scope:
        return self.persona_id, self.model, self.cost_type

    def counts(self, at: datetime) -> bool:
        return self.counts_from <= at and (self.counts_until is None or at < self.counts_until)

    def span_at(self, at: datetime) -> Span:
        return period_at(at, self.period, ZoneInfo(self.timezone))


@dataclass(frozen=True, slots=True)
class _Calendar:
    """The periods of one kind in one zone, each looked up once for a quarter of an hour."""

    period: str
    zone: ZoneInfo
    found: dict[int, Span]

    def span(self, quarter: int) -> Span:
        if quarter not in self.found:
            self.found[quarter] = period_at(_start(quarter), self.period, self.zone)
        return self.found[quarter]


def count(sender: Any, lines: Sequence[Line], at: datetime, **_: Any) -> None:
    """Receiver of `costs.signals.lines_recorded`: charges and adjustments alike, each in the period it belongs to."""
    budgets = {budget.id: budget for budget in _budgets_of(lines)}
    spent = _moves(_added_up(lines), budgets.values())
    moves = holds.settle(lines, counted=partial(_counted, budgets), at=at)
    # What is pending may count in a period in which nothing was spent before.
    waiting = [(budget, budgets[budget].span_at(start)) for budget, start in moves if budget in budgets]
    for (budget, span), amount in spent.items():
        moves.setdefault((budget, span.start), Move()).spent += amount
    balances.begin({*spent, *waiting})
    balances.move(moves)


def _counted(budgets: Mapping[int, _Budget], line: Line, budget_id: int) -> Period | None:
    """The period of the budget in which the line is spent; None where it is not."""
    budget, at = budgets.get(budget_id), line.timestamp
    names = (line.persona_id or "", line.model or "", line.cost_type)
    if budget is None or not budget.counts(at):
        return None
    if any(bound not in ("", name) for bound, name in zip(budget.scope, names, strict=True)):
        return None
    return budget.id, budget.span_at(at).start


def _budgets_of(lines: Sequence[Line]) -> list[_Budget]:
    """The budgets that may count some of this. In two statements: the second must see what the lock waited for."""
    times = [line.timestamp for line in lines]
    personas = {"", *(line.persona_id for line in lines if line.persona_id)}
    with connection.cursor() as cursor:
        cursor.execute(SHARE, [LOCK])
        cursor.execute(
            "SELECT id, persona_id, model, cost_type, period, timezone, counts_from, counts_until FROM controls_budget"
            " WHERE persona_id = ANY(%s) AND counts_from <= %s AND (counts_until IS NULL OR counts_until > %s)",
            [list(personas), max(times), min(times)],
        )
        return [_Budget(*row) for row in cursor.fetchall()]


def _added_up(lines: Iterable[Line]) -> Quarters:
    sums: Quarters = defaultdict(Decimal)
    for line in lines:
        if line.cost_amount:
            scope = (line.persona_id or "", line.model or "", line.cost_type)
            sums[scope, (line.timestamp - EPOCH) // QUARTER] += line.cost_amount
    return sums


def _moves(quarters: Quarters, budgets: Iterable[_Budget]) -> Spent:
    moves: Spent = defaultdict(Decimal)
    by_scope: dict[Scope, list[_Budget]] = defaultdict(list)
    calendars: dict[tuple[str, str], _Calendar] = {}
    for budget in budgets:
        by_scope[budget.scope].append(budget)
        kind = budget.period, budget.timezone
        if kind not in calendars:
            calendars[kind] = _Calendar(budget.period, ZoneInfo(budget.timezone), {})
    for (scope, quarter), amount in _by_wider_scopes(quarters, by_scope.keys()).items():
        at = _start(quarter)
        for budget in by_scope[scope]:
            if budget.counts(at):
                moves[budget.id, calendars[budget.period, budget.timezone].span(quarter)] += amount
    return moves


def _by_wider_scopes(quarters: Quarters, wanted: Iterable[Scope]) -> Quarters:
    """The sums of the wanted scopes, in which '' stands for every name."""
    alike: dict[tuple[bool, bool, bool], set[Scope]] = defaultdict(set)
    for persona, model, cost_type in wanted:
        alike[bool(persona), bool(model), bool(cost_type)].add((persona, model, cost_type))
    sums: Quarters = defaultdict(Decimal)
    for (by_persona, by_model, by_type), scopes in alike.items():
        for ((persona, model, cost_type), quarter), amount in quarters.items():
            # A line without a name makes a wider scope here, which is not among these: it does not come twice.
            scope = (persona if by_persona else "", model if by_model else "", cost_type if by_type else "")
            if scope in scopes:
                sums[scope, quarter] += amount
    return sums


def _start(quarter: int) -> datetime:
    return EPOCH + quarter * QUARTER
