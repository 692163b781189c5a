"""The ledger over HTTP: a view parses, calls one thing, renders."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from msgspec import UNSET, Raw, UnsetType
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from costs import attribution, auth, documentation, ingest, outcomes
from costs.breakdown import breakdown
from costs.envelope import MOST_EVENTS, body_of, events_in
from costs.ingest import Receipt
from costs.models import ApiKey, Scope
from costs.problems import Problem, handle, invalid
from costs.rendering import json_response
from costs.reports import from_replica

log = logging.getLogger(__name__)

BREAKDOWN_PARAMETERS = ("start_date", "end_date", "timezone", "persona_id", "group_by")
REQUIRED_PARAMETERS = ("start_date", "end_date")
# A view runs in nobody's transaction, so what it accepts needs no connection of its own.
OUTSIDE_TRANSACTIONS = DEFAULT_DB_ALIAS
UNKNOWN_POST = "No cost of a post {!r} is known."


class KeyedView(APIView):
    """A view for API keys; `required_scope` says which kind."""

    required_scope: str = Scope.COSTS_READ

    @staticmethod
    def key_of(request: Request) -> ApiKey:
        assert isinstance(request.auth, ApiKey), "HasScope lets nobody else in"
        return request.auth


class LeanView(KeyedView):
    """One method of it is asked all the time, and REST framework alone would take longer than Postgres: `answer` reads
    key and body itself. Its schema, its errors and its scope are those of all others.
    """

    lean_methods: tuple[str, ...] = ("POST",)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in self.lean_methods:
            return super().dispatch(request, *args, **kwargs)
        try:
            return self.answer(request, **kwargs)
        except Exception as error:
            # The same answers as REST framework gives; what is our own fault goes on to Django's handler.
            # No name here may hold the error: it holds this frame, and with it the body until the collector comes.
            response = handle(error, {})
            if response is None:
                raise
            return response

    def answer(self, request: HttpRequest, **names: str) -> HttpResponse:
        """`names` are those of the path. Raises what `problem_of` knows."""
        raise NotImplementedError


class EventsView(LeanView):
    required_scope = Scope.EVENTS_WRITE

    @extend_schema(**documentation.EVENTS)
    def post(self, request: Request) -> Response:
        """Accept cost events durably: up to 1,000 in {"events": [...]}, or one bare event.

        A batch always answers 202 with one result for each event; a single event answers by its own status.
        """
        raise AssertionError("dispatch answers")

    def answer(self, request: HttpRequest, **names: str) -> HttpResponse:
        key = auth.require(request, self.required_scope)
        body = body_of(request)
        events = events_in(body)
        if events is None:
            (receipt,) = self._accept(key, [body])
            return json_response(receipt, status=_status(receipt))
        return json_response({"results": self._accept(key, events)}, status=202)

    def _accept(self, key: ApiKey, bodies: Sequence[bytes]) -> list[Receipt]:
        started = time.monotonic()
        receipts = ingest.accept(
            bodies, source=key.source, personas=key.visible_personas, at=now(), using=OUTSIDE_TRANSACTIONS
        )
        # For the line that is logged of this request.
        which = {"event_id": receipts[0].event_id} if len(receipts) == 1 else {}
        structlog.contextvars.bind_contextvars(events=len(receipts), **which)
        milliseconds = (time.monotonic() - started) * 1000
        if milliseconds > settings.FINOPS_STORAGE_LATENCY_TARGET_MS:
            log.warning("accepting %d events took %d ms", len(bodies), milliseconds)
        return receipts


class OutcomesView(KeyedView):
    required_scope = Scope.EVENTS_WRITE

    @extend_schema(**documentation.OUTCOMES)
    def post(self, request: Request) -> Response:
        """Accept what posts brought, durably: up to 1,000 in {"outcomes": [...]}, or one bare outcome.

        A batch always answers 202 with one result for each outcome; a single one answers by its own status.
        """
        body = body_of(request._request)
        batch, key = _outcomes_in(body), self.key_of(request)
        receipts = outcomes.accept(
            [body] if batch is None else batch,
            source=key.source,
            personas=key.visible_personas,
            at=now(),
            using=OUTSIDE_TRANSACTIONS,
        )
        if batch is None:
            return Response(asdict(receipts[0]), status=_status(receipts[0]))
        return Response({"results": [asdict(receipt) for receipt in receipts]}, status=202)


class PostView(KeyedView):
    @extend_schema(**documentation.POST)
    def get(self, request: Request, post_id: str) -> Response:
        """What a post cost: by type, line by line, how well described, and on what evidence."""
        found = attribution.post_breakdown(
            post_id, personas=self.key_of(request).visible_personas, cursor=request.query_params.get("cursor")
        )
        return _found(found, UNKNOWN_POST.format(post_id))


class PostSummaryView(LeanView):
    lean_methods = ("GET", "HEAD")

    @extend_schema(**documentation.POST_SUMMARY)
    def get(self, request: Request, post_id: str) -> Response:
        """A post at a glance, judged by the target and the alert threshold."""
        raise AssertionError("dispatch answers")

    def answer(self, request: HttpRequest, **names: str) -> HttpResponse:
        key, post_id = auth.require(request, self.required_scope), names["post_id"]
        found = attribution.post_summary(post_id, personas=key.visible_personas)
        if found is None:
            raise Problem(404, UNKNOWN_POST.format(post_id))
        return json_response(found)


class ExplainView(KeyedView):
    @extend_schema(**documentation.EXPLAIN)
    def get(self, request: Request, event_id: str) -> Response:
        """Why an event costs what it costs: buckets x price x tier, the formula, and where each price stands."""
        found = attribution.explain(
            event_id, source=request.query_params.get("source"), personas=self.key_of(request).visible_personas
        )
        return _found(found, f"No booked event {event_id!r} is known.")


class BreakdownView(KeyedView):
    @extend_schema(**documentation.BREAKDOWN)
    def get(self, request: Request) -> Response:
        """Costs of a period by any grouping; the groups always add up to the total."""
        asked = {name: request.query_params[name] for name in BREAKDOWN_PARAMETERS if name in request.query_params}
        for name in REQUIRED_PARAMETERS:
            if name not in asked:
                raise invalid(name, "is required")
        if unknown := sorted(set(request.query_params) - set(BREAKDOWN_PARAMETERS)):
            raise invalid(unknown[0], f"is no parameter; these are: {', '.join(BREAKDOWN_PARAMETERS)}")
        with from_replica():
            return Response(breakdown(**asked, personas=self.key_of(request).visible_personas))


class _OutcomeEnvelope(msgspec.Struct):
    outcomes: Raw | UnsetType = UNSET


class _StrictOutcomeEnvelope(_OutcomeEnvelope, forbid_unknown_fields=True):
    pass


# Slots instead of a list, as for events: what is too many is skipped without memory; the last slot tells of it.
_OutcomeSlots = msgspec.defstruct(
    "_OutcomeSlots",
    [(f"outcome_{number}", Raw | UnsetType, UNSET) for number in range(MOST_EVENTS + 1)],
    array_like=True,
)


def _outcomes_in(body: bytes) -> list[bytes] | None:
    """The outcomes of a batch; None when the body is one bare outcome."""
    try:
        sent = msgspec.json.decode(body, type=_OutcomeEnvelope).outcomes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"The body is no JSON object: {error}.") from None
    if isinstance(sent, UnsetType):
        return None
    try:
        msgspec.json.decode(body, type=_StrictOutcomeEnvelope)
    except msgspec.ValidationError as error:
        # The sentence is: Object contains unknown field `name`.
        raise invalid(str(error).split("`")[1], "is no field beside outcomes") from None
    try:
        slots = msgspec.structs.astuple(msgspec.json.decode(sent, type=_OutcomeSlots))
    except (msgspec.DecodeError, RecursionError):
        raise invalid("outcomes", "must be a list of outcomes") from None
    if slots[MOST_EVENTS] is not UNSET:
        raise Problem(413, f"outcomes: at most {MOST_EVENTS:,} in one request.")
    return [bytes(outcome) for outcome in slots if outcome is not UNSET]


def _found(content: dict[str, Any] | None, otherwise: str) -> Response:
    if content is None:
        raise Problem(404, otherwise)
    return Response(content)


def _status(receipt: Receipt) -> int:
    """Of a single event or outcome. Raises Problem when it was not taken."""
    if receipt.status == "rejected":
        path, colon, sentence = receipt.detail.partition(": ")
        is_path = bool(colon) and " " not in path
        raise invalid(path, sentence) if is_path else invalid("", receipt.detail)
    if receipt.status == "conflict":
        raise Problem(409, receipt.detail, [("event_id", receipt.detail)])
    return 200 if receipt.status == "duplicate" else 202
