"""The controls as the API shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from controls.models import BudgetIncrease, ControlTransition, Hold, Override, Policy, Refusal, SettingChange, Switch
from controls.policy_changes import FIELDS
from controls.standing import Standing


def standing(found: Standing) -> dict[str, Any]:
    return {
        "persona_id": found.persona_id,
        "level": found.level,
        "obeyed_level": found.obeyed,
        "per_minute": found.per_minute,
        "reason": found.reason or None,
        "trigger": found.trigger or None,
        "severity": found.severity or None,
        "since": found.since,
        "expires_at": found.expires_at,
        "is_observing": found.is_observing,
        "override": override(found.override) if found.override else None,
    }


def transition(found: ControlTransition) -> dict[str, Any]:
    return {
        "version": found.version,
        "from_level": found.from_level,
        "to_level": found.to_level,
        "per_minute": found.per_minute,
        "trigger": found.trigger or None,
        "severity": found.severity or None,
        "reason": found.reason,
        "evidence": found.evidence,
        "actor": found.actor,
        "is_observing": found.is_observing,
        "observed_at": found.observed_at,
        "at": found.at,
        "expires_at": found.expires_at,
    }


def override(found: Override) -> dict[str, Any]:
    return {
        "id": found.pk,
        "persona_id": found.persona_id or None,
        "kind": found.kind,
        "reason": found.reason,
        "actor": found.actor,
        "starts_at": found.starts_at,
        "expires_at": found.expires_at,
        "ended_at": found.ended_at,
        "ended_by": found.ended_by or None,
    }


def policy(found: Policy) -> dict[str, Any]:
    return {"persona_id": found.persona_id or None, **{name: getattr(found, name) for name in FIELDS}}


def setting_change(found: SettingChange) -> dict[str, Any]:
    return {
        "id": found.pk,
        "kind": found.kind,
        "name": found.name or None,
        "content": found.content,
        "actor": found.actor,
        "at": found.at,
    }


def switch(model: str, targets: Sequence[Switch], at: datetime) -> dict[str, Any]:
    return {"model": model, "targets": [_target(each, at) for each in targets]}


def increase(found: BudgetIncrease, at: datetime) -> dict[str, Any]:
    return {
        "id": found.pk,
        "amount": found.amount,
        "reason": found.reason,
        "actor": found.actor,
        "starts_at": found.starts_at,
        "expires_at": found.expires_at,
        "ended_at": found.ended_at,
        "ended_by": found.ended_by or None,
        "is_active": found.ended_at is None and found.starts_at <= at < found.expires_at,
    }


def refusal(found: Refusal) -> dict[str, Any]:
    return {
        "id": found.pk,
        "persona_id": found.persona_id or None,
        "post_id": found.post_id or None,
        "operation": found.operation or None,
        "model": found.model,
        "decision": found.decision,
        "reason": found.reason,
        "budget_id": found.budget_id,
        "amount": found.amount,
        "attempts": found.attempts,
        "first_at": found.first_at,
        "last_at": found.last_at,
        "admitted_at": found.admitted_at,
    }


def hold(found: Hold) -> dict[str, Any]:
    return {
        "id": str(found.pk),
        "persona_id": found.persona_id or None,
        "post_id": found.post_id or None,
        "operation": found.operation or None,
        "cost_type": found.cost_type,
        "provider": found.provider or None,
        "asked_model": found.asked_model,
        "model": found.model,
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
        "amount": found.amount,
        "asked_amount": found.asked_amount,
        "actual": found.actual,
        "asked_actual": found.asked_actual,
        "pending": found.pending,
        "overrun": found.overrun,
        "budget_ids": found.budget_ids,
        "observed": found.observed or None,
        "state": found.state,
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        "closed_at": found.closed_at,
        "closed_by": found.closed_by or None,
        "event_id": found.event_id or None,
    }


def _target(found: Switch, at: datetime) -> dict[str, Any]:
    return {
        "target": found.target,
        "retired_on": found.retired_on.isoformat() if found.retired_on else None,
        "context_tokens": found.context_tokens,
        "is_alive": found.is_alive(at.date()),
    }
