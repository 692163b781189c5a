"""A stored period as live detection saw it: the readings that its counters still give, in the order of time.

Counters hold sums by the time of use. So a window is looked at when it is over, at most five minutes later than live
detection would have; late lines are in place already; and what people called a false alarm is not left out.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

from anomalies import series
from anomalies.backtest.judge import Look
from anomalies.backtest.period import Period, hourly_costs, stream
from anomalies.backtest.replay_budgets import budget_overrun, burn_rate, forecast
from anomalies.backtest.replay_outcomes import cost_per_follow, efficiency_drop, negative_roi
from anomalies.backtest.replay_spending import cost_spike, dear_posts
from anomalies.detectors.base import Detector, Window
from anomalies.detectors.learned import StreamingDetector
from anomalies.detectors.learned_rule import SeriesReading
from anomalies.detectors.no_data import SilenceReading
from anomalies.detectors.unpriced import UnpricedReading
from anomalies.hourly import WEEK
from costs.ingest import accept_window
from costs.periods import HOUR, Span, floor

ZERO = Decimal(0)
GRAINS = {grain.name: grain for grain in series.GRAINS}


def learned(period: Period) -> Iterator[Look]:
    """Every window of each persona's series, after the detector has learned from what came before the span."""
    grain = GRAINS[period.grain]
    span = period.span
    closed = span.end - (span.end - span.start) % grain.step
    for persona in period.each_persona():
        rule, stream_of_it = period.detector("learned", persona), StreamingDetector(grain.step)
        amounts = series.spent_in(grain, span.start - grain.learns_from, span.end, [persona]).get(persona, {})
        for moment in series.windows(grain, min(amounts, default=closed), closed):
            if moment < span.start:
                stream_of_it.update(moment, float(amounts.get(moment, ZERO)))
                continue
            reading = series.reading_of(grain, persona, moment, amounts.get(moment, ZERO), stream_of_it)
            yield _series_look(rule, reading, stream_of_it.expected())


def _series_look(rule: Detector, reading: SeriesReading, expected: tuple[float, float] | None) -> Look:
    normal = reading.amount if reading.expected is None else reading.expected
    spread = Decimal(repr(float(expected[1]))) if expected else None
    return Look(reading.window.end, rule, reading.scope, reading, reading.amount - normal, spread)


def no_data(period: Period) -> Iterator[Look]:
    """Every full hour, each persona that had costs in the week before it."""
    since = Span(period.span.start - WEEK, period.span.end)
    hours = {persona: sorted(found) for persona, found in hourly_costs(since, period.personas).items()}
    for at in period.each_hour():
        for persona, spent in hours.items():
            reading = _silence(persona, spent, at)
            yield Look(at, period.detector("no_data", persona), {"persona_id": persona}, reading)


def _silence(persona: str, spent: list[datetime], at: datetime) -> SilenceReading | None:
    first, end = (bisect_left(spent, moment) for moment in (at - WEEK, at))
    if first == end:
        return None
    return SilenceReading(
        persona,
        active=end - first,
        hours=(spent[end - 1] - spent[first]) // HOUR + 1,
        silent=(at - spent[end - 1]) // HOUR - 1,
        window=Window(spent[end - 1], at),
    )


def cost_threshold(period: Period) -> Iterator[Look]:
    """Posts by what they cost in the end; and, by its own fixed target, what a follow costs."""
    yield from dear_posts(period)
    yield from cost_per_follow(period)


# A charge without a price, and the adjustment that priced it: both when they were booked.
UNPRICED = """
SELECT COALESCE(provider, ''), COALESCE(model, ''), cost_type, created_at, sum(unpriced)::int, min(timestamp)
FROM cost_events
WHERE unpriced <> 0 AND created_at >= %(since)s AND created_at < %(end)s
  AND (%(whole)s OR persona_id = ANY(%(personas)s))
GROUP BY 1, 2, 3, 4 ORDER BY 4, 1, 2, 3
"""


def unpriced(period: Period) -> Iterator[Look]:
    """Each model with usage that waited for a price, whenever that changed."""
    span, waiting = period.span, dict[tuple[str, str, str], int]()
    first: dict[tuple[str, str, str], datetime] = {}
    detector = period.detector("unpriced")
    rows = stream(
        UNPRICED,
        since=span.start - accept_window(),
        end=span.end,
        whole=period.whole,
        personas=list(period.personas),
    )
    for provider, model, cost_type, at, change, used in rows:
        key = provider, model, cost_type
        waiting[key] = waiting.get(key, 0) + change
        first.setdefault(key, floor(used, HOUR))
        reading = UnpricedReading(*key, events=max(waiting[key], 0), window=Window(first[key], at))
        yield Look(max(at, span.start), detector, reading.scope, reading)


REPLAYS: dict[str, Callable[[Period], Iterator[Look]]] = {
    "cost_spike": cost_spike,
    "efficiency_drop": efficiency_drop,
    "negative_roi": negative_roi,
    "budget_overrun": budget_overrun,
    "cost_threshold": cost_threshold,
    "learned": learned,
    "unpriced": unpriced,
    "no_data": no_data,
    "forecast": forecast,
    "burn_rate": burn_rate,
}
