"""The Celery application: `celery -A finops_project worker | beat | flower`."""

import os
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import task_prerun
from django.db import close_old_connections
from kombu import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")

RECONNECT_SECONDS = 1


class BrokerConnection(Connection):  # type: ignore[misc]  # kombu has no types
    """Who consumes asks every second whether the broker is back; who publishes is told at once that it is away.

    By default the pauses of the one grow to half a minute until it gives up, and the other is blocked for 6 seconds.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Publishing reads this; `ensure_connection`, which consumers and beat call, does not.
        self.transport_options = {"max_retries": 0, **self.transport_options}

    def ensure_connection(
        self,
        errback: Callable[..., object] | None = None,
        max_retries: int | None = None,
        callback: Callable[[], object] | None = None,
    ) -> Connection:
        """Return once connected, however long that takes: `max_retries` is ignored."""
        return super().ensure_connection(
            errback,
            callback=callback,
            interval_start=RECONNECT_SECONDS,
            interval_step=0,
            interval_max=RECONNECT_SECONDS,
        )


class Messaging(AMQP):  # type: ignore[misc]  # Celery has no types
    Connection = BrokerConnection


app = Celery("finops_project", amqp=Messaging)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# CELERY_DB_REUSE_MAX keeps connections from task to task, also broken ones: an outage of Postgres would never end.
task_prerun.connect(close_old_connections)
