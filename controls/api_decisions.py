"""The decision over HTTP, and the ends of its hold."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response

from controls import bodies, decisions, documentation_decisions, holds
from controls.bodies_decisions import DecisionBody, Extension
from controls.models import Hold
from controls.models.holds import HoldQuerySet
from controls.postgres import DECISIONS, Busy, connected
from controls.verdicts import Decision, Reason
from costs import auth
from costs.api import KeyedView, LeanView
from costs.auth import ApiKeyAuthentication
from costs.envelope import body_of
from costs.models import ApiKey, Scope
from costs.problems import Problem, invalid
from costs.rendering import json_response

NO_ANSWER = (OperationalError, InterfaceError, Busy)


class DecisionView(LeanView):
    required_scope = Scope.DECISIONS_WRITE

    def answer(self, request: HttpRequest, **names: str) -> HttpResponse:
        return json_response(_rendered(_decided(request)))

    @extend_schema(**documentation_decisions.DECIDE)
    def post(self, request: Request) -> Response:
        """May this call be made, with which model, and what is reserved for it? Always 200."""
        raise AssertionError("dispatch answers")


class _KeyLastKnown(ApiKeyAuthentication):
    """On the connections that give up: who ends a hold must not wait for Postgres either."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey]:
        secret = auth.bearer_token(request)
        key = _known(secret) if secret else None
        if key is None:
            raise AuthenticationFailed(auth.UNKNOWN)
        return None, key


# As everywhere; the OpenAPI document cannot tell by the class.
_BY_KEY: dict[str, Any] = {"auth": [{"ApiKey": []}]}


class HoldView(KeyedView):
    """The hold of a decision, for the key that asked for it."""

    required_scope = Scope.DECISIONS_WRITE

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [_KeyLastKnown()]

    def check_throttles(self, request: Request) -> None:
        if waits := _waits(self.key_of(request)):
            self.throttled(request, waits.total_seconds())

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Busy):
            exc = Problem(503, "Too many ask at the same time: say it again.", headers=_after(1))
        return super().handle_exception(exc)

    def _visible(self, key: ApiKey) -> HoldQuerySet:
        return Hold.objects.using(DECISIONS).seen_by(key.visible_personas).filter(source=key.source)

    def _require(self, request: Request, hold_id: UUID) -> None:
        with connected():
            is_visible = self._visible(self.key_of(request)).filter(pk=hold_id).exists()
        if not is_visible:
            raise Problem(404, f"No hold {hold_id} is known.")


class ReleaseView(HoldView):
    """Also for keys that look after the controls: those who asked may be gone, with the money still held."""

    def check_permissions(self, request: Request) -> None:
        if _is_keeper(request.auth):
            self.required_scope = Scope.CONTROLS_WRITE
        super().check_permissions(request)

    def _visible(self, key: ApiKey) -> HoldQuerySet:
        if _is_keeper(key):
            return Hold.objects.using(DECISIONS).seen_by(key.visible_personas)
        return super()._visible(key)

    @extend_schema(**documentation_decisions.RELEASE, **_BY_KEY)
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Give a hold back: no call was made. Safe to do twice; once its event was accepted nothing happens.

        The key that asked may, and any with the scope controls:write that sees the hold's persona.
        """
        self._require(request, hold_id)
        hold = holds.release(hold_id, at=now(), by=f"key {self.key_of(request)}")
        return Response(_hold(hold))


class ExtendView(HoldView):
    @extend_schema(**documentation_decisions.EXTEND, **_BY_KEY)
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Let a hold last until so many seconds from now, never shorter than it does, and 24 hours at most in all."""
        self._require(request, hold_id)
        body = bodies.read(body_of(request._request), Extension)
        try:
            hold = holds.extend(hold_id, timedelta(seconds=body.ttl_seconds), at=now())
        except holds.Closed:
            raise Problem(409, "This hold has ended: ask for another decision.") from None
        return Response(_hold(hold))


def _is_keeper(key: Any) -> bool:
    return isinstance(key, ApiKey) and key.allows(Scope.CONTROLS_WRITE)


def _decided(request: HttpRequest) -> Decision:
    key, at = _key(request), now()
    call = bodies.read(body_of(request), DecisionBody).call(key.source)
    personas = key.visible_personas
    if personas is not None and call.persona_id not in personas:
        raise invalid("persona_id", "must be a persona of this key, which is bound")
    decision = decisions.decide(call, at=at)
    is_shown = personas is None or decision.budget is None or decision.budget.persona_id in personas
    return decision if is_shown else _without_the_budget(decision)


def _without_the_budget(decision: Decision) -> Decision:
    """What others share with this persona is not for its key to see: only that it has nothing left."""
    said = "has not enough left" if decision.reason == Reason.BUDGET else "counts this call"
    is_told = decision.reason in (Reason.BUDGET, Reason.WITHIN_BUDGET, Reason.UNKNOWN_MODEL)
    detail = f"A budget that is shared with others {said}." if is_told else decision.detail
    return replace(decision, budget=None, remaining=None, detail=detail)


def _key(request: HttpRequest) -> ApiKey:
    """Raises Problem."""
    secret = auth.bearer_token(request)
    key = auth.admitted(_known(secret) if secret else None, Scope.DECISIONS_WRITE)
    auth.check_rate(_waits(key))
    return key


def _waits(key: ApiKey) -> timedelta | None:
    """While the database does not answer nobody counts a key's requests."""
    if key.rate_limit is None:
        return None
    try:
        with connected():
            return key.wait(now(), using=DECISIONS)
    except NO_ANSWER:
        return None


def _after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def _known(secret: str) -> ApiKey | None:
    """While the database is away the key counts as it was last known: a decision is due all the same."""
    if fresh := auth.fresh(secret):
        return fresh
    try:
        # Kept until the request ends, this connection might be the one that the decision waits for.
        with connected():
            return auth.key_of(secret, using=DECISIONS)
    except NO_ANSWER:
        pass
    known = auth.last_known(secret)
    if known is None:
        raise Problem(503, "The database is away, and this key is not known yet.", headers=_after(1))
    return known


def _rendered(found: Decision) -> dict[str, Any]:
    budget, control, suggestion = found.budget, found.control, found.suggestion
    return {
        "decision": found.decision,
        "model": found.model,
        "hold_id": str(found.hold_id) if found.hold_id else None,
        "reason": found.reason,
        "detail": found.detail,
        "retry_after": found.retry_after,
        "remaining": found.remaining,
        "resets_at": found.resets_at,
        "suggestion": {"model": suggestion.model, "saves": suggestion.saves} if suggestion else None,
        "estimate": found.estimate,
        "expires_at": found.expires_at,
        "budget": {"id": budget.id, "name": budget.name, "allowed": budget.allowed} if budget else None,
        "control": None
        if control is None
        else {
            "level": control.level,
            "per_minute": control.per_minute,
            "until": control.until,
            "override_id": control.override_id,
        },
        "observed": found.observed or None,
    }


def _hold(hold: Hold) -> dict[str, datetime | str | Any]:
    return {"hold_id": str(hold.pk), "state": hold.state, "amount": hold.amount, "expires_at": hold.expires_at}
