"""What a replay is asked for: a stored period, whose costs, by which levels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from anomalies.detectors import DETECTORS, Detector
from anomalies.rules import Rules
from costs.attribution import Target
from costs.periods import HOUR, Span

ROWS_AT_ONCE = 5000

Scope = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Period:
    """`span` begins with a full hour; where it ends inside of one, that hour is not over.

    `is_open` says whether the judge holds an incident of a scope right now.

    `levels` replace all others; a rule that is switched off is replayed as it ships: whoever asks wants to know.
    `passed` is called with (done, of so many) parts; `note` with sentences that the reader of the result needs.
    """

    span: Span
    personas: Sequence[str]
    whole: bool
    rules: Rules
    target: Target
    per_follow: Decimal
    grain: str
    is_open: Callable[[Scope], bool]
    levels: Mapping[str, Decimal | None] = field(default_factory=dict)
    passed: Callable[[int, int], None] = lambda done, total: None
    note: Callable[[str], None] = lambda sentence: None

    def detector(self, rule: str, persona_id: str = "") -> Detector:
        found = self.rules.of(rule, persona_id) or DETECTORS[rule]
        return found.with_levels(**self.levels) if self.levels else found

    def each_persona(self) -> Iterator[str]:
        for done, persona in enumerate(self.personas, start=1):
            yield persona
            self.passed(done, len(self.personas))

    def each_hour(self) -> Iterator[datetime]:
        """The end of every hour of the span that is over."""
        total = (self.span.end - self.span.start) // HOUR
        for done in range(1, total + 1):
            yield self.span.start + HOUR * done
            self.passed(done, total)


def stream(statement: str, **values: Any) -> Iterator[Any]:
    """Rows as the server hands them out, so that memory does not grow with their number."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, values)
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            yield from found


HOURS = """
SELECT persona_id, hour, sum(amount) FROM costs_hourlycost
WHERE hour >= %(start)s AND hour < %(end)s AND persona_id = ANY(%(personas)s) GROUP BY 1, 2 ORDER BY 1, 2
"""


def hourly_costs(span: Span, personas: Sequence[str]) -> dict[str, dict[datetime, Decimal]]:
    """What each persona cost in each hour that has costs."""
    found: dict[str, dict[datetime, Decimal]] = {persona: {} for persona in personas}
    for persona, hour, amount in stream(HOURS, start=span.start, end=span.end, personas=list(personas)):
        found[persona][hour] = amount
    return found
