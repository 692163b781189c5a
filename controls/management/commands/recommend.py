"""Show which persona's operations could use which cheaper model, and what that would have saved.

manage.py recommend [--persona NAME] [--days 30] [--by saved | return_per_dollar] [--json]
"""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from controls.recommendations import RANKS, SAVED, recommendations
from controls.switches import stored
from costs.periods import InvalidQuery
from costs.prices import current_book
from costs.rendering import encode

HEADER = ("who", "model", "calls", "cost", "could use", "would have cost", "saved", "")
NUMBERS = (2, 3, 5, 6, 7)
PLACES = 6


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--persona", help="only what this persona used")
        parser.add_argument("--days", type=int, default=30, help="how many full days to look at (30)")
        parser.add_argument("--by", choices=RANKS, default=SAVED, help="what to rank by (saved)")
        parser.add_argument("--json", action="store_true", help="as GET /controls/recommendations answers it")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        try:
            found = recommendations(
                at=at,
                prices=current_book(),
                lists=stored(at),
                days=options["days"],
                persona_id=options["persona"],
                rank_by=options["by"],
            )
        except InvalidQuery as error:
            raise CommandError(str(error)) from None
        self.stdout.write(encode(found).decode() if options["json"] else "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    period = f"{found['start_date']:%Y-%m-%d %H:%M} to {found['end_date']:%Y-%m-%d %H:%M} UTC"
    if not found["recommendations"]:
        yield f"No cheaper model would have served what was used from {period}."
        return
    yield f"US dollars, {period}: what the same calls would have cost."
    yield "* stands in the model switches. Whether a model is good enough is yours to judge."
    yield ""
    yield from _aligned([HEADER, *(row for each in found["recommendations"] for row in _rows(each))])
    yield ""
    yield f"In all, with the best of each: {_dollars(found['saved'])}."
    if found["omitted"]:
        yield f"{found['omitted']:,} more save less."


def _rows(each: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    who = f"{each['persona_id'] or '(none)'} / {each['operation'] or '(none)'}"
    model = f"{each['model']} ({each['service_tier']})" if each["service_tier"] else each["model"]
    first = (who, model, f"{each['calls']:,}", _dollars(each["cost"]))
    for option in each["options"]:
        listed = "*" if option["is_listed"] else ""
        gone = f" until {option['retires_on']}" if option["retires_on"] else ""
        target = f"{option['model']}{listed}{gone}"
        yield (*first, target, _dollars(option["cost"]), _dollars(option["saved"]), f"{option['saved_percent']} %")
        first = ("", "", "", "")


def _dollars(amount: Decimal) -> str:
    return f"{amount:,.{PLACES}f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns of text begin together, those of numbers end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        aligned = (
            cell.rjust(width) if place in NUMBERS else cell.ljust(width) for place, (cell, width) in enumerate(cells)
        )
        yield "  ".join(aligned).rstrip()
