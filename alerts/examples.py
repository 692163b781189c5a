"""One example for each path, as the service answers it."""

from typing import Any

Example = dict[str, Any]

GROUP: Example = {
    "id": 3,
    "anomaly_type": "cost_spike",
    "severity": "critical",
    "status": "open",
    "persona_id": "ai_jesus",
    "opened_at": "2026-11-24T12:00:00Z",
    "resolved_at": None,
    "firing": 1,
    "total": 1,
    "last_said_at": "2026-11-24T12:00:00Z",
    "worst_said": "critical",
    "acknowledgement": {"at": "2026-11-24T12:03:00Z", "by": "ann", "severity": "critical"},
    "escalates_at": None,
    "escalated_at": None,
    "url": "https://finops.example/admin/alerts/alertgroup/3/change/",
}
WHOLE_GROUP: Example = GROUP | {
    "alerts": [
        {
            "fingerprint": "anomaly-17",
            "title": "Cost spike: ai_jesus",
            "severity": "critical",
            "status": "firing",
            "scope": {"persona_id": "ai_jesus", "reading": "cost_per_post"},
            "facts": {"current": "0.134", "baseline": "0.02", "multiplier": "6.7"},
            "started_at": "2026-11-24T12:00:00Z",
            "ended_at": None,
            "url": "https://finops.example/admin/anomalies/anomaly/17/change/",
        }
    ],
    "deliveries": [
        {
            "id": 5,
            "channel": "slack",
            "event": "opened",
            "state": "sent",
            "attempts": 1,
            "created_at": "2026-11-24T12:00:00Z",
            "due_at": "2026-11-24T12:00:00Z",
            "sent_at": "2026-11-24T12:00:01Z",
            "receipt": "ok",
            "error": None,
        }
    ],
    "not_said": [
        {
            "reason": "acknowledged",
            "sentence": "Somebody has taken it.",
            "count": 2,
            "first_at": "2026-11-24T12:04:00Z",
            "last_at": "2026-11-24T12:09:00Z",
        }
    ],
}
NEW_SILENCE: Example = {
    "persona_id": "ai_jesus",
    "anomaly_type": "cost_spike",
    "duration_minutes": 60,
    "reason": "A launch: twice the posts until noon.",
}
SILENCE: Example = {
    "id": 2,
    "persona_id": "ai_jesus",
    "anomaly_type": "cost_spike",
    "up_to": "critical",
    "starts_at": "2026-11-24T12:00:00Z",
    "ends_at": "2026-11-24T13:00:00Z",
    "owner": "key studio (fin_Ab3dE9…)",
    "reason": "A launch: twice the posts until noon.",
    "ended_at": None,
    "ended_by": None,
    "in_force": True,
}
CHANNEL: Example = {
    "name": "slack",
    "kind": "slack",
    "usable": True,
    "why_not": None,
    "disabled_at": None,
    "paused_until": None,
    "fallback": "email",
    "settings": {"url": "https://hooks.slack.com/•••", "channel": "#finops-alerts"},
}
