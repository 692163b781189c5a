"""Show what an operator needs when something is slow, full or stuck; first what looks wrong, in sentences.

manage.py diagnose
manage.py diagnose --post post_001
manage.py diagnose --json
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from costs import diagnosis
from costs.diagnosis import Diagnosis, Section
from costs.rendering import encode

TITLES = {"waiting": "Inbox, dead letters, prices", "post": "How a post is read"}


class Command(BaseCommand):
    help = __doc__
    # It is asked when something is broken.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--post", help="the post whose read is explained; the newest when absent")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        found = diagnosis.read(at, post_id=options["post"])
        if options["json"]:
            tables = {section.name: section.as_dicts for section in found.sections}
            self.stdout.write(encode({"at": at, "wrong": found.wrong, **tables}).decode())
        else:
            self.stdout.write("\n".join(_lines(found)))


def _lines(found: Diagnosis) -> Iterator[str]:
    yield found.summary
    yield from (f"- {sentence}" for sentence in found.wrong)
    for section in found.sections:
        yield ""
        yield TITLES.get(section.name, section.name.replace("_", " ").capitalize())
        if section.note:
            yield f"  {section.note}"
        yield from _table(section)


def _table(section: Section) -> Iterator[str]:
    if not section.rows:
        return
    header = () if len(section.columns) == 1 else (tuple(name.replace("_", " ") for name in section.columns),)
    cells = [*header, *(tuple(map(_shown, row)) for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [_is_number(column) for column in zip(*section.rows, strict=True)]
    for row in cells:
        aligned = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        )
        yield f"  {'  '.join(aligned)}".rstrip()


def _is_number(values: Sequence[Any]) -> bool:
    return any(isinstance(value, int | float | Decimal) for value in values)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float | Decimal) else str(value)
