"""Show what the next 30 days will cost, with a range and how far off such forecasts were, and what still fits.

manage.py forecast [--group-by persona_id | model | cost_type] [--persona NAME] [--json]
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from anomalies.capacity import capacity
from anomalies.outlook import GROUPS, outlook
from costs.periods import InvalidQuery
from costs.rendering import encode

NUMBERS = (1, 2, 3, 4, 6, 7)
HEADER = ("", "last 30 days", "today", "next 30 days", "range", "method", "off by", "held")
# From this many dollars on nobody wants to see less than a cent.
DEAR = Decimal(10)
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--group-by", choices=GROUPS)
        parser.add_argument("--persona", help="only the costs of this persona")
        parser.add_argument("--json", action="store_true", help="everything, day by day, as GET /forecast answers it")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        try:
            found = outlook(at=at, group_by=options["group_by"], persona_id=options["persona"])
        except InvalidQuery as error:
            raise CommandError(str(error)) from None
        room = capacity(at)
        if options["json"]:
            self.stdout.write(encode({**found, "capacity": room}).decode())
            return
        self.stdout.write("\n".join([*_costs(found), "", *_capacity(room)]))


def _costs(found: dict[str, Any]) -> list[str]:
    series = [(_named(each["key"]), each) for each in found["series"]]
    whole = [("all", found["total"]), *series]
    places = 2 if all((told["expected"] or 0) >= DEAR for _, told in whole) else 6
    left_out = found["omitted_series"]
    return [
        f"US dollars, {_day(found['start_date'])} to {_day(found['end_date'])}; 8 of 10 outcomes lie in the range.",
        "Off by: how far sums of 7 days were off in a back-test; held: how often the range held in it (80 % is right).",
        "",
        *_aligned([HEADER, *(_row(name, told, places) for name, told in whole)], NUMBERS),
        *(f"{name}: {told['reason']}" for name, told in whole if told["reason"]),
        *(_unpriced(name, told) for name, told in whole if told["history"]["unpriced_events"]),
        *([f"{left_out:,} more, of lower cost, are only in the sum of all."] if left_out else []),
    ]


def _row(name: str, told: dict[str, Any], places: int) -> tuple[str, ...]:
    spent = _dollars(told["history"]["spent_last_30_days"], places)
    if told["method"] is None:
        return name, spent, _dollars(told["today"]["spent"], places), "-", "-", "no forecast", "-", "-"
    errors = told["backtest"]
    return (
        name,
        spent,
        _dollars(told["today"]["expected"], places),
        _dollars(told["expected"], places),
        f"{_dollars(told['low'], places)} to {_dollars(told['high'], places)}",
        told["method"].replace("_", " "),
        _percent(errors and errors["sum_error"]),
        _percent(errors and errors["sums_held"]),
    )


def _capacity(room: dict[str, Any]) -> list[str]:
    rates, ledger, disk, drain = room["events_per_second"], room["ledger"], room["disk"], room["drain"]
    per_event = "" if ledger["bytes_per_event"] is None else f", {ledger['bytes_per_event']:,} bytes each"
    return _aligned(
        [
            ("Events per second", f"{rates['last_hour']:,} in the last hour, {rates['peak_hour_of_7_days']:,} at most"),
            ("Events per day", f"{room['events_per_day']:,}, {_growth(room['growth_per_week_percent'])}"),
            ("Drain rate", f"{drain['events_per_second']:,} a second, reached {_when(drain['reached_on'], drain)}"),
            ("Ledger", f"{ledger['events']:,} events, {_size(ledger['bytes'])}{per_event}"),
            ("It grows by", f"{_size(ledger['growth_bytes_per_day'])} a day"),
            ("Partitions", f"until {_day(room['partitions']['last_until'])}; beat adds one each month"),
            ("Disk", f"{_size(disk['database_bytes'])} used, full {_when(disk['full_on'], disk)}"),
        ]
    )


def _aligned(rows: Sequence[tuple[str, ...]], numbers: Sequence[int] = ()) -> list[str]:
    """Columns of text begin together, those of numbers end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return [line.rstrip() for line in lines]


def _named(key: dict[str, str | None]) -> str:
    (name,) = key.values()
    return name or "(none)"


def _dollars(amount: Decimal, places: int) -> str:
    return f"{amount:,.{places}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _growth(percent: float | None) -> str:
    return "no trend yet" if percent is None else f"{percent:+.1f} % a week"


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    size, unit = float(count), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:,.1f} {UNITS[unit]}" if unit else f"{count} bytes"


def _when(day: str | None, told: dict[str, Any]) -> str:
    return f"on {_day(day)}" if day else f"on no known day: {told['reason']}"


def _unpriced(name: str, told: dict[str, Any]) -> str:
    return f"{name}: {told['history']['unpriced_events']:,} events have no price yet and are not in it."


def _day(text: str) -> str:
    return f"{date.fromisoformat(text):%-d %b %Y}"
