"""Decisions are answered before the middleware that only people's pages and cookies need.

A decision takes Postgres half a millisecond; sessions, messages, CSRF and the counting of requests by django-prometheus
would take as long again, before every paid call.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from controls.api_decisions import DecisionView

PATH = "/controls/decision"


class ExpressLane:
    """Middleware; stands behind the one that sends plain HTTP to HTTPS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._decide = DecisionView.as_view()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_decision = request.path_info == PATH and request.method == "POST"
        return self._decide(request) if is_decision else self._get_response(request)
