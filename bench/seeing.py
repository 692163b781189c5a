"""What the metrics cost: a scrape with a million posts behind it, and the recording of one operation."""

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from urllib.request import urlopen

from django.db import connection
from django.utils.timezone import now

from bench.rounds import quantile
from costs import metric_gauges
from costs.models import MetricGauge
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.metrics import operations
from tests import processes
from tests.servers import wait_until

SPECIFIED_SCRAPE_MS = 100.0
SPECIFIED_RECORD_US = 50.0
POSTS = 1_000_000
# 250 posts a minute are as many in three days.
SPAN = "3 days"
PAUSE_SECONDS = 0.2

FILL = f"""
INSERT INTO costs_postcost (post_id, persona_id, cost_type, amount, adjustments, events, unpriced, deviating, last_at)
SELECT 'seen-' || n, 'seen_' || n %% 50, 'openai_api', 0.01 + n %% 7 * 0.005, 0, 5, 0, 0,
       %(end)s - (1 - n / {POSTS}.0) * %(span)s::interval
FROM generate_series(1, {POSTS}) AS n;
INSERT INTO costs_dailycost (day, persona_id, provider, cost_type, model, operation,
                             amount, adjustments, events, unpriced, deviating)
SELECT %(end)s::date - d, 'seen_' || p, 'openai', 'openai_api', 'model-' || m, 'operation-' || o, 1.5, 0, 100, 0, 0
FROM generate_series(0, 29) d, generate_series(0, 49) p, generate_series(1, 12) m, generate_series(1, 10) o;
INSERT INTO costs_metricnote (moves)
SELECT jsonb_agg(jsonb_build_array('openai_api_costs_usd_total',
    jsonb_build_array('model-' || m, 'seen_' || p, 'operation-' || o), '45.5'))
FROM generate_series(0, 49) p, generate_series(1, 12) m, generate_series(1, 10) o;
"""
# What nobody booked must not stay: the ledger is verified by others.
EMPTY = """
DELETE FROM costs_postcost WHERE persona_id LIKE 'seen\\_%%';
DELETE FROM costs_dailycost WHERE persona_id LIKE 'seen\\_%%';
DELETE FROM costs_metrictotal WHERE labels[2] LIKE 'seen\\_%%' OR labels[1] LIKE 'model-%%';
"""


class Seeing:
    """Web, a worker and beat as `make up` starts them, counting into one folder; and a million posts of 50 personas."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        _run(FILL)
        port = free_port()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="finops-bench-")))
            shared = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "FINOPS_METRICS_PORT": "0"}
            stack.callback(_run, EMPTY)
            stack.enter_context(processes.web(2, **shared | {"FINOPS_METRICS_PORT": str(port)}))
            stack.enter_context(processes.worker(2, **shared))
            stack.enter_context(processes.beat(**shared))
            self._url = f"http://{LOOPBACK}:{port}/metrics"
            wait_until(lambda: b"cost_per_post_usd{" in self._scrape(), 60, lambda: "no gauges")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scrape_p95(self, count: int) -> float:
        """Milliseconds of a scrape, from the request to the last byte."""
        taken = []
        for _ in range(count):
            started = time.perf_counter()
            self._scrape()
            taken.append(time.perf_counter() - started)
            time.sleep(PAUSE_SECONDS)
        return quantile(taken, 0.95) * 1000

    def refresh(self, count: int) -> float:
        """Milliseconds that the task takes which reads the figures of posts and personas."""
        MetricGauge.objects.filter(metric=metric_gauges.TAKEN).delete()
        started = time.perf_counter()
        metric_gauges.refresh(now())
        return (time.perf_counter() - started) * 1000

    def _scrape(self) -> bytes:
        with urlopen(self._url, timeout=10) as response:  # noqa: S310
            return bytes(response.read())


def record(count: int) -> float:
    """Microseconds to record one operation."""
    started = time.perf_counter()
    for _ in range(count):
        operations.observe("bench", 0.0042)
    return (time.perf_counter() - started) / count * 1_000_000


def _run(statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements.split(";")[:-1]:
            cursor.execute(statement, {"end": now(), "span": SPAN})
        # As autovacuum does it, sooner or later.
        cursor.execute("SELECT brin_summarize_new_values('costs_postcost_touched')")
        cursor.execute("ANALYZE costs_postcost")
