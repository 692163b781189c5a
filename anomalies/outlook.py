"""What is to come, out of the counters: costs by persona, model or type, and whether a budget will last.

Each question is one statement, hence one snapshot. Days are UTC days. A history begins with its first day that cost
something and has a zero for each later one without costs; the running day never belongs to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.forecast import (
    HORIZON,
    BudgetOutlook,
    Errors,
    Forecast,
    History,
    NoForecast,
    Range,
    budget_outlook,
    forecast,
)
from controls.models import Usage
from costs.breakdown import PERSONA_LENGTH
from costs.periods import DAY, InvalidQuery, floor
from costs.reports import reading

GROUPS = ("persona_id", "model", "cost_type")
WINDOW_DAYS = 120
RECENT_DAYS = 30
RANGE_PERCENT = 80
MOST_SERIES = 50
# A budget's hours are read from this many full days.
HABIT_DAYS = 14
ZERO = Decimal(0)


@dataclass(slots=True)
class Series:
    """What a group cost by day, the running one included, and how many of its charges have no price yet."""

    amounts: dict[date, Decimal] = field(default_factory=dict)
    unpriced: int = 0

    def add(self, day: date, amount: Decimal, unpriced: int) -> None:
        self.amounts[day] = self.amounts.get(day, ZERO) + amount
        self.unpriced += unpriced

    def history(self, today: date) -> History:
        """From the first day that cost something to yesterday."""
        first = min((day for day, amount in self.amounts.items() if amount), default=today)
        days = [first + timedelta(days=number) for number in range((today - first).days)]
        return History(today - DAY, tuple(self.amounts.get(day, ZERO) for day in days))


@dataclass(slots=True)
class Found:
    """The dearest groups by name, and the sum of all; `omitted` groups are only in that."""

    total: Series = field(default_factory=Series)
    groups: dict[str, Series] = field(default_factory=dict)
    omitted: int = 0


def outlook(
    *,
    at: datetime,
    group_by: str | None = None,
    persona_id: str | None = None,
    personas: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Forecast the 30 days after today: all costs together, and each group, the dearest first.

    `personas` are all that the caller may see (None: all). Raises InvalidQuery for parameters that have no answer.
    """
    today = at.astimezone(UTC).date()
    found = _read(_checked_group(group_by), _checked_persona(persona_id), personas, today)
    return {
        "made_at": at,
        "start_date": (today + DAY).isoformat(),
        "end_date": (today + HORIZON * DAY).isoformat(),
        "range_percent": RANGE_PERCENT,
        "group_by": group_by,
        "total": _told(found.total, at),
        "series": [{"key": {group_by: name or None}, **_told(series, at)} for name, series in found.groups.items()],
        "omitted_series": found.omitted,
    }


# A budget's scope names every column that it binds; the hours are those of the last full days.
OF_BUDGET = """
SELECT day, NULL, sum(amount) FROM costs_dailycost
WHERE day >= %(since)s AND day < %(today)s {scope} GROUP BY 1
UNION ALL
SELECT NULL, extract(hour FROM hour AT TIME ZONE 'UTC')::int, sum(amount) FROM costs_hourlycost
WHERE hour >= %(habits_since)s AND hour < %(midnight)s {scope} GROUP BY 2
"""


@dataclass(frozen=True, slots=True)
class Habit:
    """What a scope cost by day, and how its days spread over their 24 UTC hours (None: evenly)."""

    history: History
    hour_shares: list[float] | None


def of_budget(usage: Usage, at: datetime, habit: Habit | None = None) -> BudgetOutlook | None:
    """Whether the budget lasts to its period's end; None with less than a week of history.

    `habit` is that of its scope at `at`, for who has read it already.
    """
    habit = habit or habit_of(usage.scope, at)
    return budget_outlook(
        spent=usage.spent,
        limit=usage.limit,
        at=at,
        period_end=usage.ends_at,
        history=habit.history,
        hour_shares=habit.hour_shares,
    )


def habit_of(scope: Mapping[str, str], at: datetime) -> Habit:
    midnight = floor(at, DAY)
    today = midnight.date()
    parameters: dict[str, Any] = {
        **scope,
        "since": today - WINDOW_DAYS * DAY,
        "today": today,
        "habits_since": midnight - HABIT_DAYS * DAY,
        "midnight": midnight,
    }
    bound = "".join(f"AND {name} = %({name})s " for name in GROUPS if name in scope)
    with connection.cursor() as cursor:
        cursor.execute(OF_BUDGET.format(scope=bound), parameters)
        rows = cursor.fetchall()
    series = Series({day: amount for day, _, amount in rows if day})
    by_hour = {hour: amount for day, hour, amount in rows if day is None}
    return Habit(series.history(today), _shares(by_hour))


