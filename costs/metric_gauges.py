"""Figures of posts and personas that take too long to read at every scrape: read every few seconds, and kept."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from costs import metric_totals
from costs.metric_totals import OTHER
from costs.models import MetricGauge, OutcomeKind

PER_POST = "cost_per_post_usd"
PER_FOLLOW = "cost_per_follow_dollars"
BREACH = "cost_per_post_threshold_breach"
DEAREST = "finops_post_over_threshold_usd"
SPEND = "finops_spend_usd"
SAVED = "finops_saved_usd"
DRIFT = "finops_ledger_drift_keys"
SECONDS = "finops_gauges_refresh_seconds"
# Of the last reading that was begun, also when it came to no end: what it must rest for.
TAKEN = "gauges_taken_seconds"
VERIFY_SECONDS = "finops_ledger_verify_seconds"
# For the first page alone: as a metric it would only repeat what the means of the personas say.
POSTS_OF_TODAY = "posts_of_today"
WINDOW = timedelta(hours=24)
DEAREST_POSTS = 20
LOCK = 2_400_005
# Reading them takes at most a twentieth of one core.
REST_TIMES = 20

Row = tuple[Sequence[str], Decimal]


def refresh(at: datetime) -> bool:
    """Read all of them anew; returns whether it did.

    Not while another process is at it, and not before the last reading has rested for long enough.
    """
    started = time.monotonic()
    if not _claim(at):
        return False
    shown = metric_totals.personas()
    for read in READ:
        for metric, rows in read(at, shown).items():
            store(metric, rows, at)
    for metric in (TAKEN, SECONDS):
        store(metric, [((), Decimal(repr(time.monotonic() - started)))], at)
    return True


def _claim(at: datetime) -> bool:
    """Whether this process may read now. Until its reading ends it counts as one that took all the time of its task."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        (is_free,) = cursor.fetchone()
        if not is_free or not is_due(TAKEN, at):
            return False
        store(TAKEN, [((), Decimal(settings.CELERY_TASK_SOFT_TIME_LIMIT))], at)
    return True


def is_due(seconds_metric: str, at: datetime, *, times: int = REST_TIMES, longest: timedelta = timedelta.max) -> bool:
    """Whether a reading that took so many seconds has rested for `times` as long, or for the longest rest."""
    last = MetricGauge.objects.filter(metric=seconds_metric).first()
    return last is None or at - last.read_at >= min(timedelta(seconds=times * float(last.value)), longest)


def store(metric: str, rows: Iterable[Row], at: datetime) -> None:
    """These are now all series of the metric."""
    made = [MetricGauge(metric=metric, labels=list(labels), value=value, read_at=at) for labels, value in rows]
    with transaction.atomic():
        # Two that store the same metric take turns.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [24_000, metric])
        MetricGauge.objects.filter(metric=metric).delete()
        MetricGauge.objects.bulk_create(made)


def alert_threshold() -> Decimal:
    """US dollars a post."""
    return settings.FINOPS_COST_THRESHOLD_PER_POST * settings.FINOPS_ALERT_THRESHOLD_MULTIPLIER


# A post's whole cost counts, also of types that were not touched. In one pass: there may be hundreds of thousands.
TOUCHED = """
WITH post AS MATERIALIZED (
    SELECT persona_id, post_id, sum(amount) AS cost FROM costs_postcost
    WHERE (post_id, persona_id) IN (SELECT post_id, persona_id FROM costs_postcost WHERE last_at > %(since)s)
    GROUP BY persona_id, post_id
)
SELECT persona_id, NULL, sum(cost), count(*) FROM post GROUP BY persona_id
UNION ALL
(SELECT persona_id, post_id, cost, 1 FROM post WHERE cost > %(threshold)s ORDER BY cost DESC, post_id LIMIT %(most)s)
"""


