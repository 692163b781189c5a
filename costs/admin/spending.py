"""What was spent, out of the counters of days and hours: in all, over time, and by persona, model and type.

One statement, hence one snapshot: all figures of the first page that are dollars spent add up to each other.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

from costs.admin.plots import Column, Kind, Look, Plot, Row
from costs.periods import DAY, HOUR

ZERO = Decimal(0)
RANKED = 12
NAMES = {"persona_id": "persona", "model": "model", "cost_type": "type"}


@dataclass(frozen=True, slots=True)
class Period:
    """The last `days` UTC days, today included. A single day is looked at by hours."""

    key: str
    words: str
    days: int
    today: date

    @property
    def first(self) -> date:
        return self.today - timedelta(days=self.days - 1)

    @property
    def is_one_day(self) -> bool:
        return self.days == 1

    @property
    def start(self) -> datetime:
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def step(self) -> timedelta:
        return HOUR if self.is_one_day else DAY

    @property
    def steps(self) -> list[datetime]:
        return [self.start + number * self.step for number in range(24 if self.is_one_day else self.days)]

    def label(self, at: datetime) -> str:
        return f"{at:%H:%M}" if self.is_one_day else f"{at:%Y-%m-%d}"

    @classmethod
    def of(cls, key: str, at: datetime) -> Self:
        """Seven days for a key that there is not."""
        key = key if key in PERIODS else DEFAULT_PERIOD
        words, days = PERIODS[key]
        return cls(key, words, days, at.astimezone(UTC).date())


PERIODS = {"today": ("Today", 1), "7d": ("7 days", 7), "30d": ("30 days", 30)}
DEFAULT_PERIOD = "7d"


class Named(NamedTuple):
    """What a name cost, and how many of its charges have no price yet."""

    amount: Decimal
    unpriced: int


@dataclass(slots=True)
class Spending:
    """Dollars, adjustments included, and how many charges.

    Days go back to the first of the month, or of the period if that is earlier.
    """

    period: Period
    days: dict[date, Decimal] = field(default_factory=dict)
    charges: dict[date, int] = field(default_factory=dict)
    hours: dict[datetime, Decimal] = field(default_factory=dict)
    names: dict[str, dict[str, Named]] = field(default_factory=lambda: {name: {} for name in NAMES})

    @property
    def today(self) -> Decimal:
        return self.days.get(self.period.today, ZERO)

    @property
    def month(self) -> Decimal:
        return self._since(self.period.today.replace(day=1))

    @property
    def total(self) -> Decimal:
        return self._since(self.period.first)

    def at(self, step: datetime) -> Decimal:
        return self.hours.get(step, ZERO) if self.period.is_one_day else self.days.get(step.date(), ZERO)

    def _since(self, first: date) -> Decimal:
        return sum((amount for day, amount in self.days.items() if day >= first), ZERO)


# `count` is that of a day's charges, and of a name's charges without a price.
READ = """
SELECT 'day' AS what, NULL AS name, day, NULL::timestamptz AS hour, sum(amount) AS amount, sum(events) AS count
FROM costs_dailycost
WHERE day >= LEAST(%(first)s, %(month)s) AND day <= %(today)s GROUP BY day
UNION ALL
SELECT CASE grouping(persona_id, model, cost_type) WHEN 3 THEN 'persona_id' WHEN 5 THEN 'model' ELSE 'cost_type' END,
    COALESCE(persona_id, model, cost_type), NULL, NULL, sum(amount), sum(unpriced) FROM costs_dailycost
WHERE day >= %(first)s AND day <= %(today)s GROUP BY GROUPING SETS ((persona_id), (model), (cost_type))
UNION ALL
SELECT 'hour', NULL, NULL, hour, sum(amount), 0 FROM costs_hourlycost
WHERE %(is_one_day)s AND hour >= %(start)s AND hour < %(end)s GROUP BY hour
"""


def read(period: Period) -> Spending:
    parameters: dict[str, Any] = {
        "first": period.first,
        "today": period.today,
        "month": period.today.replace(day=1),
        "is_one_day": period.is_one_day,
        "start": period.start,
        "end": period.start + DAY,
    }
    found = Spending(period)
    with connection.cursor() as cursor:
        cursor.execute(READ, parameters)
        for what, name, day, hour, amount, count in cursor.fetchall():
            match what:
                case "day":
                    found.days[day], found.charges[day] = amount, int(count)
                case "hour":
                    found.hours[hour.astimezone(UTC)] = amount
                case _:
                    found.names[what][name] = Named(amount, int(count))
    return found


def over_time(spending: Spending, at: datetime, ahead: dict[date, Decimal]) -> Plot:
    """A bar for each hour or day up to now; then, unless it is one day, what the forecast expects of the next ones."""
    period = spending.period
    # An event may lie a few minutes ahead.
    steps = [step for step in period.steps if step <= at or spending.at(step)]
    columns = (Column("Spent"), Column("Expected", Look.EXPECTED))[: 2 if ahead else 1]
    rows = [
        Row(period.label(step), (spending.at(step), None)[: len(columns)], _of_step(period, step)) for step in steps
    ]
    rows += [Row(day.isoformat(), (None, amount), note="forecast") for day, amount in ahead.items()]
    title = "Spent by hour today" if period.is_one_day else f"Spent by day, {period.words}"
    first = "Hour (UTC)" if period.is_one_day else "Day (UTC)"
    return Plot("spent", title, Kind.BARS, first, columns, tuple(rows))


def ranks(spending: Spending) -> list[Plot]:
    """By persona, model and type, the dearest first."""
    return [_ranked(spending, field, word) for field, word in NAMES.items()]


def lines_url(**asked: str) -> str:
    """The ledger lines that the search finds by these fields."""
    return f"{reverse('admin:costs_costevent_changelist')}?{urlencode(asked)}"


def days_url(first: date, last: date, **asked: str) -> str:
    """The lines of these UTC days, both included."""
    return lines_url(**asked, start=first.isoformat(), end=last.isoformat())


def hour_url(hour: datetime, **asked: str) -> str:
    return days_url(hour.date(), hour.date(), **asked, hour=str(hour.hour))


def _ranked(spending: Spending, field: str, word: str) -> Plot:
    names = sorted(spending.names[field].items(), key=lambda item: (-item[1].amount, item[0]))
    period = spending.period
    rows = [_of_name(period, field, word, name, named) for name, named in names[:RANKED]]
    if others := names[RANKED:]:
        rest = sum((named.amount for _, named in others), ZERO)
        rows.append(Row(f"{len(others):,} other{'s' if len(others) > 1 else ''}", (rest,)))
    title = f"By {word}, {period.words.lower()}"
    return Plot(f"by-{word}", title, Kind.RANKS, word.capitalize(), (Column("Spent"),), tuple(rows))


def _of_name(period: Period, field: str, word: str, name: str, named: Named) -> Row:
    asked = {field: name} if name else {"without": field}
    url = days_url(period.first, period.today, **asked)
    note = f"{named.unpriced:,} unpriced" if named.unpriced else ""
    return Row(name or f"no {word}", (named.amount,), url, note=note)


def _of_step(period: Period, step: datetime) -> str:
    return hour_url(step) if period.is_one_day else days_url(step.date(), step.date())
