"""Several reads that must agree see one moment of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def one_snapshot(*, patient: bool = False) -> Iterator[None]:
    """All reads inside see one moment. In a transaction of the caller's, that one's isolation decides.

    `patient`: statements may take as long as they need, and so may whoever reads their answer, as a pipe that stalls;
    for commands, never where somebody waits for an answer.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if patient:
                cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL tcp_user_timeout = 0")
        yield
