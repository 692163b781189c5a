"""Example requests and answers for the OpenAPI document."""

from typing import Any

Example = dict[str, Any]

EVENT: Example = {
    "event_id": "call-1",
    "timestamp": "2026-11-23T12:00:00Z",
    "post_id": "post_001",
    "persona_id": "ai_jesus",
    "cost_type": "openai_api",
    "operation": "hook_generation",
    "provider": "openai",
    "model": "gpt-4o",
    "usage": {"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 500},
}
ACCEPTED: Example = {"event_id": "call-1", "status": "accepted", "detail": ""}
DUPLICATE: Example = {"event_id": "call-1", "status": "duplicate", "detail": ""}
RESULTS: Example = {
    "results": [
        ACCEPTED,
        {
            "event_id": "call-2",
            "status": "rejected",
            "detail": "usage.input_tokens: must lie between 0 and 999,999,999,999",
        },
    ]
}
OUTCOME: Example = {
    "event_id": "follow-1",
    "timestamp": "2026-11-23T14:00:00Z",
    "post_id": "post_001",
    "persona_id": "ai_jesus",
    "kind": "follow",
    "quantity": 3,
}
REVENUE: Example = {
    "event_id": "sale-1",
    "timestamp": "2026-11-23T14:05:00Z",
    "post_id": "post_001",
    "persona_id": "ai_jesus",
    "kind": "revenue",
    "amount": "1.25",
}
OUTCOME_ACCEPTED: Example = {"event_id": "follow-1", "status": "accepted", "detail": ""}
OUTCOME_DUPLICATE: Example = {"event_id": "follow-1", "status": "duplicate", "detail": ""}
OUTCOME_RESULTS: Example = {
    "results": [
        OUTCOME_ACCEPTED,
        {"event_id": "sale-1", "status": "rejected", "detail": "amount: is required for revenue"},
    ]
}
POST: Example = {
    "post_id": "post_001",
    "total_cost": 0.00725,
    "cost_breakdown": {"openai_api": 0.00725},
    "accuracy_score": 0.97,
    "accuracy_details": {
        "confidence_factors": [
            {
                "event_timestamp": "2026-11-23T12:00:00Z",
                "factors": ["model_specified", "operation_specified"],
                "confidence": 0.97,
            }
        ],
        "total_events": 1,
        "high_confidence_events": 1,
    },
    "audit_trail": [
        {
            "timestamp": "2026-11-23T12:00:00Z",
            "cost_type": "openai_api",
            "cost_amount": 0.00725,
            "metadata": {
                "model": "gpt-4o",
                "operation": "hook_generation",
                "provider": "openai",
                "input_tokens": 1000,
                "output_tokens": 500,
                "cache_read_tokens": 200,
            },
        }
    ],
    "truncated": False,
    "cursor": None,
    "unpriced_events": 0,
    "pending_events": 0,
    "archived_events": 0,
    "evidence": {
        "reported": {"amount": 0, "events": 0},
        "computed": {"amount": 0.00725, "events": 1},
        "estimated": {"amount": 0, "events": 0},
        "allocated": {"amount": 0, "events": 0},
    },
}
POST_SUMMARY: Example = {
    "post_id": "post_001",
    "total_cost": 0.00725,
    "primary_cost_type": "openai_api",
    "cost_efficiency_rating": "excellent",
    "over_alert_threshold": False,
}
EXPLANATION: Example = {
    "event_id": "call-1",
    "source": "default",
    "post_id": "post_001",
    "persona_id": "ai_jesus",
    "timestamp": "2026-11-23T12:00:00Z",
    "booked_at": "2026-11-23T12:00:01Z",
    "cost_type": "openai_api",
    "operation": "hook_generation",
    "provider": "openai",
    "model": "gpt-4o",
    "amount": 0.00725,
    "booked_amount": 0.00725,
    "computed_amount": None,
    "evidence": "computed",
    "explanation": "Computed from the counted usage with the prices of the event's own time.",
    "deviating": False,
    "usage": {"input_tokens": 1000, "output_tokens": 500, "cache_read_tokens": 200},
    "provider_usage": None,
    "price": {
        "amount": 0.00725,
        "formula": "800 x $2.5/M + 500 x $10/M + 200 x $1.25/M",
        "components": [
            {
                "bucket": "input_tokens",
                "quantity": 800,
                "unit_price": 2.5,
                "per": 1000000,
                "tier": "standard",
                "origin": "genai-prices 0.2.3",
                "amount": 0.002,
                "formula": "800 x $2.5/M",
            }
        ],
        "price_lists": ["genai-prices 0.2.3"],
        "resolution": {"model": "gpt-4o", "provider": "openai", "rules": ["gpt-4o is gpt-4o on the list of openai"]},
        "reason": "",
        "price_sheet": "683b784f-a1b9-aab4-ddbc-17e91d5052ad",
    },
    "adjustments": [],
}
BREAKDOWN: Example = {
    "start_date": "2026-11-23T00:00:00Z",
    "end_date": "2026-11-24T00:00:00Z",
    "timezone": "UTC",
    "total_cost": 0.01175,
    "unpriced_events": 0,
    "groups": [
        {"key": {"cost_type": "openai_api", "model": "gpt-4o"}, "cost": 0.00725, "events": 1},
        {"key": {"cost_type": "kubernetes", "model": None}, "cost": 0.0045, "events": 3},
    ],
}
