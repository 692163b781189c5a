"""What a persona's posts brought for their cost: the last 24 hours, against the seven days before.

Only personas that ever report an outcome of a kind are judged by it: no revenue is a loss only where revenue counts.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from anomalies.detectors.base import Window
from anomalies.detectors.cost_threshold import FollowReading
from anomalies.detectors.efficiency_drop import EfficiencyReading
from anomalies.detectors.negative_roi import ReturnReading
from costs.periods import HOUR, floor

DAY = timedelta(days=1)
DAYS_BEFORE = 7
KINDS = ("follow", "engagement")
REVENUE = "revenue"
# Days on which less than this was spent say nothing about efficiency.
LEAST_COST_OF_A_DAY = Decimal("0.05")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Found:
    efficiencies: list[EfficiencyReading] = field(default_factory=list)
    returns: list[ReturnReading] = field(default_factory=list)
    follows: list[FollowReading] = field(default_factory=list)


# Day 0 is the last 24 hours, day 1 the 24 before, and so on.
DAYS_OF = """
SELECT persona_id, '' AS kind, floor(extract(epoch FROM %(end)s - hour - interval '1 hour') / 86400)::int AS day,
       sum(amount), sum(amount)
FROM costs_hourlycost
WHERE hour >= %(start)s AND hour < %(end)s AND persona_id = ANY(%(personas)s)
  AND persona_id IN (SELECT persona_id FROM costs_hourlyoutcome
                     WHERE hour >= %(start)s AND hour < %(end)s AND persona_id = ANY(%(personas)s))
GROUP BY 1, 2, 3
UNION ALL
SELECT persona_id, kind, floor(extract(epoch FROM %(end)s - hour - interval '1 hour') / 86400)::int,
       sum(quantity), sum(amount)
FROM costs_hourlyoutcome
WHERE hour >= %(start)s AND hour < %(end)s AND persona_id = ANY(%(personas)s)
GROUP BY 1, 2, 3
"""


def window_at(at: datetime) -> Window:
    """The running hour and the 23 before it."""
    end = floor(at, HOUR) + HOUR
    return Window(end - DAY, end)


def read(personas: Sequence[str], at: datetime, *, per_follow: Decimal = ZERO) -> Found:
    """All readings of those of the personas that have outcomes, in one statement. `per_follow` is the target."""
    window, found = window_at(at), Found()
    costs: dict[str, dict[int, Decimal]] = defaultdict(dict)
    quantities: dict[tuple[str, str], dict[int, Decimal]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(
            DAYS_OF, {"personas": list(personas), "start": window.end - DAY * (DAYS_BEFORE + 1), "end": window.end}
        )
        for persona, kind, day, quantity, amount in cursor.fetchall():
            if kind:
                quantities[persona, kind][day] = (amount if kind == REVENUE else quantity) or ZERO
            else:
                costs[persona][day] = amount
    for (persona, kind), by_day in sorted(quantities.items()):
        cost = costs[persona].get(0, ZERO)
        if kind == REVENUE:
            found.returns.append(ReturnReading(persona, by_day.get(0, ZERO), cost, window))
        elif kind in KINDS:
            found.efficiencies.append(efficiency(persona, kind, costs[persona], by_day, window))
        if kind == "follow":
            found.follows.append(FollowReading(persona, cost, by_day.get(0, ZERO), per_follow, window))
    return found


def efficiency(
    persona: str, kind: str, costs: dict[int, Decimal], outcomes: dict[int, Decimal], window: Window
) -> EfficiencyReading:
    """The baseline is the mean of the days' efficiencies, each day counting the same."""
    days = [day for day in range(1, DAYS_BEFORE + 1) if costs.get(day, ZERO) >= LEAST_COST_OF_A_DAY]
    before = [outcomes.get(day, ZERO) / costs[day] for day in days]
    baseline = sum(before, ZERO) / len(before) if before else ZERO
    return EfficiencyReading(
        persona, kind, outcomes.get(0, ZERO), costs.get(0, ZERO), baseline, days=len(days), window=window
    )
