"""Errors as RFC 9457 problem details: one shape for everything that goes wrong over HTTP, and never a traceback."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.views import csrf, defaults
from rest_framework import exceptions

from costs.archived import Archived
from costs.periods import InvalidQuery
from costs.rendering import encode

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 1
QUERY_CANCELED = "57014"


@dataclass
class Problem(Exception):
    """What the caller did wrong or must wait for. `errors` are (path, sentence) pairs."""

    status: int
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> HttpResponse:
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = [{"path": path, "detail": sentence} for path, sentence in self.errors]
        return HttpResponse(encode(content), status=self.status, content_type=CONTENT_TYPE, headers=dict(self.headers))


def invalid(path: str, sentence: str) -> Problem:
    return Problem(422, f"{path}: {sentence}" if path else sentence, [(path, sentence)])


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """REST framework's exception handler. None for what is our own fault: that goes on to `server_error`."""
    problem = problem_of(error)
    return problem.response() if problem else None


def problem_of(error: Exception) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Archived):
        return Problem(410, str(error))
    if isinstance(error, InvalidQuery):
        return invalid(error.field, error.sentence)
    if isinstance(error, OperationalError | InterfaceError):
        return _without_database(error)
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "The body is larger than the limit: send fewer events in one request.")
    if isinstance(error, UnreadablePostError):
        return Problem(400, "The body ended early.")
    if isinstance(error, Http404):
        return Problem(404, "There is nothing here.")
    if isinstance(error, PermissionDenied):
        return Problem(403, "This is not allowed.")
    if isinstance(error, exceptions.APIException):
        return Problem(error.status_code, _sentence(error.detail), _errors(error.detail), headers=_headers(error))
    return None


def _without_database(error: Exception) -> Problem:
    if getattr(error.__cause__, "sqlstate", None) == QUERY_CANCELED:
        return Problem(503, "This takes too long to answer: ask for less, such as a shorter period.")
    log.warning("the database is away: %s", type(error.__cause__ or error).__name__)
    sentence = (
        "The database is away. Events may have been stored all the same: send them again under the same event_ids."
    )
    return Problem(503, sentence, headers={"Retry-After": str(RETRY_SECONDS)})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return Problem(413, "The body is larger than the limit.").response()
    if isinstance(exception, DisallowedHost):
        return Problem(400, "This host name is not served here: DJANGO_ALLOWED_HOSTS names those that are.").response()
    return Problem(400, "The request cannot be understood.").response()


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_read_by_a_person(request):
        return defaults.permission_denied(request, exception)
    return Problem(403, "This is not allowed.").response()


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if is_read_by_a_person(request):
        return csrf.csrf_failure(request, reason)
    return Problem(403, "This needs the CSRF token of the admin.").response()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_read_by_a_person(request):
        return defaults.page_not_found(request, exception)
    return Problem(404, "There is nothing here.").response()


def server_error(request: HttpRequest) -> HttpResponse:
    if is_read_by_a_person(request):
        return defaults.server_error(request)
    return Problem(500, "This is a fault of the service; it was logged.").response()


def is_read_by_a_person(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _sentence(detail: Any) -> str:
    """REST framework's details may be nested; a person reads one sentence."""
    if isinstance(detail, Mapping):
        return "; ".join(f"{name}: {_sentence(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return " ".join(map(_sentence, detail))
    return str(detail)


def _errors(detail: Any) -> list[tuple[str, str]]:
    """The fields that are named."""
    return [(name, _sentence(value)) for name, value in detail.items()] if isinstance(detail, Mapping) else []


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if auth := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(auth)
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(max(1, round(wait)))
    return headers
