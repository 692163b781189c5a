"""Make an archived month part of the ledger again, with every line as it was.

manage.py restore_archive /mnt/archive/cost_events_y2025m01.parquet

While the month's own table still stands in the database, it comes back from there; else from the file, which is read
and compared with what was noted when the month left.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs import archive
from costs.archive import Unarchivable
from costs.models import ArchivedPartition

try:
    from costs import parquet
except ImportError:
    # Django shows a CommandError that comes this early with its whole traceback.
    raise SystemExit("This needs pyarrow: pip install --requirement requirements-archive.txt") from None


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            archived = _archived(path)
            rows = None if archived.dropped_at is None else parquet.rows_of(path)
            archive.attach(archived, rows)
        except Unarchivable as error:
            raise CommandError(f"Nothing was restored: {error}.") from None
        self.stdout.write(f"{archived}: {archived.lines:,} lines are part of the ledger again.")


def _archived(path: Path) -> ArchivedPartition:
    """The month of the file, if the file is the one that was written when the month left."""
    month = date.fromisoformat(f"{parquet.told_by(path).get('month')}-01")
    archived = ArchivedPartition.objects.filter(month=month).first()
    if archived is None:
        raise Unarchivable(f"{month:%Y-%m} is not archived in this database")
    file = parquet.prove(path, month)
    if (file.sha256, file.lines, file.total) != (archived.file_sha256, archived.lines, archived.total):
        raise Unarchivable(f"{path.name} is another file than the one with which {archived} left")
    later = ArchivedPartition.objects.filter(month__gt=month).order_by("-month").first()
    if later:
        raise Unarchivable(f"months come back from the newest on, and {later} is archived")
    return archived
