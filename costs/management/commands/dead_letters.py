"""List dead letters, or put them back into the inbox: `manage.py dead_letters [--replay ID … | --replay-all]`."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from costs.drain import replay
from costs.models import DeadLetter


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--replay", type=int, nargs="+", default=[], metavar="ID")
        parser.add_argument("--replay-all", action="store_true", help="all that are open")
        parser.add_argument("--most", type=int, default=50, help="how many to list")

    def handle(self, *args: Any, **options: Any) -> None:
        waiting = DeadLetter.objects.filter(replayed_at=None).order_by("pk")
        ids = list(waiting.values_list("pk", flat=True)) if options["replay_all"] else options["replay"]
        if ids:
            replayed = replay(ids, by=getpass.getuser(), at=now())
            self.stdout.write(f"{replayed:,} of {len(ids):,} dead letters go back into the inbox.")
            return
        for letter in waiting[: options["most"]]:
            self.stdout.write(f"{letter.pk}  {letter.created_at:%Y-%m-%d %H:%M:%S}  {letter.event_id}: {letter.reason}")
        self.stdout.write(f"{waiting.count():,} dead letters are open.")
