"""Figures of posts and personas that take too long to read at every scrape: read every few seconds, and kept."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
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
VERIFY_SECONDS = "finops_ledger_verify_seconds"
WINDOW = timedelta(hours=24)
DEAREST_POSTS = 20
# Reading them takes at most a twentieth of one core.
REST_TIMES = 20

Row = tuple[Sequence[str], Decimal]


def refresh(at: datetime) -> bool:
    """Read all of them anew, unless the last reading was so long that it is not yet time; returns whether it did."""
    started = time.monotonic()
    if not is_due(SECONDS, at):
        return False
    shown = metric_totals.personas()
    for read in READ:
        for metric, rows in read(at, shown).items():
            store(metric, rows, at)
    store(SECONDS, [((), Decimal(repr(time.monotonic() - started)))], at)
    return True


def is_due(seconds_metric: str, at: datetime, *, times: int = REST_TIMES) -> bool:
    """Whether a reading that took so many seconds has rested for `times` as long."""
    last = MetricGauge.objects.filter(metric=seconds_metric).first()
    return last is None or at - last.read_at >= timedelta(seconds=times * float(last.value))


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
    costs, counts, dearest = dict[str, Decimal](), Counter[str](), list[Row]()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '64MB'")
        parameters = {"since": at - WINDOW, "threshold": alert_threshold(), "most": DEAREST_POSTS}
        found = _rows(TOUCHED, parameters)
    for persona, post, cost, count in found:
        if post is not None:
            dearest.append(((persona, post), cost))
            continue
        label = persona if persona in shown else OTHER
        costs[label] = costs.get(label, Decimal(0)) + cost
        counts[label] += count
    means = {label: Decimal(round(cost / counts[label], 12)) for label, cost in costs.items()}
    breaches = {label: Decimal(mean > alert_threshold()) for label, mean in means.items()}
    return {
        PER_POST: [((label,), mean) for label, mean in means.items()],
        BREACH: [((label, "critical"), breach) for label, breach in breaches.items()],
        DEAREST: dearest,
    }


def _follows(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
    """What a persona's follows of the last 24 whole hours cost each."""
    found = _rows(
        "SELECT persona_id, (SELECT COALESCE(sum(c.amount), 0) FROM costs_fiveminutecost c"
        " WHERE c.persona_id = o.persona_id AND c.starts_at >= %(since)s) / sum(quantity)"
        " FROM costs_hourlyoutcome o WHERE hour >= %(since)s AND kind = %(follow)s AND persona_id = ANY(%(shown)s)"
        " GROUP BY persona_id HAVING sum(quantity) > 0",
        {
            "shown": list(shown),
            "since": at.replace(minute=0, second=0, microsecond=0) - WINDOW,
            "follow": OutcomeKind.FOLLOW,
        },
    )
    return {PER_FOLLOW: [((persona,), Decimal(round(cost, 12))) for persona, cost in found]}


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


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


READ: tuple[Callable[[datetime, frozenset[str]], dict[str, list[Row]]], ...] = (_posts, _follows, _spend)
