"""Outcomes that come late change the return of windows that were judged already; the anomaly then says so."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from anomalies.lifecycle import Change
from anomalies.models import Anomaly, Transition
from anomalies.wording import plain, rounded

LOOKED_BACK = timedelta(days=30)
AT_ONCE = 100
# In percent of the cost: smaller changes are not worth a word.
WORTH_TELLING = Decimal(1)

SUMS = """
SELECT a.id,
       COALESCE((SELECT sum(o.amount) FROM costs_hourlyoutcome o
                 WHERE o.persona_id = a.persona_id AND o.kind = 'revenue'
                   AND o.hour >= a.start AND o.hour < a.until), 0),
       COALESCE((SELECT sum(c.amount) FROM costs_hourlycost c
                 WHERE c.persona_id = a.persona_id AND c.hour >= a.start AND c.hour < a.until), 0)
FROM (SELECT id, persona_id, (evidence #>> '{window,start}')::timestamptz AS start,
             (evidence #>> '{window,end}')::timestamptz AS until
      FROM anomalies_anomaly WHERE rule = 'negative_roi' AND opened_at >= %s AND evidence ? 'cost'
      ORDER BY opened_at DESC LIMIT %s) AS a
"""


def revise(at: datetime) -> None:
    """Compare each recent negative return with what its own window shows today."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [at - LOOKED_BACK, AT_ONCE])
        today = {pk: (revenue, cost) for pk, revenue, cost in cursor.fetchall()}
    for anomaly in Anomaly.objects.filter(pk__in=today).order_by("pk"):
        _revise(anomaly, *today[anomaly.pk], at)


def _revise(anomaly: Anomaly, revenue: Decimal, cost: Decimal, at: datetime) -> None:
    was, cost_then = Decimal(anomaly.evidence["revenue"]), Decimal(anomaly.evidence["cost"])
    before, now = _roi(was, cost_then), _roi(revenue, cost)
    if abs(now - before) < WORTH_TELLING or not _is_closed(anomaly, at):
        return
    anomaly.evidence = {**anomaly.evidence, "revenue": plain(revenue), "cost": plain(cost)}
    anomaly.save(update_fields=["evidence"])
    Transition.objects.create(
        anomaly=anomaly,
        at=at,
        change=Change.REVISED,
        severity=anomaly.severity,
        current=rounded(now, 12),
        reason=f"Late outcomes: the return of its window is {_percent(now)}, was {_percent(before)}.",
    )


def _is_closed(anomaly: Anomaly, at: datetime) -> bool:
    """While the window runs, new outcomes are not late."""
    return datetime.fromisoformat(anomaly.evidence["window"]["end"]) <= at


def _percent(value: Decimal) -> str:
    return f"{plain(rounded(value, 1))} %"


def _roi(revenue: Decimal, cost: Decimal) -> Decimal:
    return (revenue - cost) / cost * 100 if cost else Decimal(0)
