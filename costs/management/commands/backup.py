"""Write the ledger's lines since some time, their price sheets and keys, what waits, and outcomes into one file.

manage.py backup --since 1d --output lines.tar.gz
manage.py backup --output everything.tar.gz
manage.py backup --since 1d --output - > lines.tar.gz

It begins an hour before --since: what is being booked during one backup has the time at which that began, and must be
in the next one. What comes twice is restored once.

Of archived months it holds the sums and the keys; their lines are in the files of their archives. What is not in it:
users, API keys, prices, budgets, settings of alerts. For those dump the whole database.
"""

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.utils.timezone import now

from costs import backup
from costs.management.commands.reprice import instant

# Longer than any transaction that books; a run of `reprice` may take longer, which the documents say.
OVERLAP = timedelta(hours=1)
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str) -> timedelta | datetime:
    """1d, 12h: so long ago; or a date or time as `reprice` takes it."""
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if found:
        return timedelta(**{UNITS[found[2]]: int(found[1])})
    try:
        return instant(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, nor a duration such as 1d or 12h") from None


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--since", type=since, help="1d, 12h, a date or a time of booking; without it: everything")
        parser.add_argument("--output", required=True, help="the file to write; - for the standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        since = _start(options["since"], at)
        if options["output"] == "-":
            self._tell(self.stderr, backup.write(sys.stdout.buffer, since=since, at=at))
            return
        path = Path(options["output"])
        if not path.parent.is_dir():
            raise CommandError(f"There is no folder {path.parent}.")
        with backup.appearing(path) as file:
            rows = backup.write(file, since=since, at=at)
        self._tell(self.stdout, rows)
        self.stdout.write(f"Written to {path}, {path.stat().st_size:,} bytes.")

    def _tell(self, out: OutputWrapper, rows: dict[str, int]) -> None:
        for name, count in rows.items():
            out.write(f"{count:>12,}  {name.replace('_', ' ')}", str)


def _start(since: timedelta | datetime | None, at: datetime) -> datetime:
    if since is None:
        return backup.EVER
    return (at - since if isinstance(since, timedelta) else since) - OVERLAP
