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
    _answer,
    _answers,
    _list,
    _name,
    _object,
    _query,
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
HARD: Schema = {"type": "boolean", "description": "A hard budget refuses what would overspend it."}
TERMS = {"name": TITLE, "limit": LIMIT, "hard": HARD, "warn_levels": LEVELS}
PERIOD: Schema = {"type": "string", "enum": list(PERIODS), "description": "Weeks begin on Monday."}
ZONE: Schema = {"type": "string", "description": "An IANA name: where days, weeks and months begin. UTC when absent."}
NEW_BUDGET = _object(
    {
        "name": TITLE,
        "scope": {
            **_optional(**{name: _name(100, "All when absent.") for name in SCOPE}),
            "description": "What counts: lines with all of these names. {} is everything.",
        },
        "period": PERIOD,
        "limit": LIMIT,
    },
    timezone=ZONE,
    hard=HARD,
    warn_levels=LEVELS,
)
BUDGET = _object(
    {
        "id": COUNT,
        "name": {"type": "string"},
        "scope": _object({name: TEXT_OR_NULL for name in SCOPE}),
        "period": PERIOD,
        "timezone": {"type": "string"},
        "limit": NUMBER,
        "hard": {"type": "boolean"},
        "warn_levels": _list({"type": "integer"}),
        "spent": NUMBER,
        "remaining": {"type": "number", "description": "US dollars; below zero when overspent."},
        "used_percent": {"type": "number", "description": "Cut to 2 decimals, never rounded up."},
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
    "examples": [_answer("One budget", examples.BUDGETS)],
    "parameters": [
        _query("all", "Also those that have ended.", kind=OpenApiTypes.BOOL),
        _query("persona_id", "Only budgets of this persona."),
        _query("cursor", "The `cursor` of an earlier answer, for the next ones."),
    ],
    "responses": _answers({200: _object({"budgets": _list(BUDGET), "cursor": TEXT_OR_NULL})}, 422),
}
MAKE_BUDGET: dict[str, Any] = {
    "operation_id": "make_budget",
    "tags": ["budgets"],
    "examples": [
        OpenApiExample("A hard monthly limit for a persona", value=examples.NEW_BUDGET, request_only=True),
        _answer("Made", examples.BUDGET, 201),
    ],
    "request": {JSON: NEW_BUDGET},
    "responses": _answers({201: BUDGET}, *_BODY),
}
GET_BUDGET: dict[str, Any] = {
    "operation_id": "get_budget",
    "tags": ["budgets"],
    "examples": [_answer("A budget", examples.BUDGET)],
    "parameters": [_ID],
    "responses": _answers({200: BUDGET}, 404),
}
REVISE_BUDGET: dict[str, Any] = {
    "operation_id": "revise_budget",
    "tags": ["budgets"],
    "examples": [
        OpenApiExample("A higher limit", value=examples.CHANGES, request_only=True),
        _answer("Revised", examples.BUDGET),
    ],
    "parameters": [_ID],
    "request": {JSON: _optional(**TERMS)},
    "responses": _answers({200: BUDGET}, 404, *_BODY),
}
END_BUDGET: dict[str, Any] = {
    "operation_id": "end_budget",
    "tags": ["budgets"],
    "examples": [_answer("Ended", examples.BUDGET | {"ended_at": "2026-11-24T12:00:00Z", "revision": 2})],
    "parameters": [_ID],
    "request": None,
    "responses": _answers({200: BUDGET}, 404),
}
