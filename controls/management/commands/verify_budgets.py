"""Prove that every period of every budget has spent what its ledger lines say, and holds what its holds say.

Exits 1 and names the periods that differ.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from controls.models import Budget, BudgetPeriod, Hold
from controls.verify import Drift, HoldDrift, calendars, drifts, hold_drifts
from costs.templatetags.ledger import money, second


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--most", type=int, default=20, help="stop after so many differences")

    def handle(self, *args: Any, **options: Any) -> None:
        told = list(islice(_differences(now()), options["most"]))
        for sentence in told:
            self.stderr.write(sentence)
        if told:
            raise CommandError("The budgets differ from the ledger or from their holds.")
        compared = f"{Budget.objects.count():,} budgets, {BudgetPeriod.objects.count():,} periods compared"
        self.stdout.write(f"{compared}: the budgets equal the ledger.")
        counted = f"{Hold.objects.open().count():,} open and {Hold.objects.pending().count():,} pending holds"
        self.stdout.write(f"{counted}: the budgets reserve exactly these.")


def _differences(at: datetime) -> Iterator[str]:
    lines = (_of_lines(drift) for calendar in calendars() for drift in drifts(calendar, at=at))
    return chain(lines, map(_of_holds, hold_drifts()))


def _of_lines(drift: Drift) -> str:
    spent = "nothing" if drift.spent is None else money(drift.spent)
    return f"{_which(drift)}: spent {spent}, the lines say {money(drift.added_up)}"


def _of_holds(drift: HoldDrift) -> str:
    stored = f"holds {money(drift.held)} and {money(drift.pending)} pending"
    return f"{_which(drift)}: {stored}, the holds say {money(drift.open_holds)} and {money(drift.pending_holds)}"


def _which(drift: Drift | HoldDrift) -> str:
    return f"budget {drift.budget_id} ({drift.name}), period from {second(drift.starts_at)} UTC"
