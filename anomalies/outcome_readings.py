"""What a persona's posts brought for their cost: 24 hours, up to the newest outcome, against the seven days before.

Only personas that ever report an outcome of a kind are judged by it: no revenue is a loss only where revenue counts.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.detectors.base import Window
from anomalies.detectors.cost_threshold import FollowReading
from anomalies.detectors.efficiency_drop import EfficiencyReading
from anomalies.detectors.negative_roi import ReturnReading
from costs.periods import HOUR, floor

DAY = timedelta(days=1)
DAYS_BEFORE = 7
# Who reports nothing for longer than this brought nothing.
LONGEST_WAIT = timedelta(days=2)
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


# What is reported once a day must not look missing until it is: each kind is judged up to its newest hour. Day 0 is the
# 24 hours before that, day 1 the 24 before, and so on.
DAYS_OF = """
WITH judged AS (
    SELECT persona_id, kind, LEAST(GREATEST(max(hour) + interval '1 hour', %(end)s - %(wait)s), %(end)s) AS until
    FROM costs_hourlyoutcome
    WHERE hour >= %(end)s - %(wait)s - %(before)s AND hour < %(end)s AND persona_id = ANY(%(personas)s)
    GROUP BY 1, 2
)
SELECT j.persona_id, j.kind, j.until, false,
       floor(extract(epoch FROM j.until - c.hour - interval '1 hour') / 86400)::int, sum(c.amount)
FROM judged j JOIN costs_hourlycost c USING (persona_id)
WHERE c.hour >= j.until - %(before)s AND c.hour < j.until
GROUP BY 1, 2, 3, 5
UNION ALL
SELECT j.persona_id, j.kind, j.until, true,
       floor(extract(epoch FROM j.until - o.hour - interval '1 hour') / 86400)::int,
       sum(CASE WHEN j.kind = %(revenue)s THEN o.amount ELSE o.quantity END)
FROM judged j JOIN costs_hourlyoutcome o USING (persona_id, kind)
WHERE o.hour >= j.until - %(before)s AND o.hour < j.until
GROUP BY 1, 2, 3, 5
"""

Days = dict[int, Decimal]


def read(personas: Sequence[str], at: datetime, *, per_follow: Decimal = ZERO) -> Found:
    """All readings of those of the personas that have outcomes, in one statement. `per_follow` is the target."""
    asked: dict[str, Any] = {
        "personas": list(personas),
        "end": floor(at, HOUR) + HOUR,
        "wait": LONGEST_WAIT,
        "before": DAY * (DAYS_BEFORE + 1),
        "revenue": REVENUE,
    }
    costs: dict[tuple[str, str], Days] = defaultdict(dict)
    brought: dict[tuple[str, str], Days] = defaultdict(dict)
    until: dict[tuple[str, str], datetime] = {}
    with connection.cursor() as cursor:
        cursor.execute(DAYS_OF, asked)
        for persona, kind, end, is_outcome, day, sum_of_day in cursor.fetchall():
            (brought if is_outcome else costs)[persona, kind][day] = sum_of_day
            until[persona, kind] = end
    found = Found()
    for (persona, kind), end in sorted(until.items()):
        _add(found, persona, kind, costs[persona, kind], brought[persona, kind], Window(end - DAY, end), per_follow)
    return found


def _add(
    found: Found, persona: str, kind: str, costs: Days, brought: Days, window: Window, per_follow: Decimal
) -> None:
    cost, outcomes = costs.get(0, ZERO), brought.get(0, ZERO)
    if kind == REVENUE:
        found.returns.append(ReturnReading(persona, outcomes, cost, window))
    elif kind in KINDS:
        found.efficiencies.append(efficiency(persona, kind, costs, brought, window))
    if kind == "follow":
        found.follows.append(FollowReading(persona, cost, outcomes, per_follow, window))


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
