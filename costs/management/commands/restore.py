"""Bring back what a file of `manage.py backup` holds and this database lacks. Safe to run again, and beside traffic.

manage.py restore lines.tar.gz

Nothing that is here is changed. Counters, budgets and metrics move by every line that comes back; `verify_ledger`
proves it.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
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
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        path, at = options["file"], now()
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            restored: Restored = backup.read(path, lambda opened: restore(opened, at=at))
        except backup.Unreadable as error:
            raise CommandError(f"This was not restored: {error}.") from None
        self.stdout.write(f"{'in the file':>12}  {'came back':>12}")
        for name, found in restored.found.items():
            self.stdout.write(f"{found:>12,}  {restored.came[name]:>12,}  {name.replace('_', ' ')}")
        for state, sentence in REASONS.items():
            if count := restored.left_out.get(state):
                self.stdout.write(f"{count:,} lines {sentence}.")
        self.stdout.write("Whatever else did not come back was here already. Prove it: manage.py verify_ledger")
