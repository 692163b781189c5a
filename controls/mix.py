"""What a persona's operations really used of each model: the ledger's own tokens, added up so that prices stay exact.

Prices depend on the moment and on the length of a call's input. So lines are added up apart for every interval between
two changes of price and for every class of lengths: what one sum costs is then what its lines cost.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from controls.savings import WHOSE, Whose
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import Span
from costs.pricing import PriceBook
from costs.pricing.buckets import INPUT_BUCKETS, TOKENS
from costs.pricing.library import CONTEXT_LENGTHS
from costs.reports import reading


class Model(NamedTuple):
    """A model as the ledger names it; '' where a name is absent, tier None is the standard one."""

    cost_type: str
    provider: str
    model: str
    tier: str | None = None


class Work(NamedTuple):
    """One operation of one persona with one model."""

    persona_id: str
    operation: str
    model: Model


@dataclass(slots=True)
class Part:
    """Lines of one interval of prices, which begins at `since`, and one class of lengths, of which `length` is one."""

    since: datetime
    length: int
    requests: int = 0
    sums: dict[str, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class Mix:
    """All lines of one work. `largest` is the most tokens, in and out together, of one of them."""

    work: Work
    calls: int = 0
    largest: int = 0
    parts: dict[tuple[int, int], Part] = field(default_factory=dict)

    def price(self, prices: PriceBook, model: Model) -> Decimal | None:
        """What these very lines cost at the prices of `model`, each at its own time; None where one has no price."""
        total = Decimal(0)
        for part in self.parts.values():
            sheet = prices.tariff((model.cost_type, model.provider or None, model.model, model.tier), part.since).sheet
            amount = sheet.price_of_many(part.sums, requests=part.requests, context=part.length)
            if amount is None:
                return None
            total += amount
        return total

    def add(self, since: datetime, sum_: "_Sum") -> None:
        part = self.parts.setdefault((sum_.piece, sum_.class_), Part(since, CONTEXT_LENGTHS[sum_.class_ - 1]))
        for bucket, quantity in sum_.buckets.items():
            part.sums[bucket] = part.sums.get(bucket, Decimal(0)) + quantity
        part.requests += sum_.requests
        self.calls += sum_.lines
        self.largest = max(self.largest, int(sum_.largest))


class _Sum(NamedTuple):
    """Lines of one work in one interval and one class of lengths, numbered from 1."""

    piece: int
    class_: int
    lines: int
    requests: int
    largest: Decimal
    buckets: Mapping[str, Decimal]


# What nearly all lines have, and nothing else: taken out one by one it costs a quarter of taking apart what is there.
COMMON = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_GIVEN = " + ".join(f"COALESCE({name}, 0)" for name in COMMON if name in INPUT_BUCKETS)
_BACK = " + ".join(f"COALESCE({name}, 0)" for name in COMMON if name not in INPUT_BUCKETS)
NAMES = """COALESCE(persona_id, '') AS persona, COALESCE(operation, '') AS operation, cost_type,
    COALESCE(provider, '') AS provider, model, service_tier,
    width_bucket(timestamp, %(edges)s::timestamptz[]) AS piece"""
LINES = f"""timestamp >= %(start)s AND timestamp < %(end)s AND created_at >= %(start)s - %(booked_before)s
    AND entry_type = 'charge' AND quantities IS NOT NULL AND model IS NOT NULL AND {WHOSE}"""
COMMONLY_USED = f"""
SELECT persona, operation, cost_type, provider, model, service_tier, piece,
    width_bucket({_GIVEN}, %(lengths)s::numeric[]), count(*), count(*) FILTER (WHERE {_GIVEN} + {_BACK} > 0),
    max({_GIVEN} + {_BACK}), ARRAY[{", ".join(f"COALESCE(sum({name}), 0)" for name in COMMON)}]
