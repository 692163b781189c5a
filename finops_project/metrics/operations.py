"""How long each operation takes and how often it fails: an operation is a route of HTTP or a task.

Measured here, around requests and tasks, so that the code of the applications holds nothing of it.
"""

import time
from collections.abc import Callable
from typing import Any

from celery.signals import task_failure, task_postrun, task_prerun
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import PrometheusAfterMiddleware
from prometheus_client import Counter, Histogram

# Each of them is a series of each operation. They stand where something is promised.
BUCKETS_MS = (5, 10, 25, 100, 250, 1_000, 10_000)
LATENCY = Histogram(
    "finops_operation_latency_ms", "Milliseconds that an operation took.", ["operation"], buckets=BUCKETS_MS
)
ERRORS = Counter("finops_operation_errors_total", "Operations that failed by our own fault.", ["operation"])
# The names of their routes.
DECISION, EVENTS, SUMMARY = "decision", "events", "post-summary"
ADMIN, API, UNKNOWN = "admin", "api", "unknown"
# Asked all the time by machines, and no work, like the files of pages: they would hide what takes long.
UNMEASURED = frozenset({"/health", "/ready", "/metrics"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def observe(operation: str, seconds: float, *, is_error: bool = False) -> None:
    LATENCY.labels(operation).observe(seconds * 1000)
    if is_error:
        ERRORS.labels(operation).inc()


class Measured:
    """Middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self._get_response(request)
        if request.path_info not in UNMEASURED and not request.path_info.startswith(settings.STATIC_URL):
            is_error = response.status_code >= 500
            observe(_operation(request), time.perf_counter() - started, is_error=is_error)
        return response


class Framework(PrometheusAfterMiddleware):  # type: ignore[misc]  # it has no types
    """What django-prometheus tells, for all pages together and for the API together.

    By the name of every view it would take forty series for each; LATENCY tells of each route.
    """

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: Any) -> Any:
        if "view" in labels:
            labels["view"] = ADMIN if _operation(request) == ADMIN else API
        return super().label_metric(metric, request, response, **labels)


def _operation(request: HttpRequest) -> str:
    """A name out of few: the route's, never the path's. All pages of the admin are one."""
    match = request.resolver_match
    if match is None:
        return UNKNOWN
    return ADMIN if ADMIN in match.namespaces else match.url_name or UNKNOWN


_began: dict[str, float] = {}


def _begin(task_id: str = "", **_: Any) -> None:
    _began[task_id] = time.perf_counter()


def _end(sender: Any = None, task_id: str = "", **_: Any) -> None:
    started = _began.pop(task_id, None)
    if started is not None:
        LATENCY.labels(_task(sender)).observe((time.perf_counter() - started) * 1000)


def _fail(sender: Any = None, **_: Any) -> None:
    ERRORS.labels(_task(sender)).inc()


def _task(sender: Any) -> str:
    """task:anomalies.sweep for anomalies.tasks.sweep: two applications have a sweep."""
    return f"task:{sender.name.replace('.tasks.', '.')}"


task_prerun.connect(_begin)
task_postrun.connect(_end)
task_failure.connect(_fail)
