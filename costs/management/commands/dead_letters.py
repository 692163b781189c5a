"""List dead letters, put them back into the inbox, or write them off.

`manage.py dead_letters [--replay ID … | --replay-all | --write-off ID … --because TEXT]`
"""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from costs.drain import replay, write_off
from costs.models import DeadLetter


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--replay", type=int, nargs="+", default=[], metavar="ID")
        parser.add_argument("--replay-all", action="store_true", help="all that are open")
        parser.add_argument(
            "--write-off", type=int, nargs="+", default=[], metavar="ID", help="what never can be booked"
        )
        parser.add_argument("--because", default="", help="why: it is kept with them")
        parser.add_argument("--most", type=int, default=50, help="how many to list")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["write_off"]:
            self._write_off(options["write_off"], options["because"].strip())
            return
        waiting = DeadLetter.objects.open().order_by("pk")
        ids = list(waiting.values_list("pk", flat=True)) if options["replay_all"] else options["replay"]
        if ids:
            replayed = replay(ids, by=getpass.getuser(), at=now())
            self.stdout.write(f"{replayed:,} of {len(ids):,} dead letters go back into the inbox.")
            return
        for letter in waiting[: options["most"]]:
            self.stdout.write(f"{letter.pk}  {letter.created_at:%Y-%m-%d %H:%M:%S}  {letter.event_id}: {letter.reason}")
        self.stdout.write(f"{waiting.count():,} dead letters are open.")

    def _write_off(self, ids: list[int], because: str) -> None:
        if not because:
            raise CommandError("Say why with --because: it is kept with them.")
        written_off = write_off(ids, by=getpass.getuser(), because=because, at=now())
        self.stdout.write(f"{written_off:,} of {len(ids):,} dead letters are written off.")
