"""Prove that the periods of all budgets equal the ledger and the holds: each is added up anew from lines and holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Min

from controls.models import Budget
from controls.periods import periods_between
from costs.models import ArchivedPartition
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import Span, parse_zone


@dataclass(frozen=True, slots=True)
class Drift:
    """A period whose `spent` differs from its lines; None where there is no row."""

    budget_id: int
    name: str
    starts_at: datetime
    spent: Decimal | None
    added_up: Decimal


@dataclass(frozen=True, slots=True)
class HoldDrift:
    """A period whose `held` or `pending` differ from the holds that it counts; the latter come second."""

    budget_id: int
    name: str
    starts_at: datetime
    held: Decimal
    pending: Decimal
    open_holds: Decimal
    pending_holds: Decimal


@dataclass(frozen=True, slots=True)
class Calendar:
    """A kind of period in a zone, from the first one that some budget counts."""

    period: str
    timezone: str
    since: datetime

    def spans(self, until: datetime) -> Iterator[Span]:
        return periods_between(self.since, until, self.period, parse_zone(self.timezone))


def calendars() -> list[Calendar]:
    found = Budget.objects.values_list("period", "timezone").annotate(since=Min("counts_from"))
    return [Calendar(*row) for row in found.order_by("period", "timezone")]


def drifts(calendar: Calendar, *, at: datetime) -> Iterator[Drift]:
    """Compare each period in one statement, so in one snapshot: it may run while events come in."""
    for span in calendar.spans(at + BOOKED_BEFORE):
        if not _is_cut_through_archived_hours(span):
            yield from _drifts(calendar, span)


def _is_cut_through_archived_hours(span: Span) -> bool:
    """Of archived lines only the sums of whole hours are known; zones with half hours begin their days within one."""
    begins_within = span.start.minute or span.end.minute
    return bool(begins_within) and ArchivedPartition.objects.overlapping(span.start, span.end).exists()


# The lines of a period are read once, for all budgets together: added up by every scope that there is. A name that
# is absent and a name that does not matter are both '', so the former may be no group of its own.
COMPARE = """
WITH sums AS (
    SELECT CASE GROUPING(persona_id) WHEN 1 THEN '' ELSE persona_id END AS persona_id,
           CASE GROUPING(model) WHEN 1 THEN '' ELSE model END AS model,
           CASE GROUPING(cost_type) WHEN 1 THEN '' ELSE cost_type END AS cost_type,
           sum(cost_amount) AS amount
    FROM (
        SELECT COALESCE(persona_id, '') AS persona_id, COALESCE(model, '') AS model, cost_type, cost_amount
        FROM cost_events
        WHERE timestamp >= %(start)s AND timestamp < %(end)s AND created_at >= %(start)s - %(booked_before)s
        UNION ALL
        SELECT persona_id, model, cost_type, amount FROM costs_archivedsum
        WHERE counter = 'costs_hourlycost' AND at >= %(start)s AND at < %(end)s
    ) AS lines
    GROUP BY CUBE (persona_id, model, cost_type)
    HAVING (GROUPING(persona_id) = 1 OR persona_id <> '') AND (GROUPING(model) = 1 OR model <> '')
)
SELECT b.id, b.name, %(start)s::timestamptz, p.spent, COALESCE(sums.amount, 0)
FROM controls_budget b
LEFT JOIN controls_budgetperiod p ON p.budget_id = b.id AND p.starts_at = %(start)s
LEFT JOIN sums USING (persona_id, model, cost_type)
WHERE b.period = %(period)s AND b.timezone = %(timezone)s
  AND b.counts_from <= %(start)s AND (b.counts_until IS NULL OR b.counts_until > %(start)s)
  AND COALESCE(p.spent, 0) <> COALESCE(sums.amount, 0)
ORDER BY b.id
"""


def _drifts(calendar: Calendar, span: Span) -> Iterator[Drift]:
    parameters: dict[str, Any] = {
        "start": span.start,
        "end": span.end,
        "booked_before": BOOKED_BEFORE,
        "period": calendar.period,
        "timezone": calendar.timezone,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(COMPARE, parameters)
        found = [Drift(*row) for row in cursor.fetchall()]
    yield from found


# Periods that reserve nothing and holds that count nothing need no comparison: what is left are a few rows.
COMPARE_HOLDS = """
WITH sums AS (
    SELECT counted.budget_id, counted.starts_at, COALESCE(sum(amount) FILTER (WHERE state = 'open'), 0) AS held,
           sum(pending) AS pending
    FROM controls_hold, unnest(budget_ids, period_starts) AS counted(budget_id, starts_at)
    WHERE state = 'open' OR pending > 0
    GROUP BY counted.budget_id, counted.starts_at
), periods AS (
    SELECT budget_id, starts_at, held, pending FROM controls_budgetperiod WHERE held <> 0 OR pending <> 0
)
SELECT b.id, b.name, starts_at, COALESCE(p.held, 0), COALESCE(p.pending, 0),
       COALESCE(sums.held, 0), COALESCE(sums.pending, 0)
FROM periods p FULL JOIN sums USING (budget_id, starts_at) JOIN controls_budget b ON b.id = budget_id
WHERE COALESCE(p.held, 0) <> COALESCE(sums.held, 0) OR COALESCE(p.pending, 0) <> COALESCE(sums.pending, 0)
ORDER BY b.id, starts_at
"""


def hold_drifts() -> list[HoldDrift]:
    """Compare what all periods reserve with their holds, in one snapshot: it may run while decisions are made."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(COMPARE_HOLDS)
        return [HoldDrift(*row) for row in cursor.fetchall()]
