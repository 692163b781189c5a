"""The Celery application: `celery -A finops_project worker | beat | flower`."""

import os
from typing import Any

from billiard import pool  # type: ignore[import-untyped]
from celery import Celery
from celery.app.task import Task
from celery.signals import task_prerun
from django.db import close_old_connections
from kombu.connection import Connection

from finops_project.task_arguments import DiscreetMessages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")
# Django's checks import every page and route, which a worker never serves; `migrate` and `check` make them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

RECONNECT_SECONDS = 1


class BrokerConnection(Connection):
    """Who consumes asks every second whether the broker is back; who publishes is told at once that it is away.

    By default the pauses of the one grow to half a minute until it gives up, and the other is blocked for 6 seconds.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        # Publishing reads this; `ensure_connection`, which consumers and beat call, does not.
        options["transport_options"] = {"max_retries": 0, **(options.get("transport_options") or {})}
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, callback: Any = None) -> Any:
        """Return once connected, however long that takes: `max_retries` is ignored."""
        pauses = {"interval_start": RECONNECT_SECONDS, "interval_step": 0, "interval_max": RECONNECT_SECONDS}
        return super().ensure_connection(errback, callback=callback, **pauses)  # type: ignore[no-untyped-call]


class Messaging(DiscreetMessages):
    Connection = BrokerConnection


app = Celery("finops_project", amqp=Messaging)
# By name: only workers need it.
Task.Request = "finops_project.task_arguments:DiscreetRequest"
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# What listens to Celery's signals, partly with models: workers and beat import it once Django is set up.
app.autodiscover_tasks(["finops_project"], related_name="task_lines")
app.autodiscover_tasks(["finops_project"], related_name="schedule")
app.autodiscover_tasks(["finops_project.metrics"], related_name="operations")
app.autodiscover_tasks(["finops_project.metrics"], related_name="processes")
# After all others: what listens to the same signal may still write.
app.autodiscover_tasks(["finops_project"], related_name="connections")

# CELERY_DB_REUSE_MAX keeps connections from task to task, also broken ones: an outage of Postgres would never end.
task_prerun.connect(close_old_connections)

# A child that is told to stop while its parent no longer reads results waits 30 seconds for it to read the last one.
# Nothing here depends on a result, and a deployment would take the wait for a hang: 2 seconds in steps of 0.1.
pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20
