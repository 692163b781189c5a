"""The tasks of a first attempt."""

from typing import Any

from bench.plain.celery import app
from bench.plain.models import PlainCost


@app.task
def record_cost(**fields: Any) -> None:
    PlainCost.objects.create(**fields)


@app.task
def do_nothing(**fields: Any) -> None:
    """What `.delay()` alone costs."""
