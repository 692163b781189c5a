"""Bring back what a file of `manage.py backup` holds and this database lacks. Safe to run again, and beside traffic.

manage.py restore lines.tar.gz
manage.py restore - < lines.tar.gz

Nothing that is here is changed. Counters, budgets and metrics move by every line that comes back; `verify_ledger`
proves it. A file is read to its end before anything of it is used; what comes on the standard input is proved 1,000
rows at a time, just before they are used.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from costs import backup
from costs.restore import Restored, restore

REASONS = {
    "waits": "wait here in the inbox or among the dead letters, and are booked from there",
    "other": "have another body here under the same event id, which stands",
    "orphan": "adjust charges that are not here, or were booked anew here at their own price",
    "archived": "belong to months that are archived here",
}


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("file", help="the file to read; - for the standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        restored, at = Restored(), now()
        try:
            _restore(options["file"], restored, at)
        except backup.Unreadable as error:
            if not any(restored.came.values()):
                raise CommandError(f"This was not restored: {error}.") from None
            self._tell(restored)
            raise CommandError(f"Only what is told above was read and restored: {error}.") from None
        self._tell(restored)
        self.stdout.write("Whatever else did not come back was here already. Prove it: manage.py verify_ledger")

    def _tell(self, restored: Restored) -> None:
        self.stdout.write(f"{'in the file':>12}  {'came back':>12}")
        for name, found in restored.found.items():
            self.stdout.write(f"{found:>12,}  {restored.came[name]:>12,}  {name.replace('_', ' ')}")
        for state, sentence in REASONS.items():
            if count := restored.left_out.get(state):
                self.stdout.write(f"{count:,} lines {sentence}.")
        for month in restored.differing:
            self.stdout.write(f"{month} is archived in the file; here it is part of the ledger, with other lines.")


def _restore(name: str, restored: Restored, at: datetime) -> None:
    if name == "-":
        with backup.opened(sys.stdin.buffer) as opened:
            return restore(opened, restored, at=at)
    path = Path(name)
    if not path.is_file():
        raise CommandError(f"There is no file {path}.")
    with path.open("rb") as stream:
        backup.prove(stream)
        stream.seek(0)
        with backup.opened(stream) as opened:
            return restore(opened, restored, at=at)
