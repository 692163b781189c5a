"""The test stand: servers of this run alone, and the application's processes on them. All end with the run."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from tests import processes
from tests.servers import Server, postgres_server, redis_server, wait_until

FIRST_RUNS_SECONDS = 1_800


@contextmanager
def servers() -> Iterator[dict[str, Server]]:
    """PostgreSQL and Valkey with default durability; Django is set up on them, the database migrated."""
    with postgres_server() as postgres, redis_server() as redis:
        os.environ |= {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "FINOPS_ENV": "test",
            "FINOPS_ROLE": "command",
            "FINOPS_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "finops_project.settings",
        }
        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        yield {"postgres": postgres, "valkey": redis}


@contextmanager
def plain_worker(*options: str, count: int = 2, **extra: str) -> Iterator[None]:
    """The yardstick's worker; ready when it takes its first task."""
    command = [sys.executable, "-m", "celery", "--app", "bench.plain", "worker", "--concurrency", str(count), *options]
    settings = {"DJANGO_SETTINGS_MODULE": "bench.plain.settings"}
    with tempfile.TemporaryDirectory(prefix="finops-bench-") as folder:
        process = processes.AppProcess(command, "worker", Path(folder) / "plain.log", settings | extra)
        try:
            yield
        finally:
            process.close()


@contextmanager
def first_runs() -> Iterator[None]:
    """Around the start of beat: it begins with everything, as if it never ran before, and that is waited for.

    The proof of all counters reads the whole ledger, and is at most a hundredth of the time of any other hour.
    """
    # Models exist only after servers() has set Django up.
    from costs import metric_gauges, schedule
    from costs.models import MetricGauge, ScheduledRun

    ScheduledRun.objects.all().delete()
    MetricGauge.objects.filter(metric=metric_gauges.VERIFY_SECONDS).delete()
    yield

    def has_run_once() -> bool:
        return {entry.name for entry in schedule.entries() if entry.period} <= schedule.last_runs().keys()

    wait_until(has_run_once, FIRST_RUNS_SECONDS, lambda: "what beat does once an hour has not run yet")
