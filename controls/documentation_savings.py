"""What the OpenAPI document says of savings and recommendations: the schemas that their answers really have."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from controls.recommendations import MOST_DAYS, RANKS
from controls.savings import GROUPS, KINDS, OBSERVED
from costs.documentation import COUNT, INSTANT, NUMBER, TEXT_OR_NULL, Schema, answer, answers, list_of, object_of, query
from costs.examples import Example

PERCENT_OR_NULL: Schema = {"type": "number", "nullable": True, "description": "Cut to 2 decimals; null of nothing."}
DOLLARS_OR_NULL: Schema = {"type": "number", "nullable": True}
KIND = object_of(
    {
        "calls": COUNT,
        "would_have_cost": NUMBER,
        "cost": NUMBER,
        "saved": {"type": "number", "description": "would_have_cost - cost; below 0 where it turned out dearer."},
        "estimated": {"type": "number", "description": "The part of `saved` that rests on estimates."},
        "delayed_calls": {**COUNT, "description": "Let in later: they saved nothing and are not in `calls`."},
        "unknown_calls": {**COUNT, "description": "A price is missing: they are not in `calls`."},
    }
)
OBSERVED_KIND = object_of(
    {
        "calls": COUNT,
        "cost": NUMBER,
        "would_have_saved": NUMBER,
        "delayed_calls": {**COUNT, "description": "They would only have had to wait, and are not in `calls`."},
    }
)
SAVED: dict[str, Schema] = {
    "spent": {"type": "number", "description": "What the ledger says, in US dollars."},
    "saved": {"type": "number", "description": "US dollars."},
    "saved_percent": {**PERCENT_OR_NULL, "description": "Of what would have been spent: spent + saved."},
    "saved_per_30_days_extrapolated": {
        **DOLLARS_OR_NULL,
        "description": "US dollars if it went on as it did since start_date; null before it.",
    },
    "by_kind": object_of(dict.fromkeys(KINDS, KIND)),
    "observed": {
        **object_of(
            {
                "would_have_saved": NUMBER,
                "steps": {**COUNT, "description": "Transitions of the breaker that were only noted."},
                "by_decision": object_of(dict.fromkeys(OBSERVED, OBSERVED_KIND)),
            }
        ),
        "description": "What policies that only observe would have done: estimates, and in no other sum.",
    },
}
ALL_SAVED = object_of(
    {
        "start_date": INSTANT,
        "end_date": INSTANT,
        "timezone": {"type": "string"},
        **SAVED,
        "groups": list_of(object_of({"key": object_of({"persona_id": TEXT_OR_NULL}), **SAVED})),
    }
)
_NOTHING: Example = {
    "calls": 0,
    "would_have_cost": 0,
    "cost": 0,
    "saved": 0,
    "estimated": 0,
    "delayed_calls": 0,
    "unknown_calls": 0,
}
SAVINGS_EXAMPLE: Example = {
    "start_date": "2026-11-01T00:00:00Z",
    "end_date": "2026-12-01T00:00:00Z",
    "timezone": "UTC",
    "spent": 210.5,
    "saved": 41.25,
    "saved_percent": 16.38,
    "saved_per_30_days_extrapolated": 53.804348,
    "by_kind": {
        "switched": {**_NOTHING, "calls": 3310, "would_have_cost": 24.825, "cost": 1.4895, "saved": 23.3355},
        "throttled": {
            **_NOTHING,
            "calls": 1200,
            "would_have_cost": 9,
            "saved": 9,
            "estimated": 9,
            "delayed_calls": 412,
        },
        "denied": {
            **_NOTHING,
            "calls": 1188,
            "would_have_cost": 8.9145,
            "saved": 8.9145,
            "estimated": 8.9145,
        },
    },
    "observed": {
        "would_have_saved": 0,
        "steps": 0,
        "by_decision": {name: {"calls": 0, "cost": 0, "would_have_saved": 0, "delayed_calls": 0} for name in OBSERVED},
    },
    "groups": [],
}

SAVINGS: dict[str, Any] = {
    "operation_id": "get_savings",
    "tags": ["controls"],
    "examples": [answer("A month", SAVINGS_EXAMPLE)],
    "parameters": [
        query("start_date", "A day of `timezone` (2026-08-01), or an RFC 3339 time.", required=True),
        query("end_date", "The last day; or an RFC 3339 time, before which calls count.", required=True),
        query("timezone", "An IANA name, for days. UTC when absent."),
        query("persona_id", "Only calls of this persona."),
        query("group_by", f"{', '.join(GROUPS)}; without it `groups` is empty."),
    ],
    "responses": answers({200: ALL_SAVED}, 422),
}

DAY_OR_NULL: Schema = {
    "type": "string",
    "format": "date",
    "nullable": True,
    "description": "From when on its maker has it no more; null where no day is known.",
}
PER_DOLLAR: Schema = {
    **object_of({"now": DOLLARS_OR_NULL, "then": DOLLARS_OR_NULL}),
    "nullable": True,
    "description": "Of all that the persona spent: as it is, and with the best option. Null without outcomes.",
}
OPTION = object_of(
    {
        "model": {"type": "string"},
        "provider": TEXT_OR_NULL,
        "cost_type": {"type": "string"},
        "is_listed": {"type": "boolean", "description": "Whether it stands in the model switches."},
        "cost": {"type": "number", "description": "What the very same calls would have cost, in US dollars."},
        "saved": NUMBER,
        "saved_percent": PERCENT_OR_NULL,
        "context_tokens": {**COUNT, "nullable": True},
        "retires_on": DAY_OR_NULL,
    }
)
RECOMMENDATION = object_of(
    {
        "persona_id": TEXT_OR_NULL,
        "operation": TEXT_OR_NULL,
        "cost_type": {"type": "string"},
        "provider": TEXT_OR_NULL,
        "model": {"type": "string"},
        "service_tier": TEXT_OR_NULL,
        "retires_on": DAY_OR_NULL,
        "calls": COUNT,
        "largest_call_tokens": {**COUNT, "description": "Input and output together."},
        "cost": {"type": "number", "description": "Of these calls by the price book, in US dollars."},
        "saved": {"type": "number", "description": "By the best option."},
        "options": list_of(OPTION),
        "return_per_dollar": PER_DOLLAR,
        "follows_per_dollar": PER_DOLLAR,
    }
)
RECOMMENDATIONS_EXAMPLE: Example = {
    "start_date": "2026-10-25T12:00:00Z",
    "end_date": "2026-11-24T12:00:00Z",
    "rank_by": "saved",
    "saved": 141,
    "recommendations": [
        {
            "persona_id": "ai_jesus",
            "operation": "hook_generation",
            "cost_type": "openai_api",
            "provider": "openai",
            "model": "gpt-4o",
            "service_tier": None,
            "retires_on": "2027-01-14",
            "calls": 20000,
            "largest_call_tokens": 1500,
            "cost": 150,
            "saved": 141,
            "options": [
                {
                    "model": "gpt-4o-mini",
                    "provider": "openai",
                    "cost_type": "openai_api",
                    "is_listed": True,
                    "cost": 9,
                    "saved": 141,
                    "saved_percent": 94,
                    "context_tokens": 128000,
                    "retires_on": "2027-01-14",
                }
            ],
            "return_per_dollar": {"now": 2, "then": 33.333333},
            "follows_per_dollar": {"now": 16, "then": 266.666667},
        }
    ],
    "omitted": 0,
}

RECOMMENDATIONS: dict[str, Any] = {
    "operation_id": "get_recommendations",
    "tags": ["controls"],
    "examples": [answer("A cheaper model", RECOMMENDATIONS_EXAMPLE)],
    "parameters": [
        OpenApiParameter(
            "days",
            {"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": 30},
            OpenApiParameter.QUERY,
            description="How many full days to look at, up to the last full hour.",
        ),
        query("persona_id", "Only what this persona used."),
        OpenApiParameter(
            "rank_by", OpenApiTypes.STR, OpenApiParameter.QUERY, enum=list(RANKS), description="saved when absent."
        ),
    ],
    "responses": answers(
        {
            200: object_of(
                {
                    "start_date": INSTANT,
                    "end_date": INSTANT,
                    "rank_by": {"type": "string", "enum": list(RANKS)},
                    "saved": {"type": "number", "description": "If each took its best option, in US dollars."},
                    "recommendations": list_of(RECOMMENDATION),
                    "omitted": {**COUNT, "description": "More, which save less."},
                }
            )
        },
        422,
    ),
}
