"""What workers do with their connections to Postgres beside Django and Celery."""

from typing import Any

from celery.signals import task_postrun
from django.db import connections

TELLING = "tell"


def _end(sender: Any = None, **_: Any) -> None:
    """Tellers wait for receivers of alerts, not for Postgres: between two messages none of them keeps a connection."""
    request = sender.request
    if not request.is_eager and (request.delivery_info or {}).get("routing_key") == TELLING:
        connections.close_all()


task_postrun.connect(_end)
