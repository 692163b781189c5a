"""What needs looking at once an hour: silence, usage without a price, dead letters, and whether the counters hold.

Usage without a price is also looked at when a batch brings some.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection

from anomalies import incidents
from anomalies.contributors import told_window
from anomalies.detectors.base import Window
from anomalies.detectors.dead_letters import DeadLetterReading
from anomalies.detectors.ledger_drift import DriftReading
from anomalies.detectors.no_data import SilenceReading
from anomalies.detectors.unpriced import UnpricedReading
from anomalies.incidents import Look
from anomalies.models import Anomaly, Watermark
from anomalies.quiet import unseen
from anomalies.rules import Rules
from anomalies.series import booked_until
from costs.ingest import accept_window
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import HOUR, floor

WEEK = timedelta(days=7)


def catch_up(at: datetime) -> None:
    """Once for each full hour, however often it is called; an hour that was missed is not made up for."""
    hour = floor(at, HOUR)
    mark, is_new = Watermark.objects.select_for_update().get_or_create(name="hourly", defaults={"through": hour})
    rules = Rules.stored()
    if mark.through >= hour and not is_new:
        # Who speaks again is not silent any more, and what got its price is settled, without waiting for the hour.
        standing = set(Anomaly.objects.open().filter(rule__in=("no_data", "unpriced")).values_list("rule", flat=True))
        found = [
            *(_at_silence(rules, at) if "no_data" in standing else ()),
            *(at_unpriced(rules, at) if "unpriced" in standing else ()),
        ]
        incidents.apply([*found, *_at_dead_letters(rules, at)], at=at)
        return
    mark.through = hour
    mark.save(update_fields=["through"])
    found = [*_at_silence(rules, at), *at_unpriced(rules, at), *_at_dead_letters(rules, at), *_at_drift(rules, hour)]
    incidents.apply(found, at=at)


SILENCE = """
SELECT persona_id, count(DISTINCT hour), min(hour), max(hour)
FROM costs_hourlycost WHERE hour >= %(start)s AND hour <= %(end)s AND persona_id <> ''
GROUP BY 1 ORDER BY 1
"""


def _at_silence(rules: Rules, at: datetime) -> list[Look]:
    hour = floor(booked_until(at), HOUR)
    start = hour - WEEK
    looks = []
    with connection.cursor() as cursor:
        cursor.execute(SILENCE, {"start": start, "end": hour})
        rows = cursor.fetchall()
    for persona, active, first, last in rows:
        reading = SilenceReading(
            persona,
            active=active,
            # The habit ends where the silence begins: it must not fade while that lasts.
            hours=int((last - first) / HOUR) + 1,
            # Full hours only: the running one may still bring something.
            silent=max(int((hour - last) / HOUR) - 1, 0),
            window=Window(last, at),
        )
        detector = rules.of("no_data", persona)
        if detector:
            looks.append(
                Look(
                    "no_data",
                    detector,
                    reading.scope,
                    detector.inspect(reading),
                    partial(_evidence, reading.window),
                )
            )
    return [*looks, *unseen("no_data", {look.key for look in looks}, rules)]


# Few rows by nature: the index of hours with unpriced charges is partial.
UNPRICED = """
SELECT provider, model, cost_type, sum(unpriced), min(hour), max(hour)
FROM costs_hourlycost WHERE hour >= %(start)s AND unpriced <> 0
GROUP BY 1, 2, 3 HAVING sum(unpriced) > 0 ORDER BY 1, 2, 3
"""


def at_unpriced(rules: Rules, at: datetime) -> list[Look]:
    """One look at each model with unpriced usage, as old as events may be, and at each open incident of the rule."""
    detector = rules.of("unpriced")
    if detector is None:
        return unseen("unpriced", (), rules)
    with connection.cursor() as cursor:
        cursor.execute(UNPRICED, {"start": at - accept_window()})
        rows = cursor.fetchall()
    looks = []
    for provider, model, cost_type, events, first, last in rows:
        window = Window(first, last + HOUR)
        reading = UnpricedReading(provider, model, cost_type, int(events), window)
        looks.append(
            Look(
                "unpriced",
                detector,
                reading.scope,
                detector.inspect(reading),
                partial(_evidence, window),
            )
        )
    return [*looks, *unseen("unpriced", {look.key for look in looks}, rules)]


# Few rows by nature: the index of open dead letters is partial.
DEAD = """
SELECT source, count(*), min(created_at), max(created_at) FROM costs_deadletter
WHERE replayed_at IS NULL AND written_off_at IS NULL
GROUP BY 1 ORDER BY 1
"""


def _at_dead_letters(rules: Rules, at: datetime) -> list[Look]:
    detector = rules.of("dead_letters")
    if detector is None:
        return unseen("dead_letters", (), rules)
    with connection.cursor() as cursor:
        cursor.execute(DEAD)
        rows = cursor.fetchall()
    looks = []
    for source, letters, first, last in rows:
        reading = DeadLetterReading(source, letters, Window(first, last))
        judged = detector.inspect(reading)
        looks.append(Look("dead_letters", detector, reading.scope, judged, partial(_evidence, reading.window)))
    return [*looks, *unseen("dead_letters", {look.key for look in looks}, rules)]


# One hour costs the same however large the ledger is; `verify_ledger` compares all of it.
DRIFT = """
SELECT (SELECT COALESCE(sum(amount), 0) FROM costs_hourlycost WHERE hour >= %(start)s AND hour < %(end)s),
       (SELECT COALESCE(sum(cost_amount), 0) FROM cost_events
        WHERE timestamp >= %(start)s AND timestamp < %(end)s AND created_at >= %(start)s - %(booked_before)s)
"""


def _at_drift(rules: Rules, hour: datetime) -> list[Look]:
    """The last full hour: both sums come from one snapshot."""
    detector, window = rules.of("ledger_drift"), Window(hour - HOUR, hour)
    if detector is None:
        return unseen("ledger_drift", (), rules)
    asked: dict[str, Any] = {"start": window.start, "end": window.end, "booked_before": BOOKED_BEFORE}
    with connection.cursor() as cursor:
        cursor.execute(DRIFT, asked)
        counted, added_up = cursor.fetchone()
    reading = DriftReading(counted, added_up, window)
    return [Look("ledger_drift", detector, reading.scope, detector.inspect(reading), partial(_evidence, window))]


def _evidence(window: Window) -> Mapping[str, Any]:
    return {"window": told_window(window)}
