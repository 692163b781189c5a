"""Show where the time or the memory of tracking and deciding goes, in this process, without writing anything.

manage.py profile --cpu
manage.py profile --memory --calls 5000

It runs what a drain does with an event (read, count, price, make the line) and what a decision does before it reserves
(prices, cheaper models, estimates, what the budgets have left). Nothing is booked or reserved: the ledger is
append-only, and a trial run would stay in it for ever. Memory that is still held after the last call, beyond what the
first calls filled caches with, is what a leak looks like.
"""

import cProfile
import gc
import io
import pstats
import time
import tracemalloc
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils.timezone import now

from controls import switches
from controls.estimates import Call, estimates
from costs import booking
from costs.events import Event, completed, encode, parse
from costs.prices import current_book

WARM_UP = 100
MEGABYTE = 1024 * 1024
SOURCE = "profile"
USAGE = {"input_tokens": 1200, "cache_read_tokens": 200, "output_tokens": 350}
LEFT = "SELECT budget_id, remaining FROM controls_left_of(%s, %s, %s, %s, %s, %s)"


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--cpu", action="store_true", help="the functions that take most of the time")
        which.add_argument("--memory", action="store_true", help="what is allocated, and what stays")
        parser.add_argument("--calls", type=int, default=1000, help="how many calls (1000)")
        parser.add_argument("--most", type=int, default=20, help="how many rows to show (20)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["calls"] < 1 or options["most"] < 1:
            raise CommandError("--calls and --most must be at least 1.")
        at = now()
        # What the first calls read and cache belongs to no call.
        _run(WARM_UP, at)
        shown = _of_memory if options["memory"] else _of_time
        self.stdout.write(shown(lambda: _run(options["calls"], at), options["calls"], options["most"]))


def _run(calls: int, at: datetime) -> None:
    for number in range(calls):
        _track(number, at)
        _decide(at)


def _track(number: int, at: datetime) -> None:
    body = encode(
        {
            "event_id": f"{SOURCE}-{number}",
            "cost_type": "openai_api",
            "provider": "openai",
            "model": "gpt-4o",
            "usage": USAGE,
            "post_id": SOURCE,
            "persona_id": SOURCE,
            "operation": SOURCE,
        }
    )
    event: Event = completed(parse(body), at)
    booking.book([event], source=SOURCE, prices=current_book())


def _decide(at: datetime) -> None:
    call = Call("gpt-4o", input_tokens=1200, output_tokens=350, persona_id=SOURCE, operation=SOURCE)
    asked, *_ = estimates(call, at=at, prices=current_book(), lists=switches.read())
    with connection.cursor() as cursor:
        cursor.execute(LEFT, [call.persona_id, asked.model, asked.listed, asked.cost_type, asked.sold, at])
        cursor.fetchall()


def _of_time(run: Callable[[], None], calls: int, most: int) -> str:
    profile, started = cProfile.Profile(), time.perf_counter()
    profile.runcall(run)
    seconds, table = time.perf_counter() - started, io.StringIO()
    pstats.Stats(profile, stream=table).strip_dirs().sort_stats("tottime").print_stats(most)
    return (
        f"{calls:,} events made into lines and {calls:,} decisions read: {1000 * seconds / calls:.2f} ms for both,"
        f" under the profiler, which about doubles it.\n{table.getvalue().rstrip()}"
    )


def _of_memory(run: Callable[[], None], calls: int, most: int) -> str:
    gc.collect()
    tracemalloc.start(10)
    try:
        before = tracemalloc.take_snapshot()
        run()
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    finally:
        tracemalloc.stop()
    rows = "\n".join(f"{each.size_diff / 1024:>12,.1f} kB  {each.traceback}" for each in grown[:most])
    return (
        f"{calls:,} events made into lines and {calls:,} decisions read.\n"
        f"Peak: {peak / MEGABYTE:.1f} MB. Still held: {held / MEGABYTE:.2f} MB, {held / calls:,.0f} bytes a call.\n"
        f"Objects that nobody can free: {len(gc.garbage):,}.\n"
        f"What grew most, by the line that allocated it:\n{rows}"
    )
