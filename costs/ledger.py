"""Write lines: COPY into the ledger, move the counters, tell those above. The caller owns the transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection
from django.db.transaction import TransactionManagementError

from costs import counters, metric_totals
from costs.booking import Line
from costs.counters import Addition
from costs.signals import lines_recorded

_JSON = frozenset({"cost_metadata", "quantities", "usage"})
_JSON_PLACES = tuple(place for place, name in enumerate(Line._fields) if name in _JSON)
_TIME_PLACE = Line._fields.index("timestamp")
_COPY = f"COPY cost_events ({', '.join(Line._fields)}, created_at) FROM STDIN"
# Numbers keep their digits: Decimals are written as JSON numbers, which jsonb stores as numeric.
_encoder = msgspec.json.Encoder(decimal_format="number")


def write(lines: Sequence[Line], *, at: datetime) -> None:
    """Book lines at `at`, the booking time. Must run inside a transaction; anything that raises undoes all of it."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("the ledger, its counters and what listens change together or not at all")
    if not lines:
        return
    booked_at, operations = at.isoformat(), counters.counted_operations(lines)
    # Django does not see a COPY fail by itself.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for line in lines:
            copy.write_row((*_row(line), booked_at))
        # While Postgres still takes the rows in.
        additions = counters.added_up(lines, operations)
    _count(lines, additions, at)


def count(lines: Sequence[Line], *, at: datetime) -> None:
    """Move all that is added up beside the ledger, by lines that this transaction has put there."""
    _count(lines, counters.added_up(lines, counters.counted_operations(lines)), at)


def _count(lines: Sequence[Line], additions: Sequence[Addition], at: datetime) -> None:
    with connection.wrap_database_errors, connection.connection.pipeline():
        counters.move(additions)
        metric_totals.note(lines)
    lines_recorded.send(sender=Line, lines=lines, at=at)


def _row(line: Line) -> list[Any]:
    row: list[Any] = list(line)
    # Half of what psycopg takes for a row went into its times.
    row[_TIME_PLACE] = _encoder.encode(line.timestamp)[1:-1].decode()
    for place in _JSON_PLACES:
        if row[place] is not None:
            row[place] = _encoder.encode(row[place]).decode()
    return row
