"""What the engine is measured against: a stock Celery task, plain ORM writes, and the bare database."""

import json
import time
from typing import Any

import redis
from django.db import connection, transaction
from django.utils.timezone import now

from bench.clients import in_threads
from bench.plain.celery import BROKER_URL
from bench.plain.models import PlainCost
from bench.plain.tasks import do_nothing, record_cost
from bench.supply import Supply
from costs.booking import Line
from tests.servers import wait_until

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 120
_JSON = frozenset({"cost_metadata", "quantities", "usage"})
_COPY = f"COPY cost_events ({', '.join(Line._fields)}, created_at) FROM STDIN"


class Yardsticks:
    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    def stock_delay(self, count: int, *, threads: int) -> float:
        """`.delay()` of an empty task with the same arguments; nobody consumes it."""
        fields = self._supply.fields(count)
        seconds = in_threads(lambda item: do_nothing.delay(**item), fields, threads)
        with redis.Redis.from_url(BROKER_URL) as broker:
            broker.flushdb()
        return count / seconds

    def naive_celery_orm(self, count: int, *, queue: str) -> float:
        """One task for each event, until the last row is committed by the workers of that queue."""
        rows = [line._asdict() for line in self._supply.lines(count)]
        _empty_plain_table()
        started = time.perf_counter()
        for row in rows:
            record_cost.apply_async(kwargs=row, queue=queue)
        wait_until(
            lambda: PlainCost.objects.count() >= count,
            PATIENCE_SECONDS,
            lambda: f"The plain worker wrote only {PlainCost.objects.count()} of {count} rows.",
        )
        return count / (time.perf_counter() - started)

    def raw_copy(self, count: int) -> float:
        """One COPY of priced lines, encoded by Python, in one transaction."""
        lines, at = self._supply.lines(count), now()
        started = time.perf_counter()
        with transaction.atomic(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for line in lines:
                copy.write_row((*_row(line), at))
        return count / (time.perf_counter() - started)


def make_plain_table() -> None:
    if PlainCost._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(PlainCost)


def _empty_plain_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {PlainCost._meta.db_table}")


def _row(line: Line) -> list[Any]:
    return [
        json.dumps(value) if name in _JSON and value is not None else value
        for name, value in zip(Line._fields, line, strict=True)
    ]
