"""What callers read of alerts: plain values, absent ones null, and never a secret."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from alerts.models import Alert, AlertGroup, Channel, Decision, Delivery, Silence

MOST_ALERTS = 100
MOST_DELIVERIES = 200
# Of the settings of channels these are no secrets; whatever is not named here is masked.
SHOWN = frozenset({"channel", "username", "icon_emoji", "templates", "to", "from"})
MASK = "•••"


def group(group: AlertGroup) -> dict[str, Any]:
    return {
        "id": group.pk,
        "anomaly_type": group.rule,
        "severity": group.severity,
        "status": "open" if group.is_open else "resolved",
        "persona_id": group.persona_id or None,
        "opened_at": group.opened_at,
        "resolved_at": group.resolved_at,
        "firing": group.firing,
        "total": group.total,
        "last_said_at": group.said_at,
        "worst_said": group.said_severity or None,
        "acknowledgement": acknowledgement(group),
        "escalates_at": group.escalates_at,
        "escalated_at": group.escalated_at,
        "url": page("alertgroup", group.pk),
    }


def acknowledgement(group: AlertGroup) -> dict[str, Any] | None:
    if group.acknowledged_at is None:
        return None
    return {"at": group.acknowledged_at, "by": group.acknowledged_by, "severity": group.acknowledged_severity}


def whole_group(found: AlertGroup) -> dict[str, Any]:
    # "firing" comes before "resolved".
    alerts = found.alerts.order_by("status", "-started_at", "-pk")[:MOST_ALERTS]
    deliveries = found.deliveries.select_related("channel").order_by("-sequence", "-pk")[:MOST_DELIVERIES]
    return {
        **group(found),
        "alerts": [alert(each) for each in alerts],
        "deliveries": [delivery(each) for each in deliveries],
        "not_said": [decision(each) for each in found.decisions.order_by("-last_at", "-pk")],
    }


def alert(alert: Alert) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "title": alert.title,
        "severity": alert.severity,
        "status": alert.status,
        "scope": alert.scope,
        "facts": alert.facts,
        "started_at": alert.started_at,
        "ended_at": alert.ended_at,
        "url": alert.url or None,
    }


def delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.pk,
        "channel": delivery.channel.name,
        "event": delivery.event,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created_at": delivery.created_at,
        "due_at": delivery.due_at,
        "sent_at": delivery.sent_at,
        "receipt": delivery.receipt or None,
        "error": delivery.error or None,
    }


def decision(decision: Decision) -> dict[str, Any]:
    return {
        "reason": decision.reason,
        "sentence": decision.sentence,
        "count": decision.count,
        "first_at": decision.first_at,
        "last_at": decision.last_at,
    }


def silence(silence: Silence, at: datetime) -> dict[str, Any]:
    return {
        "id": silence.pk,
        "persona_id": silence.persona_id or None,
        "anomaly_type": silence.rule or None,
        "up_to": silence.up_to,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "owner": silence.owner,
        "reason": silence.reason,
        "ended_at": silence.ended_at,
        "ended_by": silence.ended_by or None,
        "in_force": silence.ended_at is None and silence.starts_at <= at < silence.ends_at,
    }


def channel(channel: Channel) -> dict[str, Any]:
    outlet = channel.outlet()
    return {
        "name": channel.name,
        "kind": channel.kind,
        "usable": outlet.unusable is None,
        "why_not": outlet.sentence or None,
        "disabled_at": channel.disabled_at,
        "paused_until": channel.paused_until,
        "fallback": channel.fallback.name if channel.fallback else None,
        "settings": masked(channel.all_settings()),
    }


def masked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a channel for eyes: of an https address its host, of other secrets only that there is one."""
    return {name: value if name in SHOWN else mask(value) for name, value in given.items() if value}


def mask(secret: Any) -> str:
    try:
        parts = urlsplit(str(secret))
        host = parts.hostname if parts.scheme == "https" else None
    except ValueError:
        host = None
    return f"https://{host}/{MASK}" if host else MASK


def page(model: str, number: int) -> str:
    """Written out: to look it up, a worker would load all pages of the admin."""
    return f"{settings.FINOPS_PUBLIC_URL.rstrip('/')}/admin/alerts/{model}/{number}/change/"
