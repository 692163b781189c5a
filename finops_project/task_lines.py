"""One line for each task that ran, and its id and name in every line that is logged meanwhile.

What beat has done by the clock, every second some of it, is told by the admin's Schedule page; it gets a line only
when it fails. Celery itself tells of failures, with the traceback.
"""

import inspect
import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import structlog
from celery.signals import setup_logging, task_postrun, task_prerun
from django.conf import settings

from finops_project.logs import IDS

log = logging.getLogger(__name__)

LONGEST_ID = 255

_started: dict[str, float] = {}


def _keep_what_django_set_up(**_: Any) -> None:
    """Celery would add handlers and formats of its own; that somebody listens keeps it from it."""


def _begin(
    sender: Any = None, task_id: str = "", args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **_: Any
) -> None:
    _started[task_id] = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    ids = {**dict(zip(_parameters(sender), args, strict=False)), **(kwargs or {})}
    told = {name: str(value) for name, value in ids.items() if name in IDS and value and _is_id(value)}
    structlog.contextvars.bind_contextvars(**told | {"task_id": task_id, "task": sender.name})


def _end(sender: Any = None, task_id: str = "", state: str | None = None, **_: Any) -> None:
    seconds = time.perf_counter() - _started.pop(task_id, time.perf_counter())
    if state == "SUCCESS":
        level = logging.DEBUG if sender.name in _scheduled() else logging.INFO
        log.log(level, "task succeeded", extra={"ms": round(seconds * 1000, 1)})
    structlog.contextvars.clear_contextvars()


def _is_id(value: Any) -> bool:
    """A message that was sent by name may hold anything under the name of an id."""
    return isinstance(value, str | int) and len(str(value)) <= LONGEST_ID


@cache
def _parameters(task: Any) -> list[str]:
    return list(inspect.signature(task.run).parameters)


@cache
def _scheduled() -> frozenset[str]:
    return frozenset(entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values())


# Called and not used as decorators: Celery has no types.
setup_logging.connect(_keep_what_django_set_up)
task_prerun.connect(_begin)
task_postrun.connect(_end)