FROM (
    SELECT {NAMES}, {", ".join(f"(quantities->>'{name}')::numeric AS {name}" for name in COMMON)}
    FROM cost_events WHERE {LINES} AND quantities - %(common)s::text[] = '{{}}' OFFSET 0
) AS line
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
OTHERWISE_USED = f"""
SELECT persona, operation, cost_type, provider, model, service_tier, piece,
    width_bucket(tokens.given, %(lengths)s::numeric[]), count(*) FILTER (WHERE used.place = 1),
    count(*) FILTER (WHERE used.place = 1 AND tokens.given + tokens.back > 0), max(tokens.given + tokens.back),
    used.bucket, sum(used.quantity::numeric)
FROM (
    SELECT {NAMES}, quantities FROM cost_events WHERE {LINES} AND quantities - %(common)s::text[] <> '{{}}'
) AS line
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(value::numeric) FILTER (WHERE key = ANY(%(input)s)), 0) AS given,
        COALESCE(sum(value::numeric) FILTER (WHERE key = ANY(%(output)s)), 0) AS back
    FROM jsonb_each_text(quantities)
) AS tokens
CROSS JOIN LATERAL jsonb_each_text(quantities) WITH ORDINALITY AS used(bucket, quantity, place)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 12
"""
MODELS = f"""
SELECT cost_type, provider, model, sum(events) FROM costs_dailycost
WHERE day >= %(start)s::timestamptz::date AND day <= %(end)s::timestamptz::date AND model <> '' AND {WHOSE}
GROUP BY cost_type, provider, model
"""


def models_in(span: Span, whose: Whose) -> dict[Model, int]:
    """The models that the ledger has on the days of the span, whatever the tier, and how many charges there are."""
    parameters = {"start": span.start, "end": span.end, **whose.parameters()}
    with reading().cursor() as cursor:
        cursor.execute(MODELS, parameters)
        return {Model(*names): int(events) for *names, events in cursor.fetchall()}


def edges_of(span: Span, models: Iterable[Model], prices: PriceBook) -> list[datetime]:
    """Where the span begins, and every instant in it at which a price of one of these may change, in any tier."""
    edges = {span.start, *(edge for edge in prices.changes_of_rates() if span.start < edge < span.end)}
    for model in models:
        names = (model.cost_type, model.provider or None, model.model, model.tier)
        at = prices.tariff(names, span.start).end
        while at < span.end:
            edges.add(at)
            at = prices.tariff(names, at).end
    return sorted(edges)


def mixes_of(span: Span, edges: Sequence[datetime], whose: Whose) -> list[Mix]:
    """The mix of every work in the span, in no order. The edges are in order, and the first is the span's start."""
    parameters = {
        "start": span.start,
        "end": span.end,
        "edges": list(edges),
        "lengths": list(CONTEXT_LENGTHS),
        "common": list(COMMON),
        "input": list(INPUT_BUCKETS),
        "output": list(TOKENS.keys() - INPUT_BUCKETS),
        "booked_before": BOOKED_BEFORE,
        **whose.parameters(),
    }
    found: dict[Work, Mix] = {}
    for work, sum_ in _read(parameters):
        found.setdefault(work, Mix(work)).add(edges[sum_.piece - 1], sum_)
    return list(found.values())


def _read(parameters: dict[str, Any]) -> Iterator[tuple[Work, _Sum]]:
    with reading().cursor() as cursor:
        cursor.execute(COMMONLY_USED, parameters)
        for persona, operation, *model, piece, class_, lines, requests, largest, sums in cursor.fetchall():
            buckets = dict(zip(COMMON, sums, strict=True))
            yield Work(persona, operation, Model(*model)), _Sum(piece, class_, lines, requests, largest, buckets)
        cursor.execute(OTHERWISE_USED, parameters)
        for persona, operation, *model, piece, class_, lines, requests, largest, bucket, sum_ in cursor.fetchall():
            yield Work(persona, operation, Model(*model)), _Sum(piece, class_, lines, requests, largest, {bucket: sum_})
