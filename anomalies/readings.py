"""What the detectors look at, read from the counters of costs: always a bounded window, many personas at once.

Cost per post: the mean of a persona's latest ten posts within 15 minutes, against the median over seven days of its
posts before. Spend rate: the dearest of the running and the last five minutes, against the median of earlier ones.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.detectors.base import Window
from anomalies.detectors.cost_spike import COST_PER_POST, SPEND_RATE, CostReading
from anomalies.detectors.cost_threshold import PostReading
from anomalies.models import Baseline
from costs.models.ledger import BOOKED_BEFORE

LATEST_POSTS = 10
LATEST_LINES = 200
RECENT = timedelta(minutes=15)
TRAILING = timedelta(days=7)
FIVE_MINUTES = timedelta(minutes=5)
BASELINE_LIFE = timedelta(minutes=10)
# Who has none yet may get one soon, by an import for example.
NO_BASELINE_LIFE = timedelta(seconds=30)
# With fewer posts the configured target is the baseline; with fewer windows there is no baseline of the rate.
LEAST_POSTS = 20
LEAST_WINDOWS = 48
LINES_OF_AN_HOUR = 8
# How far back a post may have begun whose newest line is news.
NEWS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Normal:
    """A baseline and where it comes from."""

    value: Decimal
    samples: int
    source: str


# Compared as rows, so that only the index of both columns serves: by the one of timestamps alone the planner would read
# the lines of all personas.
LATEST = """
SELECT looked.persona_id, line.post_id, min(line.timestamp) AS first_at, max(line.timestamp) AS last_at
FROM unnest(%(personas)s::text[], %(times)s::timestamptz[]) AS looked(persona_id, as_of)
CROSS JOIN LATERAL (
    SELECT post_id, timestamp FROM cost_events
    WHERE (persona_id, timestamp) > (looked.persona_id, looked.as_of - %(recent)s)
      AND (persona_id, timestamp) <= (looked.persona_id, looked.as_of + interval '10 minutes')
      AND created_at >= looked.as_of - %(recent)s - %(booked_before)s AND post_id IS NOT NULL
    ORDER BY persona_id DESC, timestamp DESC LIMIT %(lines)s
) AS line
GROUP BY 1, 2
"""
PER_POST = f"""
WITH latest AS MATERIALIZED ({LATEST}), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY last_at DESC, post_id) AS place FROM latest
)
SELECT r.persona_id, count(*), COALESCE(sum(c.amount), 0), COALESCE(sum(c.events), 0), min(r.first_at), max(r.last_at)
FROM ranked r CROSS JOIN LATERAL (
    SELECT sum(amount) AS amount, sum(events) AS events FROM costs_postcost WHERE post_id = r.post_id
) AS c
WHERE r.place <= %(posts)s
GROUP BY 1 ORDER BY 1
"""


def costs_per_post(
    looked: Mapping[str, datetime], *, target: Decimal, baselines: Mapping[str, Normal] | None = None
) -> list[CostReading]:
    """One reading for each persona that has recent posts, as of its own instant. `target` stands in for a baseline."""
    if not looked:
        return []
    normal = baselines if baselines is not None else post_baselines(looked)
    readings = []
    for persona, posts, amount, events, first, last in _rows(
        PER_POST,
        personas=list(looked),
        times=list(looked.values()),
        recent=RECENT,
        booked_before=BOOKED_BEFORE,
        lines=LATEST_LINES,
        posts=LATEST_POSTS,
    ):
        base = normal.get(persona) or Normal(target, 0, "target")
        readings.append(
            CostReading(
                persona,
                COST_PER_POST,
                current=amount / posts,
                baseline=base.value,
                amount=amount,
                events=int(events),
                window=Window(first, last),
                baseline_source=base.source,
                samples=base.samples,
            )
        )
    return readings


# A few lines of each hour of the week find posts of all of it, at a cost that does not depend on how many there are;
# and an hour of a thousand runaway posts weighs no more than any other hour.
MEDIAN_POST = """
WITH sampled AS (
    SELECT DISTINCT line.post_id
    FROM generate_series(0, %(hours)s - 1) AS h(hour)
    CROSS JOIN LATERAL (
        SELECT post_id FROM cost_events
        WHERE (persona_id, timestamp) >= (%(persona)s, %(start)s + h.hour * interval '1 hour')
          AND (persona_id, timestamp)
              < (%(persona)s, LEAST(%(start)s + (h.hour + 1) * interval '1 hour', %(end)s))
          AND created_at >= %(start)s + h.hour * interval '1 hour' - %(booked_before)s AND post_id IS NOT NULL
        ORDER BY persona_id, timestamp LIMIT %(lines)s
    ) AS line
), posts AS (
    SELECT cost.amount FROM sampled CROSS JOIN LATERAL (
        SELECT sum(amount) AS amount FROM costs_postcost WHERE post_id = sampled.post_id
    ) AS cost
)
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), count(*) FROM posts WHERE amount > 0
"""


def post_baselines(looked: Mapping[str, datetime]) -> dict[str, Normal]:
    """The median cost of the posts of the week before, for each persona that has enough of them."""
    return _baselines(looked, COST_PER_POST, _median_post, LEAST_POSTS)


def _median_post(persona: str, at: datetime) -> tuple[Decimal | None, int]:
    (row,) = _rows(
        MEDIAN_POST,
        persona=persona,
        start=at - TRAILING,
        end=at - RECENT,
        hours=TRAILING // timedelta(hours=1),
        booked_before=BOOKED_BEFORE,
        lines=LINES_OF_AN_HOUR,
    )
    return row[0], row[1]


RATES = """
SELECT looked.persona_id, pulse.amount, pulse.events, pulse.starts_at
FROM unnest(%(personas)s::text[], %(times)s::timestamptz[]) AS looked(persona_id, as_of)
CROSS JOIN LATERAL (
    SELECT amount, events, starts_at FROM costs_fiveminutecost
    WHERE persona_id = looked.persona_id AND starts_at > looked.as_of - interval '10 minutes'
      AND starts_at <= looked.as_of
    ORDER BY amount DESC LIMIT 1
) AS pulse
ORDER BY 1
"""


def spend_rates(looked: Mapping[str, datetime]) -> list[CostReading]:
    """One reading for each persona that spent lately and has a baseline of its rate."""
    if not looked:
        return []
    normal = rate_baselines(looked)
    rows = _rows(RATES, personas=list(looked), times=list(looked.values())) if normal else []
    return [
        CostReading(
            persona,
            SPEND_RATE,
            current=amount,
            baseline=normal[persona].value,
            amount=amount,
            events=events,
            window=Window(starts_at, starts_at + FIVE_MINUTES),
            baseline_source=normal[persona].source,
            samples=normal[persona].samples,
        )
        for persona, amount, events, starts_at in rows
        if persona in normal
    ]


# What is normal now is the larger of two medians: of all windows with costs, and of the days' dearest windows around
# this time of the day, for some personas work in bursts.
MEDIAN_RATE = """
WITH spent AS (
    SELECT amount, floor(extract(epoch FROM %(at)s - starts_at + interval '1 hour') / 86400) AS day,
           mod(extract(epoch FROM %(at)s - starts_at + interval '1 hour')::bigint, 86400) <= 7200 AS is_near
    FROM costs_fiveminutecost
    WHERE persona_id = %(persona)s AND starts_at >= %(start)s AND starts_at < %(end)s AND amount > 0
), dearest AS (
    SELECT max(amount) AS amount FROM spent WHERE is_near GROUP BY day
)
SELECT GREATEST((SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM spent),
                (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM dearest)),
       (SELECT count(*) FROM spent)
