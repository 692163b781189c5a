"""Prove that every period of every budget has spent what its ledger lines say. Exits 1 and names those that differ."""

from argparse import ArgumentParser
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from controls.models import Budget, BudgetPeriod
from controls.verify import Drift, calendars, drifts
from costs.templatetags.ledger import money, second


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--most", type=int, default=20, help="stop after so many differences")

    def handle(self, *args: Any, **options: Any) -> None:
        at = now()
        found = (drift for calendar in calendars() for drift in drifts(calendar, at=at))
        told = list(islice(found, options["most"]))
        for drift in told:
            self.stderr.write(_sentence(drift))
        if told:
            raise CommandError("The budgets differ from the ledger.")
        compared = f"{Budget.objects.count():,} budgets, {BudgetPeriod.objects.count():,} periods compared"
        self.stdout.write(f"{compared}: the budgets equal the ledger.")


def _sentence(drift: Drift) -> str:
    spent = "nothing" if drift.spent is None else money(drift.spent)
    which = f"budget {drift.budget_id} ({drift.name}), period from {second(drift.starts_at)} UTC"
    return f"{which}: spent {spent}, the lines say {money(drift.added_up)}"
