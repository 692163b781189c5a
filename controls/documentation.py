"""What the OpenAPI document says of the controls: the schemas that requests and answers really have."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from controls import examples
from controls.models.budgets import MOST_LEVELS, SCOPE, default_levels
from controls.periods import PERIODS
from costs.documentation import (
    COUNT,
    INSTANT,
    JSON,
    NUMBER,
    TEXT_OR_NULL,
    Schema,
    answer,
    answers,
    list_of,
    name_of,
    object_of,
    query,
)


def _optional(**fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "additionalProperties": False}


LIMIT: Schema = {
    "description": "US dollars for each period, above 0 and below a billion, with at most 12 decimals.",
    "anyOf": [{"type": "number"}, {"type": "string"}],
}
LEVELS: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 100},
    "minItems": 1,
    "maxItems": MOST_LEVELS,
    "description": f"Per cent of the limit, ascending: medium, high and critical. {default_levels()} when absent.",
}
TITLE: Schema = {"type": "string", "minLength": 1, "maxLength": 100}
HARD: Schema = {
    "type": "boolean",
    "description": "Whether decisions refuse what would overspend it; else it only warns.",
}
TERMS = {"name": TITLE, "limit": LIMIT, "hard": HARD, "warn_levels": LEVELS}
PERIOD: Schema = {"type": "string", "enum": list(PERIODS), "description": "Weeks begin on Monday."}
ZONE: Schema = {"type": "string", "description": "An IANA name: where days, weeks and months begin. UTC when absent."}
NEW_BUDGET = object_of(
    {
        "name": TITLE,
        "scope": {
            **_optional(**{name: name_of(100, "All when absent.") for name in SCOPE}),
            "description": "What counts: lines with all of these names. {} is everything.",
        },
        "period": PERIOD,
        "limit": LIMIT,
    },
    timezone=ZONE,
    hard=HARD,
    warn_levels=LEVELS,
)
BUDGET = object_of(
    {
        "id": COUNT,
        "name": {"type": "string"},
        "scope": object_of({name: TEXT_OR_NULL for name in SCOPE}),
        "period": PERIOD,
        "timezone": {"type": "string"},
        "limit": NUMBER,
        "hard": {"type": "boolean"},
        "warn_levels": list_of({"type": "integer"}),
        "increase": {"type": "number", "description": "What temporary increases add to the limit now."},
        "spent": NUMBER,
        "held": {"type": "number", "description": "Reserved by decisions for calls that are under way."},
        "pending": {
            "type": "number",
            "description": "Estimates that stay counted: of calls without a price, or reported as less than computed.",
        },
        "remaining": {
            "type": "number",
            "description": "limit + increase - spent - held - pending: what a decision may let in.",
        },
        "used_percent": {
            "type": "number",
            "description": "What is spent of limit + increase, cut to 2 decimals, never rounded up.",
        },
        "period_starts_at": INSTANT,
        "period_ends_at": INSTANT,
        "created_at": INSTANT,
        "ended_at": {**INSTANT, "nullable": True},
        "revision": COUNT,
    }
)
_ID = OpenApiParameter("budget_id", OpenApiTypes.INT64, OpenApiParameter.PATH)
_BODY = (400, 411, 413, 415, 422)

LIST_BUDGETS: dict[str, Any] = {
    "operation_id": "list_budgets",
    "tags": ["budgets"],
    "examples": [answer("One budget", examples.BUDGETS)],
    "parameters": [
        query("all", "Also those that have ended.", kind=OpenApiTypes.BOOL),
        query("persona_id", "Only budgets of this persona."),
        query("cursor", "The `cursor` of an earlier answer, for the next ones."),
    ],
    "responses": answers({200: object_of({"budgets": list_of(BUDGET), "cursor": TEXT_OR_NULL})}, 422),
}
MAKE_BUDGET: dict[str, Any] = {
    "operation_id": "make_budget",
    "tags": ["budgets"],
    "examples": [
        OpenApiExample("A hard monthly limit for a persona", value=examples.NEW_BUDGET, request_only=True),
        answer("Made", examples.BUDGET, 201),
    ],
    "request": {JSON: NEW_BUDGET},
    "responses": answers({201: BUDGET}, *_BODY),
}
GET_BUDGET: dict[str, Any] = {
    "operation_id": "get_budget",
    "tags": ["budgets"],
    "examples": [answer("A budget", examples.BUDGET)],
    "parameters": [_ID],
    "responses": answers({200: BUDGET}, 404),
}
REVISE_BUDGET: dict[str, Any] = {
    "operation_id": "revise_budget",
    "tags": ["budgets"],
    "examples": [
        OpenApiExample("A higher limit", value=examples.CHANGES, request_only=True),
        answer("Revised", examples.BUDGET),
    ],
    "parameters": [_ID],
    "request": {JSON: _optional(**TERMS)},
    "responses": answers({200: BUDGET}, 404, *_BODY),
}
END_BUDGET: dict[str, Any] = {
    "operation_id": "end_budget",
    "tags": ["budgets"],
    "examples": [answer("Ended", examples.BUDGET | {"ended_at": "2026-11-24T12:00:00Z", "revision": 2})],
    "parameters": [_ID],
    "request": None,
    "responses": answers({200: BUDGET}, 404),
}
