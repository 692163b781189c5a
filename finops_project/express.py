"""Decisions are answered before all others, and those never take all of a process's threads.

A decision takes Postgres half a millisecond; sessions, messages, CSRF and the counting of requests by django-prometheus
would take as long again, before every paid call. And while Postgres hangs, or bodies stall, a decision is still due
within a second: some threads stay free for it.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from controls.api_decisions import DecisionView
from costs.problems import RETRY_SECONDS, Problem

log = logging.getLogger(__name__)

PATH = "/controls/decision"
# Asks nobody, and whoever hears no answer restarts the process.
HEALTH = "/health"
# Of the 12 threads of a web process.
LANES = 8
# So long nobody came or went: then the lanes are stuck, and nobody waits for them.
STUCK_SECONDS = 0.3

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ExpressLane:
    """Middleware; stands behind the one that sends plain HTTP to HTTPS."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._decide = DecisionView.as_view()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_decision = request.path_info == PATH and request.method == "POST"
        return self._decide(request) if is_decision else self._get_response(request)


class Bulkhead:
    """Middleware; stands right behind the express lane, and lets at most LANES of all other requests in at once."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._lanes = Lanes(LANES)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == HEALTH:
            return self._get_response(request)
        if not self._lanes.enter():
            sentence = "Too much is under way here and does not get on: ask again in a moment."
            return Problem(503, sentence, headers={"Retry-After": str(RETRY_SECONDS)}).response()
        try:
            return self._get_response(request)
        finally:
            self._lanes.leave()


class Lanes:
    """So many may be in at once. The others wait for as long as somebody still comes out."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._moved_at = time.monotonic()
        self._is_stuck = False

    def enter(self) -> bool:
        """False, and at once from then on, when nobody came or went for STUCK_SECONDS."""
        is_in = self._free.acquire(blocking=False)
        while not is_in and (patience := self._moved_at + STUCK_SECONDS - time.monotonic()) > 0:
            is_in = self._free.acquire(timeout=patience)
        self._tell(is_stuck=not is_in)
        if is_in:
            self._moved_at = time.monotonic()
        return is_in

    def leave(self) -> None:
        self._moved_at = time.monotonic()
        self._free.release()

    def _tell(self, *, is_stuck: bool) -> None:
        """Once for all who are turned away."""
        if is_stuck and not self._is_stuck:
            log.warning("requests get stuck: others than decisions are turned away")
        self._is_stuck = is_stuck
