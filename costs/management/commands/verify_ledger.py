"""Prove that every counter equals the sum of its lines or outcomes. Exits 1 and names the keys when one does not."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.verify import Drift, verify


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--most", type=int, default=20, help="how many differences to show of each table")

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = verify(most=options["most"])
        self.stdout.write(
            f"{verdict.lines:,} lines, ${verdict.total.normalize():f}; {verdict.keys:,} counters compared"
        )
        if verdict.archived:
            self.stdout.write(
                f"{verdict.archived:,} of these lines are archived: the sums that were kept stand for them"
            )
        for drift in verdict.drifts:
            self.stderr.write(_sentence(drift))
        if verdict.drifts:
            raise CommandError("The counters differ from the ledger.")
        self.stdout.write("The counters equal the ledger.")


def _sentence(drift: Drift) -> str:
    rows = "outcomes" if "outcomes" in drift.sums else "lines"
    differences = [
        f"{name} {counted}, the {rows} say {added}"
        for name, counted, added in zip(drift.sums, drift.counted, drift.added_up, strict=True)
        if counted != added
    ]
    return f"{drift.table} {'/'.join(map(str, drift.key))}: {'; '.join(differences)}"
