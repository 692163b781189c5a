"""Rows of a backup inside a transaction that restores them."""

import re
from collections.abc import Iterable
from typing import Any

from django.db import connection

from costs.backup import Chunk, Unreadable

# One restore at a time: two would give the same adjustment twice.
LOCK = 2_400_030
# Between reading the sequence and moving it others take numbers from it, but never so many.
HEADROOM = 1_000_000
NAMES = re.compile(r"[a-z_]+(,[a-z_]+)*", re.ASCII)


def load(cursor: Any, chunks: Iterable[Chunk], types: str) -> None:
    """Put the rows into a table `chunk` that ends with the transaction; `types` are those of its columns.

    Raises Unreadable for what cannot be names of columns: they become part of a statement.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    cursor.execute(f"CREATE TEMP TABLE chunk ({types}) ON COMMIT DROP")
    for chunk in chunks:
        columns = chunk.header.decode(errors="replace").strip()
        if not NAMES.fullmatch(columns):
            raise Unreadable(f"its columns cannot be understood: {columns[:100]!r}")
        with (
            connection.wrap_database_errors,
            cursor.copy(f"COPY chunk ({columns}) FROM STDIN (FORMAT csv)") as copy,
        ):
            copy.write(chunk.records)


def reserve_ids(cursor: Any, most: int | None) -> None:
    """No line that is booked from now on gets an id up to `most`: such ones come back."""
    cursor.execute(
        "SELECT setval(sequence, %(most)s + %(headroom)s) FROM"
        " (SELECT pg_get_serial_sequence('cost_events', 'id') AS sequence) AS ids,"
        " pg_sequence_last_value(sequence::regclass) AS last WHERE COALESCE(last, 0) < %(most)s",
        {"most": most, "headroom": HEADROOM},
    )
