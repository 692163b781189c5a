"""What personas spent since a level of the breaker began: by this alone it is judged whether the level helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.detectors.cost_spike import SPEND_RATE
from anomalies.readings import FIVE_MINUTES, LATEST_POSTS, RECENT
from costs.models.ledger import BOOKED_BEFORE

MOST_LINES = 5000
SHORTEST = timedelta(seconds=1)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fresh:
    """In dollars: what came, of it per post (None: for no post), and what the last five minutes come to at this pace.

    `lately` came in these five minutes.
    """

    amount: Decimal
    per_post: Decimal | None
    lately: Decimal
    per_five_minutes: Decimal

    def value(self, kind: str) -> Decimal | None:
        """What to compare with the baseline of this kind of reading."""
        return self.per_five_minutes if kind == SPEND_RATE else self.per_post

    def behind(self, kind: str) -> Decimal:
        return self.lately if kind == SPEND_RATE else self.amount


# A post counts with what came since: what it cost before says nothing about the level.
LINES = """
WITH line AS MATERIALIZED (
    SELECT asked.persona_id, found.post_id, found.timestamp, found.cost_amount
    FROM unnest(%(personas)s::text[], %(starts)s::timestamptz[]) AS asked(persona_id, since)
    CROSS JOIN LATERAL (
        SELECT post_id, timestamp, cost_amount FROM cost_events
        WHERE (persona_id, timestamp) > (asked.persona_id, asked.since)
          AND (persona_id, timestamp) <= (asked.persona_id, %(at)s + interval '10 minutes')
          AND created_at >= asked.since - %(booked_before)s AND cost_amount IS NOT NULL
        ORDER BY persona_id DESC, timestamp DESC LIMIT %(most)s
    ) AS found
), post AS (
    SELECT persona_id, sum(cost_amount) AS amount,
           row_number() OVER (PARTITION BY persona_id ORDER BY max(timestamp) DESC, post_id) AS place
    FROM line WHERE post_id IS NOT NULL GROUP BY persona_id, post_id
)
SELECT persona_id, count(*), min(timestamp), sum(cost_amount),
       COALESCE(sum(cost_amount) FILTER (WHERE timestamp > %(at)s - %(lately)s), 0),
       (SELECT avg(post.amount) FROM post WHERE post.persona_id = line.persona_id AND place <= %(posts)s)
FROM line GROUP BY 1
"""


def spent_since(since: Mapping[str, datetime], at: datetime) -> dict[str, Fresh]:
    """Of each persona since its own instant, a quarter of an hour back at most; nothing of those who spent nothing."""
    asked: dict[str, Any] = {
        "personas": list(since),
        "starts": [max(start, at - RECENT) for start in since.values()],
        "at": at,
        "booked_before": BOOKED_BEFORE,
        "most": MOST_LINES,
        "lately": FIVE_MINUTES,
        "posts": LATEST_POSTS,
    }
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(LINES, asked)
        for persona, lines, oldest, amount, lately, per_post in cursor.fetchall():
            # Of those who spend so fast that not all lines are read, these stand for the time that they cover.
            start = max(since[persona], at - FIVE_MINUTES, *([oldest] if lines == MOST_LINES else []))
            pace = Decimal(FIVE_MINUTES / max(at - start, SHORTEST))
            found[persona] = Fresh(amount, per_post, lately, lately * pace)
    return found
