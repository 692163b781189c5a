"""What a post costs on average, over time, against the target and the alert threshold.

A post counts with its whole cost wherever one of its lines lies. No table holds posts by time, so lines find them: all
lines of a day while there are few, else the latest of each hour, so that a month of millions is no more work. A busy
day's points are therefore a sample, and the plot says so; the figure of today is always that of all its posts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.db.models import Sum
from django.urls import reverse

from costs import metric_gauges
from costs.admin.plots import Column, Kind, Level, Look, Plot, Row, mean
from costs.admin.spending import Period
from costs.attribution import Target
from costs.models import DailyCost
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import DAY, HOUR

TODAY_LINES = EARLIER_LINES = 3_000
HOURS = DAY // HOUR

TOUCHED = """
SELECT DISTINCT h.place::int - 1 AS hour, line.post_id
FROM unnest(%(lines)s::int[]) WITH ORDINALITY AS h(lines, place)
CROSS JOIN LATERAL (
    SELECT post_id FROM cost_events
    WHERE timestamp >= %(start)s + (h.place - 1) * interval '1 hour'
      AND timestamp < %(start)s + h.place * interval '1 hour'
      AND created_at >= %(start)s + (h.place - 1) * interval '1 hour' - %(booked_before)s AND post_id IS NOT NULL
    ORDER BY timestamp DESC LIMIT h.lines
) AS line
"""
# The place -1 is today, whatever the steps are.
COSTS = f"""
WITH touched AS MATERIALIZED ({TOUCHED}), cost AS MATERIALIZED (
    SELECT post_id, (SELECT sum(amount) FROM costs_postcost p WHERE p.post_id = post.post_id) AS amount
    FROM (SELECT DISTINCT post_id FROM touched) AS post
)
SELECT place, count(*), sum(amount) FROM (
    SELECT DISTINCT hour / %(hours_of_step)s AS place, post_id FROM touched
    UNION ALL
    SELECT DISTINCT -1, post_id FROM touched WHERE hour >= %(today)s
) AS found JOIN cost USING (post_id)
WHERE amount IS NOT NULL GROUP BY place
"""
TODAY = -1


@dataclass(frozen=True, slots=True)
class Posts:
    """How many posts were found, and what they cost together, in dollars."""

    count: int
    amount: Decimal

    @property
    def mean(self) -> Decimal | None:
        return mean(self.amount, self.count)


NOBODY = Posts(0, Decimal(0))


@dataclass(frozen=True, slots=True)
class PostCosts:
    """All of today's posts, and those of each step of the period that has begun; `is_whole`: no step leaves one out.

    Of a busy day they are added up every few seconds, last at `today_at` (None: just now), and not yet if `today` is
    None.
    """

    today: Posts | None
    today_at: datetime | None
    steps: list[Posts]
    is_whole: bool


def read(period: Period, at: datetime, charges: Mapping[date, int]) -> PostCosts:
    """`charges`: how many each day has."""
    steps = [step for step in period.steps if step <= at]
    days = [period.first + number * DAY for number in range(period.days)]
    limits = [*_limits([charges.get(day, 0) for day in days[:-1]], EARLIER_LINES)]
    limits += _limits([charges.get(days[-1], 0)], TODAY_LINES)
    asked = {
        **_parameters(period.start, limits),
        "hours_of_step": period.step // HOUR,
        "today": (period.days - 1) * HOURS,
    }
    with connection.cursor() as cursor:
        cursor.execute(COSTS, asked)
        found = {place: Posts(count, amount) for place, count, amount in cursor.fetchall()}
    posts = [found.get(place, NOBODY) for place in range(len(steps))]
    today, today_at = (found.get(TODAY, NOBODY), None) if limits[-1] is None else _kept(at)
    return PostCosts(today, today_at, posts, not any(limits))


def _kept(at: datetime) -> tuple[Posts | None, datetime | None]:
    kept = metric_gauges.posts_of_today(at)
    return (Posts(kept.count, kept.amount), kept.read_at) if kept else (None, None)


def touched_on(day: date) -> list[str]:
    """Posts with lines on this day: what its mean cost is the mean of."""
    charges = DailyCost.objects.filter(day=day).aggregate(total=Sum("events", default=0))["total"]
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute(TOUCHED, _parameters(start, _limits([charges], TODAY_LINES)))
        return sorted({post for _, post in cursor.fetchall()})


def over_time(period: Period, posts: PostCosts) -> Plot:
    return Plot(
        "per-post",
        f"Cost per post, {period.words.lower()}",
        Kind.LINES,
        "Hour (UTC)" if period.is_one_day else "Day (UTC)",
        (Column("Mean of the posts used then"),),
        tuple(_row(period, step, found) for step, found in zip(period.steps, posts.steps, strict=False)),
        levels=levels(Target.configured()),
        note="" if posts.is_whole else "Of busy days only the posts of some lines of each hour.",
        around="" if posts.is_whole and not period.is_one_day else "the posts used that day",
    )


def _row(period: Period, step: datetime, found: Posts) -> Row:
    url = posts_url(step.date()) if found.count else ""
    return Row(period.label(step), (found.mean,), url, note=_counted(found.count))


def levels(target: Target) -> tuple[Level, Level]:
    """The two lines that each plot of costs of posts has."""
    return (
        Level("target", target.per_post, Look.TARGET),
        Level("alert", target.per_post * target.alert_multiplier, Look.ALERT),
    )


def _limits(charges: Sequence[int], most: int) -> list[int | None]:
    """How many lines are looked at of each of a day's hours (None: all); with `most` lines for all days together.

    Days with few lines leave their share to the others.
    """
    left, shares = most, dict[int, int | None]()
    for done, place in enumerate(sorted(range(len(charges)), key=charges.__getitem__)):
        share = left // (len(charges) - done)
        shares[place] = None if charges[place] <= share else max(share // HOURS, 1)
        left -= min(charges[place], share)
    return [shares[place] for place in range(len(charges))]


def _parameters(start: datetime, limits: Sequence[int | None]) -> dict[str, Any]:
    # Of a day that is looked at whole the limit only holds what was booked since its charges were counted.
    lines = [TODAY_LINES if limit is None else limit for limit in limits for _ in range(HOURS)]
    return {"start": start, "lines": lines, "booked_before": BOOKED_BEFORE}


def posts_url(day: date) -> str:
    return f"{reverse('admin:costs_post_changelist')}?{urlencode({'day': day.isoformat()})}"


def _counted(count: int) -> str:
    return f"{count:,} post{'' if count == 1 else 's'}" if count else ""
