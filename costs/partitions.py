"""The ledger's monthly partitions, made well before their month begins."""

from datetime import UTC, date, datetime

from django.db import connection

MONTHS_AHEAD = 3
_known: set[date] = set()


def ensure(at: datetime, *, ahead: int = MONTHS_AHEAD) -> None:
    """Make the partition of this booking time and of the months after it, unless they exist."""
    for month in _months(at, ahead):
        with connection.cursor() as cursor:
            cursor.execute("SELECT costs_add_partition(%s)", [month])


def ensure_once(at: datetime) -> None:
    """The same for a process that books all the time: it asks once a month. Beat may have been away that long."""
    month = _months(at, 0)[0]
    if month not in _known:
        ensure(at, ahead=0)
        _known.add(month)


def months_ahead(at: datetime) -> int:
    """How many whole months after this one can be booked already; -1 when even this one cannot."""
    found = 0
    with connection.cursor() as cursor:
        for month in _months(at, 24):
            cursor.execute("SELECT to_regclass(%s)", [f"cost_events_y{month:%Y}m{month:%m}"])
            if cursor.fetchone()[0] is None:
                break
            found += 1
    return found - 1


def _months(at: datetime, ahead: int) -> list[date]:
    first = at.astimezone(UTC).date().replace(day=1)
    places = (first.year * 12 + first.month - 1 + step for step in range(ahead + 1))
    return [date(place // 12, place % 12 + 1, 1) for place in places]
