"""Compare a period's lines with today's prices and write adjustments for what differs. A second run writes nothing.

manage.py reprice --from 2026-11-01 --to 2026-11-08
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from costs.models import ArchivedPartition
from costs.reprice import Outcome, reprice


def instant(text: str) -> datetime:
    """A date means its midnight in UTC; a time needs its offset."""
    try:
        if len(text) == len("2026-11-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither a date nor an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} needs an offset: write {text}Z for UTC")
    return moment


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", type=instant, required=True, help="first instant, a date or a time")
        parser.add_argument("--to", dest="end", type=instant, required=True, help="first instant after the period")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["end"] <= options["start"]:
            raise CommandError("--to must lie after --from.")
        outcome = reprice(
            options["start"], options["end"], at=now(), dry_run=options["dry_run"], progress=_shown_on_a_terminal
        )
        self.stdout.write(_sentence(outcome, dry_run=options["dry_run"]))
        if months := ArchivedPartition.objects.sentence(options["start"], options["end"]):
            self.stderr.write(
                f"Lines that were booked in {months} are archived and were not compared: restore_archive."
            )


def _shown_on_a_terminal(seen: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{seen:,} lines compared")


def _sentence(outcome: Outcome, *, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    return (
        f"{outcome.seen:,} lines compared: {outcome.corrected:,} {would}corrected, "
        f"{outcome.newly_priced:,} {would}priced for the first time, ${outcome.change.normalize():f} in all."
    )