def _shares(by_hour: dict[int, Decimal]) -> list[float] | None:
    spent = [max(ZERO, by_hour.get(hour, ZERO)) for hour in range(24)]
    total = sum(spent, ZERO)
    return [float(amount / total) for amount in spent] if total else None


# The dearest groups by name; the others come as one, whose name is NULL.
BY_DAY = """
WITH daily AS (
    SELECT {name} AS name, day, sum(amount) AS amount, sum(unpriced) AS unpriced FROM costs_dailycost
    WHERE day >= %(since)s AND day <= %(today)s
      AND (%(persona_id)s::text IS NULL OR persona_id = %(persona_id)s)
      AND (%(personas)s::text[] IS NULL OR persona_id = ANY(%(personas)s))
    GROUP BY 1, 2
), ranked AS (
    SELECT name, row_number() OVER (ORDER BY sum(amount) DESC, name) AS rank FROM daily GROUP BY name
)
SELECT CASE WHEN rank <= %(most)s THEN name END, min(rank), max(rank), day, sum(amount), sum(unpriced)
FROM daily JOIN ranked USING (name) GROUP BY 1, day ORDER BY 2, day
"""


def _read(group_by: str | None, persona_id: str | None, personas: Sequence[str] | None, today: date) -> Found:
    parameters = {
        "since": today - WINDOW_DAYS * DAY,
        "today": today,
        "persona_id": persona_id,
        "personas": None if personas is None else list(personas),
        "most": MOST_SERIES,
    }
    with reading().cursor() as cursor:
        cursor.execute(BY_DAY.format(name=group_by or "''"), parameters)
        rows = cursor.fetchall()
    found = Found()
    for name, _, rank, day, amount, unpriced in rows:
        found.total.add(day, amount, int(unpriced))
        if name is None:
            found.omitted = max(found.omitted, rank - MOST_SERIES)
        elif group_by:
            found.groups.setdefault(name, Series()).add(day, amount, int(unpriced))
    return found


def _told(series: Series, at: datetime) -> dict[str, Any]:
    today = at.astimezone(UTC).date()
    history, spent = series.history(today), series.amounts.get(today, ZERO)
    result = forecast(history) if history.amounts else NoForecast(f"No costs in the last {WINDOW_DAYS} days.")
    described = {
        "history": {
            "days": len(history.amounts),
            "spent_last_30_days": sum(history.amounts[-RECENT_DAYS:], ZERO),
            "unpriced_events": series.unpriced,
        }
    }
    if isinstance(result, NoForecast):
        nothing = {"expected": None, "low": None, "high": None}
        return {
            **described,
            "method": None,
            "reason": result.reason,
            **nothing,
            "today": {"spent": spent, **nothing},
            "days": [],
            "backtest": None,
        }
    return {
        **described,
        "method": result.method,
        "reason": result.reason or None,
        **asdict(result.total),
        "today": {"spent": spent, **asdict(_completed(spent, result.today, at))},
        "days": [{"day": ahead.day.isoformat(), **asdict(ahead.cost)} for ahead in result.days],
        "backtest": _told_errors(result),
    }


def _completed(spent: Decimal, day: Range, at: datetime) -> Range:
    """The running day: what it has cost, and the rest of an expected day."""
    left = Decimal((floor(at, DAY) + DAY - at) // timedelta(seconds=1)) / Decimal(DAY // timedelta(seconds=1))
    return Range(*(round(spent + edge * left, 6) for edge in (day.expected, day.low, day.high)))


def _told_errors(result: Forecast) -> dict[str, Any] | None:
    if result.errors is None:
        return None
    other: Errors | None = result.errors_of_other
    return {**asdict(result.errors), "sum_error_of_other": other.sum_error if other else None}


def _checked_group(group_by: str | None) -> str | None:
    if group_by is not None and group_by not in GROUPS:
        raise InvalidQuery("group_by", f"must be one of {', '.join(GROUPS)}, not {group_by[:50]!r}")
    return group_by


def _checked_persona(persona_id: str | None) -> str | None:
    if persona_id is not None and (not 0 < len(persona_id) <= PERSONA_LENGTH or "\0" in persona_id):
        raise InvalidQuery("persona_id", f"must be a name of 1 to {PERSONA_LENGTH} characters")
    return persona_id
