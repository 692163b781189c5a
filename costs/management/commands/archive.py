"""Write closed months of the ledger to Parquet files, compare each file line by line, then take the month out.

manage.py archive --dry-run
manage.py archive --older-than 13 --output /mnt/archive
manage.py archive --older-than 13 --output /mnt/archive --drop

Totals, breakdowns of whole hours and what is known of posts stay as they are; the lines themselves are then in the
file. Without --drop the month's table stays in the database, apart from the ledger. With it the tables of all months
that were taken out are dropped, each after its file has been compared with it once more. Keep the files: they are the
only copy, and `restore_archive` brings a month back.

It needs pyarrow, which the service does not have: requirements-archive.txt.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from costs import archive
from costs.archive import FEWEST_MONTHS, File, Unarchivable
from costs.models import ArchivedPartition
from costs.snapshot import one_snapshot
from costs.templatetags.ledger import money

try:
    from costs import parquet
except ImportError:
    # Django shows a CommandError that comes this early with its whole traceback.
    raise SystemExit("This needs pyarrow: pip install --requirement requirements-archive.txt") from None


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--older-than", type=int, default=13, help="keep so many whole months (13)")
        parser.add_argument("--output", type=Path, default=Path("archive"), help="the folder of the files (archive)")
        parser.add_argument("--dry-run", action="store_true", help="say which months would go, and do nothing")
        parser.add_argument("--drop", action="store_true", help="also drop the tables of months that are in files")

    def handle(self, *args: Any, **options: Any) -> None:
        at, folder = now(), options["output"]
        if options["older_than"] < FEWEST_MONTHS:
            raise CommandError(f"--older-than: at least {FEWEST_MONTHS} months stay, since they are still worked with.")
        months = archive.closed_months(at, options["older_than"])
        if options["dry_run"]:
            return self._tell(months, options["drop"])
        folder.mkdir(parents=True, exist_ok=True)
        for month in months:
            self._archive(month, folder, at)
        if options["drop"]:
            for archived in ArchivedPartition.objects.filter(dropped_at=None):
                self._drop(archived, folder, at)
        elif not months:
            self.stdout.write("No month is old enough.")

    def _tell(self, months: list[date], is_dropping: bool) -> None:
        for month in months:
            try:
                archive.check(month)
            except Unarchivable as error:
                self.stdout.write(f"{month:%Y-%m} would stay, and all later ones: {error}.")
                return
            self.stdout.write(f"{month:%Y-%m} would be archived.")
        if is_dropping:
            for archived in ArchivedPartition.objects.filter(dropped_at=None):
                self.stdout.write(f"{archived} would be dropped.")
        if not months:
            self.stdout.write("No month is old enough.")

    def _archive(self, month: date, folder: Path, at: datetime) -> None:
        try:
            archive.check(month)
            file = _written(month, folder)
            archived = archive.detach(month, file, at=at)
        except Unarchivable as error:
            raise CommandError(f"{month:%Y-%m} stays: {error}.") from None
        self.stdout.write(
            f"{archived}: {archived.lines:,} lines, {money(archived.total) or '$0'}, in {folder / file.name}"
            f" ({file.size:,} bytes, sha256 {file.sha256})"
        )

    def _drop(self, archived: ArchivedPartition, folder: Path, at: datetime) -> None:
        try:
            file = _compared(archived.month, folder / archived.file)
        except Unarchivable as error:
            raise CommandError(f"The table of {archived} stays: {error}.") from None
        if file.sha256 != archived.file_sha256:
            raise CommandError(f"The table of {archived} stays: {file.name} is another file than the one it left with.")
        archive.drop(archived, at=at)
        self.stdout.write(f"{archived}: the table is dropped. Its only copy is {folder / archived.file}.")


def _written(month: date, folder: Path) -> File:
    with one_snapshot(patient=True):
        return parquet.compare(month, parquet.write(month, folder))


def _compared(month: date, path: Path) -> File:
    if not path.is_file():
        raise Unarchivable(f"there is no file {path}")
    with one_snapshot(patient=True):
        return parquet.compare(month, path)
