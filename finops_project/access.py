"""One line for each request that is answered: what was asked for, by whom, and what came of it.

Every request has an id: the caller's X-Request-ID if it looks like one, else a new one. It stands in every line that is
logged meanwhile, and in the answer. Whoever watches the service asks all the time, and decisions are asked for a
thousand times a second: their answers get a line only when they failed or took long.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from finops_project.logs import IDS

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[\w.:=+/@-]{1,100}", re.ASCII)
WATCHED = ("/health", "/ready", "/metrics")
SLOW_SECONDS = 0.5
GetResponse = Callable[[HttpRequest], HttpResponseBase]


def begin(sent: str | None) -> str:
    """The id of a request that sent this one; from here on it stands in all lines of this thread."""
    request_id = sent if sent and WELL_FORMED.fullmatch(sent) else secrets.token_hex(16)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def tell(method: str | None, route: str, status: int, seconds: float, **more: Any) -> None:
    level = logging.ERROR if status >= 500 and status != 503 else logging.WARNING if status == 503 else logging.INFO
    told = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
    log.log(level, "request", extra=told | more)


def is_worth_a_line(status: int, seconds: float) -> bool:
    """Of those that are asked for all the time."""
    return status >= 500 or seconds > SLOW_SECONDS


class AccessLog:
    """Middleware; the first of all, since it also tells whom the others turned away."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = begin(request.META.get("HTTP_X_REQUEST_ID"))
        response = self._get_response(request)
        response.headers[HEADER] = request_id
        seconds = time.perf_counter() - started
        is_watched = request.path_info in WATCHED or request.path_info.startswith(settings.STATIC_URL)
        if not is_watched or is_worth_a_line(response.status_code, seconds):
            tell(request.method, _route(request), response.status_code, seconds, **who(request), **_ids(request))
        return response


def _route(request: HttpRequest) -> str:
    """The pattern and not the path: what a caller puts there is told by ids, or not at all."""
    match = request.resolver_match
    return match.route if match else ""


def who(request: HttpRequest) -> dict[str, str]:
    """The API key's name and source, or the person of the admin; what nobody asked for is not looked up."""
    key, person = getattr(request, "auth", None), getattr(request, "_cached_user", None)
    if key is not None:
        return {"key": str(key), "source": key.source}
    return {"user": person.get_username()} if person is not None and person.is_authenticated else {}


def _ids(request: HttpRequest) -> dict[str, str]:
    match = request.resolver_match
    return {name: str(value) for name, value in match.kwargs.items() if name in IDS} if match else {}
