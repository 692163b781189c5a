"""What drove an anomaly: the models, operations and events that cost most in its window."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.detectors.base import Window
from anomalies.wording import plain, rounded
from costs.models.ledger import BOOKED_BEFORE

LINES = 1000
SHOWN = 5

# Of each subject its newest lines: what drives these, drives it. Rows are compared as in readings.LATEST.
DRIVERS = """
SELECT asked.place, found.drivers, found.dearest
FROM unnest(%(names)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
     WITH ORDINALITY AS asked(name, since, until, place)
CROSS JOIN LATERAL (
    WITH line AS MATERIALIZED (
        SELECT event_id, post_id, model, operation, cost_type, cost_amount FROM cost_events
        WHERE ({column}, timestamp) >= (asked.name, asked.since) AND ({column}, timestamp) <= (asked.name, asked.until)
          AND created_at >= asked.since - %(booked_before)s AND {column} IS NOT NULL AND cost_amount IS NOT NULL
        ORDER BY {column} DESC, timestamp DESC LIMIT %(most)s
    ), dear AS (
        SELECT * FROM line ORDER BY cost_amount DESC, event_id LIMIT %(shown)s
    ), driver AS (
        SELECT COALESCE(model, cost_type) AS what, COALESCE(operation, '') AS operation, sum(cost_amount) AS amount,
               count(*) AS events, sum(sum(cost_amount)) OVER () AS whole
        FROM line GROUP BY 1, 2 ORDER BY amount DESC, 1, 2 LIMIT %(shown)s
    )
    SELECT (SELECT json_agg(json_build_array(what, operation, amount::text, events, whole::text)) FROM driver)
               AS drivers,
           (SELECT json_agg(json_build_array(event_id, post_id, COALESCE(model, cost_type), operation,
                                             cost_amount::text)) FROM dear) AS dearest
) AS found
"""
OF_PERSONA = DRIVERS.format(column="persona_id")
OF_POST = DRIVERS.format(column="post_id")


def of_window(persona_id: str, window: Window) -> dict[str, Any]:
    """{"window", "driven_by": a sentence, "contributors": [...], "events": [...]}; amounts are texts."""
    return _found(OF_PERSONA, [persona_id], [window])[0]


def of_posts(windows: Mapping[str, Window]) -> dict[str, dict[str, Any]]:
    """The same for each post, in one statement."""
    return dict(zip(windows, _found(OF_POST, list(windows), list(windows.values())), strict=True))


def _found(statement: str, names: list[str], windows: list[Window]) -> list[dict[str, Any]]:
    asked: dict[str, Any] = {
        "names": names,
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
        "booked_before": BOOKED_BEFORE,
        "most": LINES,
        "shown": SHOWN,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        found = {place - 1: (drivers, dearest) for place, drivers, dearest in cursor.fetchall()}
    return [_evidence(window, *found[place]) for place, window in enumerate(windows)]


def _evidence(window: Window, drivers: list[Any] | None, dearest: list[Any] | None) -> dict[str, Any]:
    contributors = [
        {
            "model": what,
            "operation": operation,
            "amount": _amount(amount),
            "events": events,
            "share": _share(amount, whole),
        }
        for what, operation, amount, events, whole in drivers or []
    ]
    return {
        "window": told_window(window),
        "driven_by": _sentence(contributors),
        "contributors": contributors,
        "events": [
            {"event_id": event, "post_id": post, "model": model, "operation": operation, "amount": _amount(amount)}
            for event, post, model, operation, amount in dearest or []
        ],
    }


DAYS = """
SELECT COALESCE(NULLIF(model, ''), cost_type), operation, sum(amount), sum(sum(amount)) OVER ()
FROM costs_dailycost
WHERE day >= %(start)s AND day <= %(end)s
  AND (%(persona)s = '' OR persona_id = %(persona)s) AND (%(model)s = '' OR model = %(model)s)
  AND (%(cost_type)s = '' OR cost_type = %(cost_type)s)
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1
"""


def of_days(scope: Mapping[str, str], window: Window) -> str:
    """The model and operation that cost most on the days of the window, as a sentence."""
    with connection.cursor() as cursor:
        cursor.execute(
            DAYS,
            {
                "start": window.start.date(),
                "end": window.end.date(),
                "persona": scope.get("persona_id", ""),
                "model": scope.get("model", ""),
                "cost_type": scope.get("cost_type", ""),
            },
        )
        row = cursor.fetchone()
    if row is None or not row[3]:
        return ""
    what, operation, amount, whole = row
    share = plain(rounded(amount / whole * 100, 1))
    return _sentence([{"model": what, "operation": operation, "share": share}])


def told_window(window: Window) -> dict[str, str]:
    return {"start": _instant(window.start), "end": _instant(window.end)}


def _sentence(contributors: list[dict[str, Any]]) -> str:
    if not contributors:
        return ""
    first = contributors[0]
    what = f"{first['model']}, {first['operation']}" if first["operation"] else first["model"]
    return f"{what}: {first['share']} % of it"


def _amount(text: str) -> str:
    return plain(Decimal(text))


def _share(amount: str, whole: str) -> str:
    return plain(rounded(Decimal(amount) / Decimal(whole) * 100, 1)) if Decimal(whole) else "0"


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
