"""Import usage from a file: CSV or JSON lines, packed or not, as old as it may be, as often as one likes.

    manage.py import_usage usage.csv.gz --map timestamp=time_unix --time-format unix \\
        --map usage.input_tokens=prompt_tokens --map usage.output_tokens=completion_tokens --set cost_type=openai_api

Lines without an event_id get one from the content of the whole file and the line's number: a second run, or one after
a crash, adds only what is missing; a file that has grown meanwhile is another file.
"""

import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.utils.timezone import now

from costs import ingest, usage_import
from costs.events import InvalidEvent, check_window, parse
from costs.usage_import import Body, UnusableFile

BATCH = 1000
SHOWN = 20
BAR_WIDTH = 30
LINE_EVERY_SECONDS = 5.0
BAR_EVERY_SECONDS = 0.1


class Progress:
    """A bar on a terminal, a line every few seconds elsewhere; measured by the bytes read of the file as it lies."""

    def __init__(self, stream: TextIO, label: str, total: int) -> None:
        self._stream, self._label, self._total = stream, label, max(total, 1)
        self._is_terminal = stream.isatty()
        self._started = self._written = time.monotonic()

    def show(self, position: int, lines: int) -> None:
        moment = time.monotonic()
        if moment - self._written >= (BAR_EVERY_SECONDS if self._is_terminal else LINE_EVERY_SECONDS):
            self._write(position, lines, moment)

    def finish(self, lines: int) -> None:
        if self._is_terminal:
            self._write(self._total, lines, time.monotonic())
            self._stream.write("\n")

    def _write(self, position: int, lines: int, moment: float) -> None:
        self._written = moment
        share = min(position / self._total, 1.0)
        bar = "#" * round(share * BAR_WIDTH)
        rate = lines / max(moment - self._started, 0.001)
        text = f"{self._label} [{bar:<{BAR_WIDTH}}] {share:4.0%}  {lines:,} lines  {rate:,.0f}/s"
        self._stream.write(f"\r{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()


class Tally:
    """What became of the lines: a count of each status, and the first few that were refused."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: list[str] = []

    def add(self, line: int, status: str, detail: str = "") -> None:
        self.counts[status] += 1
        if status in ("rejected", "conflict") and len(self.shown) < SHOWN:
            self.shown.append(f"line {line}: {detail}")

    @property
    def lines(self) -> int:
        return self.counts.total()

    @property
    def refused(self) -> int:
        return self.counts["rejected"] + self.counts["conflict"]


class Command(BaseCommand):
    help = "Import usage events from a CSV or JSON lines file (.csv, .jsonl, .ndjson, each also .gz)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--map", action="append", default=[], metavar="FIELD=COLUMN", help="usage.input_tokens=prompt_tokens"
        )
        parser.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", help="the same for every line: cost_type=cdn"
        )
        parser.add_argument("--source", default="default", help="the namespace of the event ids")
        parser.add_argument("--time-format", choices=["rfc3339", "unix", "unix_ms"], default="rfc3339")
        parser.add_argument("--dry-run", action="store_true", help="check every line, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        tally = Tally()
        try:
            self._import(path, options, tally)
        except UnusableFile as error:
            raise CommandError(str(error)) from None
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The database went away after {tally.lines:,} lines: {error}\n"
                "Run the same command again: what was accepted is not counted twice."
            ) from None
        self._report(path, tally, dry_run=options["dry_run"])

    def _import(self, path: Path, options: dict[str, Any], tally: Tally) -> None:
        kind = usage_import.format_of(path)
        stem = usage_import.fingerprint(path)
        header = _header(path) if kind == "csv" else []
        plan = usage_import.plan(
            kind=kind,
            header=header,
            mapped=options["map"],
            constants=options["set"],
            stem=stem,
            time_format=options["time_format"],
        )
        if unused := [name for name in header if name not in plan.columns.values()]:
            self.stderr.write(f"Columns left out: {', '.join(unused)}")
        if not plan.names_events:
            self.stderr.write(
                "No event_id: lines are known by the content of the whole file; a changed file is a new one."
            )
        at = now()
        with path.open("rb") as stream:
            content = usage_import.unpacked(stream, path)
            bodies = _shown(plan.bodies(usage_import.records(content, kind)), stream, path)
            for batch in _batches(bodies):
                if options["dry_run"]:
                    _check(batch, at, tally)
                else:
                    _accept(batch, options["source"], at, tally)

    def _report(self, path: Path, tally: Tally, *, dry_run: bool) -> None:
        for line in tally.shown:
            self.stderr.write(line)
        if tally.refused > len(tally.shown):
            self.stderr.write(f"and {tally.refused - len(tally.shown):,} more")
        said = {"accepted": "would be accepted", "rejected": "would be rejected"} if dry_run else {}
        counts = ", ".join(f"{count:,} {said.get(status, status)}" for status, count in sorted(tally.counts.items()))
        self.stdout.write(f"{path.name}: {counts or 'no lines'}")
        if tally.refused:
            raise CommandError(f"{tally.refused:,} of {tally.lines:,} lines were not taken.")


def _header(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return usage_import.columns(usage_import.unpacked(stream, path))


def _shown(bodies: Iterable[Body], stream: BinaryIO, path: Path) -> Iterator[Body]:
    progress = Progress(sys.stderr, path.name, path.stat().st_size)
    lines = 0
    for lines, body in enumerate(bodies, start=1):
        yield body
        progress.show(stream.tell(), lines)
    progress.finish(lines)


def _batches(bodies: Iterator[Body]) -> Iterator[list[Body]]:
    while batch := list(islice(bodies, BATCH)):
        yield batch


def _check(batch: Sequence[Body], at: datetime, tally: Tally) -> None:
    for body in batch:
        try:
            if not body.error:
                check_window(parse(body.content), at, None)
        except InvalidEvent as error:
            tally.add(body.line, "rejected", str(error))
        else:
            tally.add(body.line, "rejected" if body.error else "accepted", body.error)


def _accept(batch: Sequence[Body], source: str, at: datetime, tally: Tally) -> None:
    usable = [body for body in batch if not body.error]
    receipts = iter(ingest.accept([body.content for body in usable], source=source, at=at, oldest=None))
    for body in batch:
        if body.error:
            tally.add(body.line, "rejected", body.error)
        else:
            receipt = next(receipts)
            tally.add(body.line, receipt.status, receipt.detail)
