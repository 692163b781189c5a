"""One example for each path, as the service answers it."""

from typing import Any

Example = dict[str, Any]

ANOMALY: Example = {
    "id": 17,
    "anomaly_type": "cost_spike",
    "severity": "critical",
    "status": "open",
    "persona_id": "ai_jesus",
    "post_id": None,
    "scope": {"persona_id": "ai_jesus", "reading": "cost_per_post"},
    "current": 0.134,
    "latest": 0.022,
    "baseline": 0.02,
    "multiplier": 6.7,
    "opened_at": "2026-11-24T12:00:00Z",
    "last_seen_at": "2026-11-24T12:04:30Z",
    "resolved_at": None,
    "resolution": None,
    "evidence": {
        "window": {"start": "2026-11-24T11:55:00Z", "end": "2026-11-24T12:00:00Z"},
        "driven_by": "gpt-4o, hook_generation: 92.4 % of it",
        "contributors": [
            {"model": "gpt-4o", "operation": "hook_generation", "amount": "0.62", "events": 9, "share": "92.4"}
        ],
        "events": [
            {
                "event_id": "call-9",
                "post_id": "post_009",
                "model": "gpt-4o",
                "operation": "hook_generation",
                "amount": "0.31",
            }
        ],
        "reading": "cost_per_post",
        "baseline_source": "median",
        "baseline_samples": 30,
    },
    "url": "https://finops.example/admin/anomalies/anomaly/17/change/",
}
WHOLE_ANOMALY: Example = ANOMALY | {
    "false_positive_by": None,
    "alert_id": 3,
    "acknowledgement": {"at": "2026-11-24T12:03:00Z", "by": "ann", "severity": "critical"},
    "tolerance": None,
    "transitions": [
        {
            "at": "2026-11-24T12:00:00Z",
            "change": "opened",
            "severity": "critical",
            "current": 0.134,
            "actor": "engine",
            "reason": None,
        },
        {
            "at": "2026-11-24T12:03:00Z",
            "change": "acknowledged",
            "severity": "critical",
            "current": 0.134,
            "actor": "ann",
            "reason": "The new hook prompt.",
        },
    ],
}
