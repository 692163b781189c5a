"""Example requests and answers for the OpenAPI document."""

from costs.examples import Example

NEW_BUDGET: Example = {
    "name": "AI Jesus, a month",
    "scope": {"persona_id": "ai_jesus"},
    "period": "monthly",
    "timezone": "Europe/Berlin",
    "limit": 300,
    "hard": True,
}
CHANGES: Example = {"limit": 350, "warn_levels": [70, 90]}
BUDGET: Example = {
    "id": 1,
    "name": "AI Jesus, a month",
    "scope": {"persona_id": "ai_jesus", "model": None, "cost_type": None},
    "period": "monthly",
    "timezone": "Europe/Berlin",
    "limit": 300,
    "hard": True,
    "warn_levels": [80, 85, 95],
    "increase": 0,
    "spent": 252.75,
    "held": 0.25,
    "pending": 0,
    "remaining": 47,
    "used_percent": 84.25,
    "period_starts_at": "2026-10-31T23:00:00Z",
    "period_ends_at": "2026-11-30T23:00:00Z",
    "created_at": "2026-11-03T09:30:00Z",
    "ended_at": None,
    "revision": 1,
}
BUDGETS: Example = {"budgets": [BUDGET], "cursor": None}
