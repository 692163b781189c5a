"""What was spent, half a minute at a time in the order of time, and single calls where it matters who came first."""

import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connection

from anomalies.backtest.period import stream
from costs.models.fields import ExactDecoder
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import Span
from costs.pricing import Quantities

# Live, a sweep looks so often, and two of them make the shortest stay on a level.
STEP = timedelta(seconds=30)


class Batch(NamedTuple):
    """One persona's costs of one step for one post on one model; `at` is the last. Names that are absent are ''."""

    starts_at: datetime
    persona_id: str
    post_id: str
    provider: str
    cost_type: str
    model: str
    amount: Decimal
    events: int
    at: datetime


class Call(NamedTuple):
    """One charge with its adjustments; `usage` None: only an amount was told."""

    id: int
    at: datetime
    persona_id: str
    post_id: str
    provider: str
    cost_type: str
    model: str
    amount: Decimal
    usage: Quantities | None

    @property
    def events(self) -> int:
        return 1

    @property
    def asks(self) -> bool:
        """Whether a decision comes before it: infrastructure is used without asking."""
        return bool(self.model)


# What was booked for nobody is '' among the personas.
OF = "(%(whole)s OR COALESCE(persona_id, '') = ANY(%(personas)s))"
WITHIN = "timestamp >= %(start)s AND timestamp < %(end)s AND created_at >= %(start)s - %(booked_before)s"
BATCHES = f"""
SELECT date_bin(%(step)s, timestamp, '2000-01-01T00:00:00Z'), COALESCE(persona_id, ''), COALESCE(post_id, ''),
       COALESCE(provider, ''), cost_type, COALESCE(model, ''), COALESCE(sum(cost_amount), 0),
       (count(*) FILTER (WHERE entry_type = 'charge'))::int, max(timestamp)
FROM cost_events WHERE {WITHIN} AND {OF}
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 9, 2, 3, 4, 5, 6
"""


def steps(span: Span, personas: Collection[str], *, whole: bool) -> Iterator[tuple[datetime, list[Batch]]]:
    """Every step in which something was spent, by its start. Their amounts add up to the ledger's total exactly."""
    rows = stream(
        BATCHES,
        step=STEP,
        start=span.start,
        end=span.end,
        booked_before=BOOKED_BEFORE,
        whole=whole,
        personas=list(personas),
    )
    for start, found in groupby((Batch(*row) for row in rows), key=attrgetter("starts_at")):
        yield start, list(found)


# The part of an adjustment stands at the time of its charge.
CALLS = f"""
SELECT id, timestamp, COALESCE(persona_id, ''), COALESCE(post_id, ''), COALESCE(provider, ''), cost_type,
       COALESCE(model, ''),
       COALESCE(cost_amount, 0)
           + COALESCE((SELECT sum(later.cost_amount) FROM cost_events later WHERE later.adjusts = line.id), 0),
       quantities::text, service_tier
FROM cost_events line WHERE entry_type = 'charge' AND {WITHIN} AND {OF}
ORDER BY timestamp, id
"""


def calls(span: Span, personas: Collection[str]) -> list[Call]:
    """The single calls of these personas, in the order of time."""
    asked: dict[str, Any] = {"start": span.start, "end": span.end, "booked_before": BOOKED_BEFORE}
    with connection.cursor() as cursor:
        cursor.execute(CALLS, {**asked, "whole": False, "personas": list(personas)})
        rows = cursor.fetchall()
    return [Call._make([*told, _counted(quantities, tier)]) for *told, quantities, tier in rows]


def _counted(quantities: str | None, tier: str | None) -> Quantities | None:
    return None if quantities is None else Quantities(json.loads(quantities, cls=ExactDecoder), tier)
