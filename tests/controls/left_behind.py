"""What decisions leave behind, in one line each: holds and refusals."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from controls.models import ControlTransition, Hold, Level, Refusal

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MONEY = ("amount", "asked_amount", "actual", "asked_actual", "pending")


def hold(**fields: Any) -> Hold:
    """An open hold of gpt-4o, switched to gpt-4o-mini: 1,000 tokens in, 500 out."""
    at = fields.pop("at", NOW)
    given = {
        "id": uuid4(),
        "source": "default",
        "persona_id": "a",
        "cost_type": "openai_api",
        "provider": "openai",
        "asked_model": "gpt-4o",
        "model": "gpt-4o-mini",
        "input_tokens": 1000,
        "output_tokens": 500,
        "amount": "0.00045",
        "asked_amount": "0.0075",
        "created_at": at,
        "expires_at": at + timedelta(minutes=2),
    } | fields
    if given.get("state", "open") != "open":
        given.setdefault("closed_at", at + timedelta(seconds=10))
    return Hold.objects.create(**{name: _exact(name, value) for name, value in given.items()})


def observed(decision: str, **fields: Any) -> Hold:
    """An open hold that nothing was done to, though a policy that only observes would have."""
    return hold(**{"observed": decision, "model": "gpt-4o", "amount": "0.0075"} | fields)


def refusal(amount: str, decision: str = "deny", **fields: Any) -> Refusal:
    at = fields.pop("at", NOW)
    given = {"key": uuid4().bytes, "persona_id": "a", "model": "gpt-4o", "reason": "budget"} | fields
    return Refusal.objects.create(amount=Decimal(amount), decision=decision, first_at=at, last_at=at, **given)


def observed_step(persona_id: str = "a", version: int = 1, at: datetime = NOW) -> ControlTransition:
    return ControlTransition.objects.create(
        persona_id=persona_id,
        version=version,
        from_level=Level.CLOSED,
        to_level=Level.THROTTLE,
        reason="test",
        actor="engine",
        is_observing=True,
        observed_at=at,
        at=at,
        expires_at=at + timedelta(hours=1),
    )


def _exact(name: str, value: Any) -> Any:
    return Decimal(value) if name in MONEY and isinstance(value, str) else value
