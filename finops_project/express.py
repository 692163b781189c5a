"""What is asked all the time goes past Django's handler, and all but decisions never take all of a process's threads.

A decision takes Postgres half a millisecond, an event or a post's summary less; Django's handler, sessions, messages,
CSRF and the counting of requests by django-prometheus would take longer. And while Postgres hangs, a decision is still
due within a second: some threads stay free for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from controls import postgres
from controls.api_decisions import DecisionView
from costs.api import EventsView, PostSummaryView
from costs.problems import RETRY_SECONDS, Problem, bad_request, server_error
from finops_project import access
from finops_project.metrics.operations import DECISION, EVENTS, SUMMARY, observe

log = logging.getLogger(__name__)

# Asks nobody, and whoever hears no answer restarts the process.
HEALTH = "/health"
# Whoever hears 503 sends the process no decisions either: so it never stands behind what the lanes are full of.
READY = "/ready"
# Around the post of a summary.
POST, OF_POST = "/costs/post/", "/summary"
# Of the 64 threads of a web process: so many serve what is no decision, so many of those wait for one that does, and
# the rest are always there for decisions.
LANES = 8
WAITING = 40
# Of /ready: while Postgres hangs, whoever asks over and over must not take all threads.
READY_LANES = 2
READY_WAITING = 2
# So long nobody came or went: then the lanes are stuck, whatever the reason.
STUCK_SECONDS = 5.0
LOOK_SECONDS = 0.2

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class Lanes:
    """So many may be in at once. Others wait, but not for a database that is away or for what does not move."""

    def __init__(self, count: int, waiting: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._places = threading.BoundedSemaphore(waiting)
        self._moved_at = time.monotonic()
        self._is_stuck = False

    def enter(self) -> bool:
        is_in = self._free.acquire(blocking=False) or self._wait()
        self._tell(is_stuck=not is_in)
        if is_in:
            self._moved_at = time.monotonic()
        return is_in

    def leave(self) -> None:
        self._moved_at = time.monotonic()
        self._free.release()

    def _wait(self) -> bool:
        if not self._places.acquire(blocking=False):
            return False
        try:
            is_in = False
            while not is_in and not self._is_hopeless():
                is_in = self._free.acquire(timeout=LOOK_SECONDS)
            return is_in
        finally:
            self._places.release()

    def _is_hopeless(self) -> bool:
        return postgres.away_since() is not None or time.monotonic() - self._moved_at > STUCK_SECONDS

    def _tell(self, *, is_stuck: bool) -> None:
        """Once for all who are turned away."""
        if is_stuck and not self._is_stuck:
            log.warning("too much is under way: others than decisions are turned away")
        self._is_stuck = is_stuck


# Of all but decisions, however they come.
SHARED = Lanes(LANES, WAITING)


class Way(NamedTuple):
    """Without lanes it never waits for a thread; what `is_quiet` gets a line only if it failed or took long.

    `route` is as in urls.py, for what is logged.
    """

    route: str
    view: Callable[..., HttpResponseBase]
    operation: str
    lanes: Lanes | None
    is_quiet: bool = False


class ExpressLane:
    """WSGI: answers what is asked for all the time itself, and hands everything else to the application."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self.ways = {
            ("POST", "/controls/decision"): Way(
                "controls/decision", DecisionView.as_view(), DECISION, None, is_quiet=True
            ),
            ("POST", "/costs/events"): Way("costs/events", EventsView.as_view(), EVENTS, SHARED),
        }
        self.summary = Way("costs/post/<path:post_id>/summary", PostSummaryView.as_view(), SUMMARY, SHARED)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        way = self.ways.get((method, path))
        if method == "GET" and _is_summary(path) and not _is_sent_to_https(environ):
            way = self.summary
        if way is None:
            return self._application(environ, start_response)
        started, request_id = time.perf_counter(), access.begin(environ.get("HTTP_X_REQUEST_ID"))
        request = WSGIRequest(environ)
        names = {"post_id": request.path_info[len(POST) : -len(OF_POST)]} if way is self.summary else {}
        response = _answer(way, request, names)
        seconds = time.perf_counter() - started
        observe(way.operation, seconds, is_error=response.status_code >= 500)
        if not way.is_quiet or access.is_worth_a_line(response.status_code, seconds):
            access.tell(method, way.route, response.status_code, seconds, **access.who(request), **names)
        headers = [*response.items(), (access.HEADER, request_id)]
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        return [response.content]


def _is_summary(path: str) -> bool:
    return path.startswith(POST) and path.endswith(OF_POST) and len(path) > len(POST) + len(OF_POST)


def _is_sent_to_https(environ: WSGIEnvironment) -> bool:
    # Django's request spells the path anew in what it is made of.
    return settings.SECURE_SSL_REDIRECT and not WSGIRequest({**environ}).is_secure()


def _answer(way: Way, request: HttpRequest, names: Mapping[str, str]) -> HttpResponse:
    if way.lanes is None:
        return _answer_of(way, request, names)
    if not way.lanes.enter():
        return _turned_away()
    try:
        return _looked_after(way, request, names)
    finally:
        way.lanes.leave()


def _looked_after(way: Way, request: HttpRequest, names: Mapping[str, str]) -> HttpResponse:
    """The host's name is checked and connections are looked after as Django's middleware and handler do it."""
    try:
        request.get_host()
        return _answer_of(way, request, names)
    except DisallowedHost as error:
        return bad_request(request, error)
    finally:
        close_old_connections()


def _answer_of(way: Way, request: HttpRequest, names: Mapping[str, str]) -> HttpResponse:
    try:
        return cast(HttpResponse, way.view(request, **names))
    except Exception:
        log.exception("%s failed", way.operation)
        return server_error(request)


def _turned_away() -> HttpResponse:
    sentence = "Too much is under way here and does not get on: ask again in a moment."
    return Problem(503, sentence, headers={"Retry-After": str(RETRY_SECONDS)}).response()


class Bulkhead:
    """Middleware; lets at most LANES of the requests that are no decisions in at once, and WAITING of them wait.

    `/ready` has lanes of its own, and `/health` needs none.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._lanes = SHARED
        self._ready = Lanes(READY_LANES, READY_WAITING)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == HEALTH:
            return self._get_response(request)
        lanes = self._ready if request.path_info == READY else self._lanes
        if not lanes.enter():
            return _turned_away()
        try:
            return self._get_response(request)
        finally:
            lanes.leave()
