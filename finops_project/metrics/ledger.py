"""What Postgres and the broker say: the same from any process and after any restart. Read at every scrape.

What would take long is read every few seconds by a task and kept (`costs.metric_gauges`). Ids are never labels, but
for the few dearest posts; whose persona has no label of its own counts as `other`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import Error, connection, connections
from django.db.models import Count, F, Min, Sum
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from alerts.models import Delivery
from alerts.models.deliveries import State
from alerts.signal import Severity
from anomalies.models import Anomaly
from controls import overrides, postgres
from controls.ladder import Level
from controls.models import Budget, Hold
from controls.models.breaker import EVERYBODY
from controls.standing import Standing, names, standings
from costs import broker, metric_gauges, metric_totals, partitions, schedule
from costs.metric_totals import ADJUSTMENTS, METRICS, OTHER
from costs.models import DeadLetter, HourlyCost, InboxRow, MetricGauge

log = logging.getLogger(__name__)

# Of how sure one may be that something is wrong; decisions.md.
SCORES = {Severity.LOW: 0.5, Severity.MEDIUM: 0.85, Severity.HIGH: 0.95, Severity.CRITICAL: 1.0}
BUDGETS = 50
# More would take longer than a scrape may.
HELD_BACK = 5_000
BROKER_SECONDS = 0.5
DAY = timedelta(days=1)
KEPT = {
    metric_gauges.PER_POST: ("Mean cost of the posts that were touched within 24 hours.", ["persona_id"]),
    metric_gauges.PER_FOLLOW: ("What a follow of the last 24 hours cost.", ["persona_id"]),
    metric_gauges.BREACH: (
        "1 where the mean cost of a post is above the alert threshold, else 0.",
        ["persona_id", "severity"],
    ),
    metric_gauges.DEAREST: (
        "The dearest posts above the alert threshold, touched within 24 hours; 20 at most.",
        ["persona_id", "post_id"],
    ),
    metric_gauges.SPEND: ("Spent in this UTC day or month so far, adjustments included.", ["persona_id", "period"]),
    metric_gauges.SAVED: ("What switched and denied calls of this UTC month would have cost more.", ["persona_id"]),
    metric_gauges.DRIFT: ("Counters that differed from the ledger at the last verification.", []),
    metric_gauges.SECONDS: ("Seconds that it took to read the gauges of posts and personas.", []),
}
KEPT_COLUMNS = ("metric", "labels", "value", "read_at")

Shown = frozenset[str]


class LedgerCollector(Collector):
    def __init__(self, *, at: datetime) -> None:
        self._at = at

    def collect(self) -> Iterator[Metric]:
        """While Postgres is away: only that it is. What cannot be read for another reason is left out as well."""
        try:
            totals = metric_totals.totals()
            shown = metric_totals.personas_of((metric, labels) for metric, labels, _ in totals)
            found, is_up = [*_totals(totals), *self._gauges(shown)], True
        except Error as error:
            found, is_up = [], _answers()
            log.warning("metrics without the ledger: %s", type(error.__cause__ or error).__name__)
        yield _gauge("finops_database_up", "1 while Postgres answers.", is_up)
        yield from found
        yield from _broker()

    def _gauges(self, shown: Shown) -> Iterator[Metric]:
        for read in READ:
            yield from read(self._at, shown)


def _answers() -> bool:
    """Whether Postgres does, on connections that a full pool or a broken transaction leaves free."""
    try:
        with postgres.connected(), connections[postgres.DECISIONS].cursor() as cursor:
            cursor.execute("SELECT 1")
    except postgres.Busy:
        return True
    except Error:
        return False
    return True


def _totals(totals: Iterable[tuple[str, list[str], Decimal]]) -> Iterator[Metric]:
    families = {metric.name: _family(metric) for metric in METRICS}
    for name, labels, value in totals:
        families[name].add_metric(labels, float(value))
    yield from families.values()


def _family(metric: metric_totals.Metric) -> GaugeMetricFamily | CounterMetricFamily:
    made = GaugeMetricFamily if metric.name == ADJUSTMENTS else CounterMetricFamily
    return made(metric.name, metric.help, labels=metric.labels)


def _kept(at: datetime, shown: Shown) -> Iterator[Metric]:
    families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in KEPT.items()}
    read: dict[str, datetime] = {}
    for metric, labels, value, read_at in MetricGauge.objects.order_by("metric", "labels").values_list(*KEPT_COLUMNS):
        if metric in families:
            families[metric].add_metric(labels, float(value))
            read[metric] = read_at
    yield from families.values()
    for metric, name, text in (
        (metric_gauges.SECONDS, "finops_gauges_age_seconds", "Since the gauges of posts and personas were read."),
        (metric_gauges.DRIFT, "finops_ledger_verified_age_seconds", "Since the ledger was last verified."),
    ):
        if metric in read:
            yield _gauge(name, text, (at - read[metric]).total_seconds())


def _anomalies(at: datetime, shown: Shown) -> Iterator[Metric]:
    active = GaugeMetricFamily("finops_active_anomalies", "Anomalies that are open.", labels=["persona_id", "severity"])
    score = GaugeMetricFamily(
        "finops_cost_anomaly_score",
        "How sure it is that something is wrong, of the gravest open anomaly: 0 to 1.",
        labels=["persona_id"],
    )
    counts: dict[tuple[str, str], int] = {(persona, "critical"): 0 for persona in shown}
    scores = dict.fromkeys(shown, 0.0)
    for persona, severity, count in _counted(Anomaly.objects.open(), "persona_id", "severity"):
        name = _named(persona, shown)
        counts[name, severity] = counts.get((name, severity), 0) + count
        scores[name] = max(scores.get(name, 0.0), SCORES[Severity(severity)])
    for labels, count in sorted(counts.items()):
        active.add_metric(labels, count)
    for persona, value in sorted(scores.items()):
        score.add_metric([persona], value)
    yield active
    yield score


def _breakers(at: datetime, shown: Shown) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "finops_breaker_level",
        "Personas at this level, as decisions see it: overrides and dry runs considered; without a name: everybody.",
        labels=["persona_id", "level"],
    )
    everybodys = overrides.holding(EVERYBODY, overrides.active(at))
    counts = Counter([(EVERYBODY, str(Standing.untouched(EVERYBODY, everybodys).obeyed))])
    for standing in standings(names(at, is_all=False, personas=None, after="", most=HELD_BACK), at):
        counts[_named(standing.persona_id, shown), str(standing.obeyed)] += 1
    for labels, count in sorted(counts.items()):
        if labels[1] != Level.CLOSED:
            family.add_metric(labels, count)
    yield family


def _budgets(at: datetime, shown: Shown) -> Iterator[Metric]:
    """Of the oldest budgets in force; more would be too many series."""
    labels = ["budget", "persona_id"]
    limit = GaugeMetricFamily("finops_budget_limit_usd", "Limit of the period, increases included.", labels=labels)
    spent = GaugeMetricFamily("finops_budget_spent_usd", "Spent in the present period.", labels=labels)
    held = GaugeMetricFamily("finops_budget_held_usd", "Reserved in the present period.", labels=labels)
    oldest = list(Budget.objects.active().order_by("pk").values_list("pk", flat=True)[:BUDGETS])
    for usage in Budget.objects.filter(pk__in=oldest).order_by("pk").usages(at):
        # Two may have the same name.
        values = [f"{usage.budget_id} {usage.name}", usage.scope.get("persona_id", "")]
        limit.add_metric(values, float(usage.allowed))
        spent.add_metric(values, float(usage.spent))
        held.add_metric(values, float(usage.held + usage.pending))
    yield from (limit, spent, held)


def _holds(at: datetime, shown: Shown) -> Iterator[Metric]:
    found = Hold.objects.open().aggregate(count=Count("pk"), amount=Sum("amount"))
    yield _gauge("finops_holds_open", "Calls that were let in and not yet settled.", found["count"])
    yield _gauge("finops_holds_usd", "What is reserved for them.", found["amount"] or 0)


def _intake(at: datetime, shown: Shown) -> Iterator[Metric]:
    inbox = InboxRow.objects.aggregate(events=Sum("event_count"), oldest=Min("received_at"))
    unpriced = HourlyCost.objects.exclude(unpriced=0).aggregate(sum=Sum("unpriced"))["sum"]
    letters = DeadLetter.objects.open().count()
    oldest = max(0.0, (at - inbox["oldest"]).total_seconds()) if inbox["oldest"] else 0
    yield _gauge("finops_inbox_events", "Accepted and not yet booked.", inbox["events"] or 0)
    yield _gauge("finops_inbox_oldest_seconds", "Since the oldest of them was accepted.", oldest)
    yield _gauge("finops_unpriced_events", "Booked without a price.", unpriced or 0)
    yield _gauge("finops_dead_letters", "Events that could not be booked, and wait for somebody.", letters)
    yield _gauge("finops_partitions_ahead", "Months ahead for which the ledger has room.", partitions.months_ahead(at))


def _deliveries(at: datetime, shown: Shown) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "finops_alert_deliveries",
        "Messages to channels: waiting, sent within 24 hours, given up of late.",
        labels=["status"],
    )
    family.add_metric(["waiting"], Delivery.objects.unsent().count())
    family.add_metric(["failed"], Delivery.objects.given_up(at - DAY).count())
    family.add_metric(["sent"], Delivery.objects.filter(created_at__gt=at - DAY, state=State.SENT).count())
    yield family


def _schedule(at: datetime, shown: Shown) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "finops_beat_age_seconds",
        "Since the entry of beat last ran; where it never did, since the newest migration.",
        labels=["entry"],
    )
    failed = GaugeMetricFamily("finops_beat_failed", "1 where the entry's last run failed, else 0.", labels=["entry"])
    runs, since = schedule.last_runs(), schedule.migrated_at()
    for entry in sorted(settings.CELERY_BEAT_SCHEDULE):
        run = runs.get(entry)
        age.add_metric([entry], run.age(at) if run else (at - since).total_seconds())
        failed.add_metric([entry], bool(run and run.has_failed))
    yield from (age, failed)


def _connections(at: datetime, shown: Shown) -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE application_name LIKE 'finops_engine:%%'),"
            " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            " FROM pg_stat_activity WHERE datname = current_database()",
            [],
        )
        active, most = cursor.fetchone()
    yield _gauge("finops_db_connections_active", "Connections of this service to Postgres.", active)
    yield _gauge("finops_db_connections_max", "Connections that Postgres allows.", most)


READ: tuple[Callable[[datetime, Shown], Iterable[Metric]], ...] = (
    *(_kept, _anomalies, _breakers, _budgets, _holds),
    *(_intake, _deliveries, _schedule, _connections),
)


def _broker() -> Iterator[Metric]:
    lengths = GaugeMetricFamily("finops_queue_length", "Messages that wait in the broker.", labels=["queue"])
    try:
        for queue, length in broker.queue_lengths(seconds=BROKER_SECONDS).items():
            lengths.add_metric([queue], length)
        is_up = True
    except broker.Away:
        is_up = False
    yield _gauge("finops_redis_up", "1 while the broker answers.", is_up)
    if is_up:
        yield lengths


def _gauge(name: str, text: str, value: float | Decimal) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _named(persona: str, shown: Shown) -> str:
    return persona if persona in shown else OTHER


def _counted(rows: Any, *fields: str) -> Iterable[tuple[Any, ...]]:
    found: Iterable[tuple[Any, ...]] = rows.order_by().values_list(*fields).annotate(count=Count(F("pk")))
    return found
