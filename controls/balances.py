"""The one way by which lines and closed holds move budgets; what decisions let in moves `held` in their own statement.

Rows are locked in the order of budget and period, as decisions do it, so that nobody ever waits in a circle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import DEFAULT_DB_ALIAS, connections

from costs.periods import Span

# A budget and the start of one of its periods.
Period = tuple[int, datetime]


@dataclass(slots=True)
class Move:
    """What is added to a period, in US dollars."""

    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    pending: Decimal = Decimal(0)
    overrun: Decimal = Decimal(0)

    def __bool__(self) -> bool:
        return any((self.spent, self.held, self.pending, self.overrun))


BEGIN = """
INSERT INTO controls_budgetperiod (budget_id, starts_at, ends_at, spent)
SELECT id, starts_at, ends_at, 0 FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
    AS t(id, starts_at, ends_at) ORDER BY id, starts_at
ON CONFLICT (budget_id, starts_at) DO NOTHING
"""


def begin(periods: Iterable[tuple[int, Span]], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Make sure that these periods have their rows."""
    rows = [(budget, span.start, span.end) for budget, span in periods]
    if rows:
        with connections[using].cursor() as cursor:
            cursor.execute(BEGIN, _columns(rows))


MOVE = """
WITH moves AS (
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])
        AS t(budget_id, starts_at, spent, held, pending, overrun)
), locked AS MATERIALIZED (
    SELECT budget_id, starts_at FROM controls_budgetperiod JOIN moves USING (budget_id, starts_at)
    ORDER BY budget_id, starts_at FOR UPDATE OF controls_budgetperiod
)
UPDATE controls_budgetperiod AS p SET spent = p.spent + moves.spent, held = p.held + moves.held,
    pending = p.pending + moves.pending, overrun = p.overrun + moves.overrun
FROM locked JOIN moves USING (budget_id, starts_at)
WHERE p.budget_id = locked.budget_id AND p.starts_at = locked.starts_at
"""


def move(moves: Mapping[Period, Move], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Add to periods that have their rows."""
    rows = [(*period, each.spent, each.held, each.pending, each.overrun) for period, each in moves.items() if each]
    if rows:
        with connections[using].cursor() as cursor:
            cursor.execute(MOVE, _columns(rows))


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
