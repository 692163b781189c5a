"""What posts brought for their cost, hour by hour of a stored period, from sums that are read once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import accumulate, pairwise

from anomalies import outcome_readings
from anomalies.backtest.judge import Look
from anomalies.backtest.period import Period, hourly_costs, stream
from anomalies.detectors.base import Detector, Reading, Window
from anomalies.detectors.cost_threshold import CostPerFollow, FollowReading
from anomalies.detectors.efficiency_drop import EfficiencyReading
from anomalies.detectors.negative_roi import ReturnReading
from anomalies.outcome_readings import DAY, DAYS_BEFORE, KINDS, LONGEST_WAIT, REVENUE
from costs.periods import HOUR, Span, ceiling

ZERO = Decimal(0)
HOURS_OF_DAY = DAY // HOUR
BEFORE = DAY * (DAYS_BEFORE + 1) + LONGEST_WAIT
# A reading, and the share of its cost that is lost.
Lost = tuple[Reading, Decimal]


class Hourly:
    """Amounts by the hour as running sums: any whole days add up in two steps."""

    def __init__(self, start: datetime, amounts: Mapping[datetime, Decimal], hours: int) -> None:
        steps = [amounts.get(start + HOUR * hour) for hour in range(hours)]
        self._sums = [ZERO, *accumulate(step or ZERO for step in steps)]
        self._told = [0, *accumulate(step is not None for step in steps)]

    def days(self, end: int) -> dict[int, Decimal]:
        """Day 0 is the 24 hours before the hour `end`, day 1 the 24 before, and so on."""
        edges = [self._sums[end - HOURS_OF_DAY * day] for day in range(DAYS_BEFORE + 2)]
        return {day: later - earlier for day, (later, earlier) in enumerate(pairwise(edges))}

    def newest(self, end: int, most: int) -> int:
        """The end of the newest told hour before `end`; at most so many hours earlier."""
        while end > most and most and self._told[end] == self._told[end - 1]:
            end, most = end - 1, most - 1
        return end

    def is_told(self, end: int, hours: int) -> bool:
        return self._told[end] > self._told[end - hours]


OUTCOMES = """
SELECT persona_id, kind, hour, CASE WHEN kind = %(revenue)s THEN amount ELSE quantity END FROM costs_hourlyoutcome
WHERE hour >= %(start)s AND hour < %(end)s AND persona_id = ANY(%(personas)s) ORDER BY 1, 2
"""


def efficiency_drop(period: Period) -> Iterator[Look]:
    def read(persona: str, kind: str, costs: dict[int, Decimal], brought: dict[int, Decimal], window: Window) -> Lost:
        reading: EfficiencyReading = outcome_readings.efficiency(persona, kind, costs, brought, window)
        normal = reading.baseline * reading.cost
        return reading, 1 - reading.outcomes / normal if normal else ZERO

    return _looks(period, "efficiency_drop", KINDS, read)


def negative_roi(period: Period) -> Iterator[Look]:
    def read(persona: str, kind: str, costs: dict[int, Decimal], brought: dict[int, Decimal], window: Window) -> Lost:
        return ReturnReading(persona, brought[0], costs[0], window), 1 - brought[0] / costs[0] if costs[0] else ZERO

    return _looks(period, "negative_roi", [REVENUE], read)


def cost_per_follow(period: Period) -> Iterator[Look]:
    target = period.per_follow

    def read(persona: str, kind: str, costs: dict[int, Decimal], brought: dict[int, Decimal], window: Window) -> Lost:
        lost = 1 - brought[0] * target / costs[0] if costs[0] else ZERO
        return FollowReading(persona, costs[0], brought[0], target, window), lost

    return _looks(period, "cost_threshold", ["follow"], read, CostPerFollow())


Read = Callable[[str, str, dict[int, Decimal], dict[int, Decimal], Window], Lost]


def _looks(
    period: Period, rule: str, kinds: Iterable[str], read: Read, detector: Detector | None = None
) -> Iterator[Look]:
    """At the end of every hour, each persona that spent in the day before it and has outcomes of these kinds.

    An hour that is not over is looked at as far as it goes, as live detection does.
    """
    start = period.span.start - BEFORE
    hours = (ceiling(period.span.end, HOUR) - start) // HOUR
    since = Span(start, period.span.end)
    costs, outcomes = hourly_costs(since, period.personas), hourly_outcomes(since, period.personas)
    for persona in period.each_persona():
        spent, rule_of_it = Hourly(start, costs[persona], hours), detector or period.detector(rule, persona)
        for kind in kinds:
            brought, scope = Hourly(start, outcomes[persona, kind], hours), dict[str, str]()
            for end in range(BEFORE // HOUR + 1, hours + 1):
                at = min(start + HOUR * end, period.span.end)
                if spent.is_told(end, HOURS_OF_DAY) and brought.is_told(end, BEFORE // HOUR):
                    until = brought.newest(end, LONGEST_WAIT // HOUR)
                    window = Window(start + HOUR * until - DAY, start + HOUR * until)
                    reading, lost = read(persona, kind, spent.days(until), brought.days(until), window)
                    scope = dict(reading.scope)
                    yield Look(
                        at, rule_of_it, scope, reading, costs[persona].get(start + HOUR * (end - 1), ZERO) * lost
                    )
                elif scope and period.is_open(scope):
                    yield Look(at, rule_of_it, scope, None)


def hourly_outcomes(span: Span, personas: Sequence[str]) -> dict[tuple[str, str], dict[datetime, Decimal]]:
    """Dollars of revenue, or how many of another kind, by persona and kind."""
    found: dict[tuple[str, str], dict[datetime, Decimal]] = defaultdict(dict)
    values = {"start": span.start, "end": span.end, "personas": list(personas), "revenue": REVENUE}
    for persona, kind, hour, brought in stream(OUTCOMES, **values):
        found[persona, kind][hour] = brought
    return found