def _posts(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
    """The mean cost of each persona's posts that were touched within the window, and the dearest of these posts."""
    costs, counts, dearest = dict[str, Decimal](), Counter[str](), dict[tuple[str, str], Decimal]()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '64MB'")
        parameters = {"since": at - WINDOW, "threshold": alert_threshold(), "most": DEAREST_POSTS}
        found = _rows(TOUCHED, parameters)
    for persona, post, cost, count in found:
        label = _label(persona, shown)
        if post is not None:
            # Two personas without a label may share a post.
            dearest[label, post] = max(cost, dearest.get((label, post), cost))
            continue
        costs[label] = costs.get(label, Decimal(0)) + cost
        counts[label] += count
    means = {label: Decimal(round(cost / counts[label], 12)) for label, cost in costs.items()}
    breaches = {label: Decimal(mean > alert_threshold()) for label, mean in means.items()}
    return {
        PER_POST: [((label,), mean) for label, mean in means.items()],
        BREACH: [((label, "critical"), breach) for label, breach in breaches.items()],
        DEAREST: list(dearest.items()),
    }


# Of a post that several personas share, all of it.
USED_SINCE = """
SELECT count(*), COALESCE(sum(cost), 0) FROM (
    SELECT sum(amount) AS cost FROM costs_postcost
    WHERE post_id IN (SELECT post_id FROM costs_postcost WHERE last_at >= %(since)s) GROUP BY post_id
) AS post
"""


@dataclass(frozen=True, slots=True)
class PostsOfToday:
    """How many posts were used on a UTC day up to `read_at`, and what they cost together, in dollars: all of them."""

    count: int
    amount: Decimal
    read_at: datetime


def posts_of_today(at: datetime) -> PostsOfToday | None:
    """As they were last read; None if that was not on this day."""
    rows = MetricGauge.objects.filter(metric=POSTS_OF_TODAY, read_at__gte=_midnight(at))
    found = {row.labels[0]: row for row in rows}
    if not found:
        return None
    return PostsOfToday(int(found["count"].value), found["usd"].value, found["count"].read_at)


def _today(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
    ((count, cost),) = _rows(USED_SINCE, {"since": _midnight(at)})
    return {POSTS_OF_TODAY: [(("count",), Decimal(count)), (("usd",), cost)]}


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


FOLLOWS = """
SELECT persona_id,
    (SELECT COALESCE(sum(c.amount), 0) FROM costs_fiveminutecost c
     WHERE c.persona_id = o.persona_id AND c.starts_at >= %(since)s),
    sum(quantity)
FROM costs_hourlyoutcome o WHERE hour >= %(since)s AND kind = %(follow)s GROUP BY persona_id HAVING sum(quantity) > 0
"""


def _follows(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
    """What a persona's follows of the last 24 whole hours cost each; who had none is left out."""
    since = at.replace(minute=0, second=0, microsecond=0) - WINDOW
    costs, follows = dict[str, Decimal](), dict[str, Decimal]()
    for persona, cost, quantity in _rows(FOLLOWS, {"since": since, "follow": OutcomeKind.FOLLOW}):
        label = _label(persona, shown)
        costs[label] = costs.get(label, Decimal(0)) + cost
        follows[label] = follows.get(label, Decimal(0)) + quantity
    return {PER_FOLLOW: [((label,), Decimal(round(cost / follows[label], 12))) for label, cost in costs.items()]}


def _spend(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
    """Days and months are those of UTC."""
    today = at.astimezone(UTC).date()
    found = _rows(
        "SELECT CASE WHEN persona_id = ANY(%(shown)s) THEN persona_id ELSE %(other)s END,"
        " COALESCE(sum(amount) FILTER (WHERE day = %(today)s), 0), sum(amount)"
        " FROM costs_dailycost WHERE day >= %(month)s AND day <= %(today)s GROUP BY 1",
        {"shown": list(shown), "other": OTHER, "today": today, "month": today.replace(day=1)},
    )
    days = [((persona, "day"), day) for persona, day, _ in found]
    return {SPEND: [*days, *(((persona, "month"), month) for persona, _, month in found)]}


def _label(persona: str, shown: frozenset[str]) -> str:
    return persona if persona in shown else OTHER


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


READ: tuple[Callable[[datetime, frozenset[str]], dict[str, list[Row]]], ...] = (_posts, _today, _follows, _spend)
