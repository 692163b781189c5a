"""Rows of the breaker and of decisions, as they would be left behind."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from controls.models import Control, ControlTransition, Hold, Refusal

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def make_control(persona: str = "ai_jesus", level: str = "throttle", **fields: Any) -> Control:
    """Throttled since a minute, for an hour, unless said otherwise."""
    at = now()
    given: dict[str, Any] = {
        "since": at - timedelta(minutes=1),
        "expires_at": None if level == "closed" else at + HOUR,
        "per_minute": 30,
        "trigger": "cost_spike",
        "severity": "high",
        "reason": "3.9 times its baseline.",
        "version": 1,
    }
    return Control.objects.create(persona_id=persona, level=level, **given | fields)


def make_transition(persona: str = "ai_jesus", version: int = 1, **fields: Any) -> ControlTransition:
    at = now()
    given: dict[str, Any] = {
        "from_level": "closed",
        "to_level": "throttle",
        "per_minute": 30,
        "trigger": "cost_spike",
        "severity": "high",
        "reason": "3.9 times its baseline.",
        "evidence": {"multiplier": "3.9"},
        "actor": "engine",
        "observed_at": at,
        "at": at,
        "expires_at": at + HOUR,
    }
    return ControlTransition.objects.create(persona_id=persona, version=version, **given | fields)


def make_hold(persona: str = "ai_jesus", state: str = "open", **fields: Any) -> Hold:
    """A hold of a call that was switched."""
    at = now()
    given: dict[str, Any] = {
        "id": fields.pop("id", None) or uuid4(),
        "source": "default",
        "post_id": "post_001",
        "operation": "hook",
        "cost_type": "openai_api",
        "provider": "openai",
        "asked_model": "gpt-4o",
        "model": "gpt-4o-mini",
        "input_tokens": 1000,
        "output_tokens": 500,
        "amount": Decimal("0.00045"),
        "asked_amount": Decimal("0.0075"),
        "created_at": at,
        "expires_at": at + timedelta(minutes=10),
        "closed_at": None if state == "open" else at,
    }
    return Hold.objects.create(persona_id=persona, state=state, **given | fields)


def make_refusal(persona: str = "ai_jesus", decision: str = "throttle", **fields: Any) -> Refusal:
    at = now()
    given: dict[str, Any] = {
        "key": uuid4().bytes,
        "post_id": "post_001",
        "operation": "hook",
        "model": "gpt-4o",
        "reason": "throttled",
        "amount": Decimal("0.0075"),
        "first_at": at,
        "last_at": at,
    }
    return Refusal.objects.create(persona_id=persona, decision=decision, **given | fields)


def numbered(number: int) -> UUID:
    """Ids in an order."""
    return UUID(int=number)