"""


def rate_baselines(looked: Mapping[str, datetime]) -> dict[str, Normal]:
    """What the personas normally spend in five minutes in which they spend; none for those who are too new."""
    return _baselines(looked, SPEND_RATE, _median_rate, LEAST_WINDOWS)


def _median_rate(persona: str, at: datetime) -> tuple[Decimal | None, int]:
    (row,) = _rows(MEDIAN_RATE, persona=persona, at=at, start=at - TRAILING, end=at - RECENT)
    return row[0], row[1]


def _baselines(
    looked: Mapping[str, datetime],
    reading: str,
    compute: Callable[[str, datetime], tuple[Decimal | None, int]],
    least: int,
) -> dict[str, Normal]:
    """The stored baselines, those that are too old or from another time computed anew."""
    stored = {
        found.persona_id: found for found in Baseline.objects.filter(persona_id__in=list(looked), reading=reading)
    }
    fresh = []
    for persona, at in looked.items():
        if _is_valid(stored.get(persona), at):
            continue
        value, samples = compute(persona, at)
        known = value if samples >= least else None
        fresh.append(Baseline(persona_id=persona, reading=reading, value=known, samples=samples, computed_at=at))
    if fresh:
        Baseline.objects.bulk_create(
            sorted(fresh, key=lambda each: each.persona_id),
            update_conflicts=True,
            unique_fields=["persona_id", "reading"],
            update_fields=["value", "samples", "computed_at"],
        )
    stored |= {each.persona_id: each for each in fresh}
    return {persona: Normal(found.value, found.samples, "median") for persona, found in stored.items() if found.value}


def _is_valid(found: Baseline | None, at: datetime) -> bool:
    if found is None:
        return False
    life = NO_BASELINE_LIFE if found.value is None else BASELINE_LIFE
    return timedelta(0) <= at - found.computed_at < life


DEAR_POSTS = """
SELECT (array_agg(persona_id ORDER BY persona_id = '', amount DESC, persona_id))[1], post_id, sum(amount),
       min(last_at), max(last_at)
FROM costs_postcost WHERE post_id = ANY(%(posts)s)
GROUP BY post_id HAVING sum(amount) >= %(least)s ORDER BY 2
"""


def dear_posts(posts: Iterable[str], *, threshold: Decimal, least: Decimal) -> list[PostReading]:
    """Those of the posts that cost at least `least`, all of it, each for the persona that most of it is for."""
    wanted = sorted(set(posts))
    if not wanted:
        return []
    return [
        PostReading(persona, post, cost=amount, threshold=threshold, window=Window(first, last))
        for persona, post, amount, first, last in _rows(DEAR_POSTS, posts=wanted, least=least)
    ]


def active_personas(since: datetime, until: datetime) -> list[str]:
    """Who spent anything in the hours from `since` on."""
    found = _rows(
        "SELECT DISTINCT persona_id FROM costs_hourlycost"
        " WHERE hour >= date_trunc('hour', %(since)s, 'UTC') AND hour <= %(until)s AND persona_id <> '' ORDER BY 1",
        since=since,
        until=until,
    )
    return [persona for (persona,) in found]


def _rows(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
