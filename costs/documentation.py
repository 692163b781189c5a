"""What the OpenAPI document says of every path: the schemas that requests and answers really have."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from costs import examples
from costs.booking import COMPUTED, REPORTED
from costs.breakdown import GROUPS
from costs.envelope import MOST_EVENTS
from costs.models import OutcomeKind
from costs.pricing import DIALECTS

Schema = dict[str, Any]

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
NUMBER: Schema = {"type": "number", "description": "US dollars, exact to 12 decimals."}
PRICED_OR_NOT: Schema = {"type": "number", "nullable": True, "description": "US dollars; null is unpriced, never free."}
COUNT: Schema = {"type": "integer", "minimum": 0}
INSTANT: Schema = {"type": "string", "format": "date-time"}
TEXT_OR_NULL: Schema = {"type": "string", "nullable": True}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "costs.auth.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        return {"type": "http", "scheme": "bearer", "description": "An API key: Authorization: Bearer <key>"}


def object_of(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def name_of(longest: int, description: str = "") -> Schema:
    return {"type": "string", "maxLength": longest, "nullable": True, "description": description}


PROBLEM = object_of(
    {"type": {"type": "string"}, "title": {"type": "string"}, "status": COUNT, "detail": {"type": "string"}},
    errors=list_of(object_of({"path": {"type": "string"}, "detail": {"type": "string"}})),
)
PROBLEMS = {
    400: "The body is no JSON object.",
    401: "No key, or an unknown or revoked one.",
    403: "The key lacks the scope.",
    404: "Unknown, or none of this key's personas'.",
    409: "The id was accepted before with another body, which stands.",
    410: "Booked, and archived since: its line is in a file.",
    411: "The body came in chunks, without a Content-Length.",
    413: "Too much for one request.",
    415: "The body is not application/json.",
    422: "A field or parameter is wrong: `errors` says which and why.",
    429: "The key's rate limit: Retry-After says when to go on.",
    503: "The database is away: Retry-After says when to send the same again, under the same event_ids.",
}


def answers(ok: dict[int, Schema], *problems: int) -> dict[Any, Schema]:
    """Answers by (status, media type); 401, 403, 429 and 503 may come from everywhere."""
    wrong = {
        (status, PROBLEM_JSON): {**PROBLEM, "description": PROBLEMS[status]}
        for status in sorted({401, 403, 429, 503, *problems})
    }
    return {**{(status, JSON): schema for status, schema in ok.items()}, **wrong}


def answer(name: str, value: examples.Example, status: int = 200) -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[status])


def query(name: str, description: str, *, required: bool = False, kind: Any = OpenApiTypes.STR) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, required=required, description=description)


PLAIN_USAGE = {
    **{name: COUNT for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")},
    **{name: COUNT for name in ("reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "images")},
    **{
        name: {"type": "number", "minimum": 0}
        for name in ("cpu_core_hours", "memory_gb_hours", "vector_reads", "vector_writes", "storage_gb_months")
    },
    "transfer_gb": {"type": "number", "minimum": 0},
}
EVENT: Schema = {
    "type": "object",
    "required": ["cost_type"],
    "additionalProperties": False,
    "anyOf": [{"required": ["usage"]}, {"required": ["amount"]}],
    "properties": {
        "cost_type": {"type": "string", "minLength": 1, "maxLength": 100, "description": "openai_api, kubernetes, …"},
        "event_id": name_of(255, "Unique within the key's source for ever; made up when absent."),
        "timestamp": {**INSTANT, "nullable": True, "description": "With an offset; now when absent."},
        "post_id": name_of(255, "Null is shared infrastructure."),
        **{name: name_of(100) for name in ("persona_id", "operation", "provider", "model", "hold_id")},
        "usage": {
            "type": "object",
            "nullable": True,
            "description": "Plain counts, input_tokens including cached ones and output_tokens including reasoning; "
            f"or a provider's own usage object with `dialect`: {', '.join(sorted(DIALECTS))}.",
            "properties": {"dialect": {"type": "string", "enum": sorted(DIALECTS)}, **PLAIN_USAGE},
        },
        "amount": {
            "nullable": True,
            "description": "US dollars below a billion with at most 12 decimals; taken as given.",
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}],
        },
        "currency": {"type": "string", "enum": ["USD"], "nullable": True},
        "correlation_id": name_of(255),
        "request_id": name_of(255),
        "metadata": {"type": "object", "nullable": True, "description": "Up to 8 KB and 5 levels."},
    },
}
BATCH: Schema = {
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    # Free objects: one bad event is answered in its own result and does not refuse the others.
    "properties": {"events": {"type": "array", "maxItems": MOST_EVENTS, "items": {"type": "object"}}},
}
STATUSES = ["accepted", "duplicate", "conflict", "rejected"]
RECEIPT = object_of(
    {
        "event_id": TEXT_OR_NULL,
        "status": {"type": "string", "enum": STATUSES},
        "detail": {"type": "string", "description": "Why it was refused, with the path of the field."},
    }
)
EVENTS: dict[str, Any] = {
    "operation_id": "accept_events",
    "tags": ["costs"],
    "request": {JSON: {"oneOf": [BATCH, EVENT]}},
    "responses": answers(
        {202: {"oneOf": [object_of({"results": list_of(RECEIPT)}), RECEIPT]}, 200: RECEIPT},
        400,
        409,
        411,
        413,
        415,
        422,
    ),
    "examples": [
        OpenApiExample("One event", value=examples.EVENT, request_only=True),
        OpenApiExample("A batch", value={"events": [examples.EVENT]}, request_only=True),
        answer("One event, accepted", examples.ACCEPTED, 202),
        answer("A batch, each event with its result", examples.RESULTS, 202),
        answer("One event, sent again", examples.DUPLICATE),
    ],
}

OUTCOME: Schema = {
    "type": "object",
    "required": ["kind"],
    "additionalProperties": False,
    "properties": {
        "kind": {"type": "string", "enum": list(OutcomeKind.values)},
        "event_id": name_of(255, "Unique among the outcomes of the key's source for ever; made up when absent."),
        "timestamp": {**INSTANT, "nullable": True, "description": "With an offset; now when absent."},
        "post_id": name_of(255, "This or persona_id is required."),
        "persona_id": name_of(100, "When absent the one that the post's costs are for, if that is exactly one."),
        "quantity": {
            "nullable": True,
            "description": "How many, with at most 12 decimals; negative where they were taken back. Required for "
            "follow and engagement.",
            "anyOf": [{"type": "number"}, {"type": "string"}],
        },
        "amount": {
            "nullable": True,
            "description": "US dollars below a billion with at most 12 decimals; negative for a refund. Required for "
            "revenue.",
            "anyOf": [{"type": "number"}, {"type": "string"}],
        },
    },
}
OUTCOME_BATCH: Schema = {
    "type": "object",
    "required": ["outcomes"],
    "additionalProperties": False,
    # Free objects, as for events.
    "properties": {"outcomes": {"type": "array", "maxItems": MOST_EVENTS, "items": {"type": "object"}}},
}
OUTCOMES: dict[str, Any] = {
    "operation_id": "accept_outcomes",
    "tags": ["outcomes"],
    "request": {JSON: {"oneOf": [OUTCOME_BATCH, OUTCOME]}},
    "responses": answers(
        {202: {"oneOf": [object_of({"results": list_of(RECEIPT)}), RECEIPT]}, 200: RECEIPT},
        400,
        409,
        411,
        413,
        415,
        422,
    ),
    "examples": [
        OpenApiExample("Three followers", value=examples.OUTCOME, request_only=True),
        OpenApiExample("A batch", value={"outcomes": [examples.OUTCOME, examples.REVENUE]}, request_only=True),
        answer("One outcome, accepted", examples.OUTCOME_ACCEPTED, 202),
        answer("A batch, each outcome with its result", examples.OUTCOME_RESULTS, 202),
        answer("One outcome, sent again", examples.OUTCOME_DUPLICATE),
    ],
}

EVIDENCE = {
    "type": "object",
    "description": f"Dollars and charges by where the amounts come from: {REPORTED}, {COMPUTED}, estimated, allocated.",
    "additionalProperties": object_of({"amount": NUMBER, "events": COUNT}),
}
POST: dict[str, Any] = {
    "operation_id": "get_post",
    "tags": ["costs"],
    "examples": [answer("A post with one call", examples.POST)],
    "parameters": [query("cursor", "The `cursor` of an earlier answer, for older lines of the audit trail.")],
    "responses": answers(
        {
            200: object_of(
                {
                    "post_id": {"type": "string"},
                    "total_cost": NUMBER,
                    "cost_breakdown": {"type": "object", "additionalProperties": NUMBER},
                    "accuracy_score": {
                        "type": "number",
                        "description": "How well described the events are, from 0.95; see `evidence` for the amounts.",
                    },
                    "accuracy_details": object_of(
                        {
                            "confidence_factors": list_of(
                                object_of(
                                    {
                                        "event_timestamp": INSTANT,
                                        "factors": list_of({"type": "string"}),
                                        "confidence": {"type": "number"},
                                    }
                                )
                            ),
                            "total_events": COUNT,
                            "high_confidence_events": COUNT,
                        }
                    ),
                    "audit_trail": list_of(
                        object_of(
                            {
                                "timestamp": INSTANT,
                                "cost_type": {"type": "string"},
                                "cost_amount": PRICED_OR_NOT,
                                "metadata": ANYTHING,
                            },
                            entry_type={"type": "string", "enum": ["adjustment"]},
                        )
                    ),
                    "truncated": {"type": "boolean"},
                    "cursor": TEXT_OR_NULL,
                    "unpriced_events": COUNT,
                    "pending_events": {**COUNT, "description": "Accepted and not booked yet."},
                    "archived_events": {
                        **COUNT,
                        "description": "Lines that only files still have; counted in all sums.",
                    },
                    "evidence": EVIDENCE,
                }
            )
        },
        404,
        422,
    ),
}
POST_SUMMARY: dict[str, Any] = {
    "operation_id": "get_post_summary",
    "tags": ["costs"],
    "examples": [answer("A cheap post", examples.POST_SUMMARY)],
    "responses": answers(
        {
            200: object_of(
                {
                    "post_id": {"type": "string"},
                    "total_cost": NUMBER,
                    "primary_cost_type": TEXT_OR_NULL,
                    "cost_efficiency_rating": {"type": "string", "enum": ["excellent", "good", "poor"]},
                    "over_alert_threshold": {"type": "boolean"},
                }
            )
        },
        404,
        422,
    ),
}
PRICE: Schema = {
    **object_of(
        {
            "amount": PRICED_OR_NOT,
            "formula": {"type": "string"},
            "components": list_of(ANYTHING),
            "price_lists": list_of({"type": "string"}),
            "resolution": ANYTHING,
            "reason": {"type": "string"},
            "price_sheet": {"type": "string", "format": "uuid"},
        }
    ),
    "nullable": True,
}
EXPLAIN: dict[str, Any] = {
    "operation_id": "explain_event",
    "tags": ["costs"],
    "examples": [answer("A call priced by its tokens", examples.EXPLANATION)],
    "parameters": [query("source", "Which source's event, where several used the same id.")],
    "responses": answers(
        {
            200: object_of(
                {
                    **{name: {"type": "string"} for name in ("event_id", "source", "cost_type", "evidence")},
                    **{name: TEXT_OR_NULL for name in ("post_id", "persona_id", "operation", "provider", "model")},
                    "timestamp": INSTANT,
                    "booked_at": INSTANT,
                    "amount": PRICED_OR_NOT,
                    "booked_amount": PRICED_OR_NOT,
                    "computed_amount": PRICED_OR_NOT,
                    "explanation": {"type": "string"},
                    "deviating": {"type": "boolean"},
                    "usage": {**ANYTHING, "nullable": True},
                    "provider_usage": {**ANYTHING, "nullable": True},
                    "price": PRICE,
                    "adjustments": list_of(
                        object_of(
                            {
                                "booked_at": INSTANT,
                                "amount": NUMBER,
                                "is_first_price": {"type": "boolean"},
                                "price": PRICE,
                            }
                        )
                    ),
                }
            )
        },
        404,
        410,
        422,
    ),
}
BREAKDOWN: dict[str, Any] = {
    "operation_id": "get_breakdown",
    "tags": ["costs"],
    "examples": [answer("A day by type and model", examples.BREAKDOWN)],
    "parameters": [
        query("start_date", "A date in `timezone`, or an RFC 3339 time.", required=True),
        query("end_date", "A date, which is included, or a time, which is not.", required=True),
        query("timezone", "An IANA name; UTC when absent."),
        query("persona_id", "Only this persona."),
        query("group_by", f"Some of {', '.join(GROUPS)}, separated by commas; cost_type when absent."),
    ],
    "responses": answers(
        {
            200: object_of(
                {
                    "start_date": INSTANT,
                    "end_date": INSTANT,
                    "timezone": {"type": "string"},
                    "total_cost": NUMBER,
                    "unpriced_events": COUNT,
                    "groups": list_of(
                        object_of(
                            {
                                "key": {"type": "object", "additionalProperties": TEXT_OR_NULL},
                                "cost": NUMBER,
                                "events": COUNT,
                            }
                        )
                    ),
                }
            )
        },
        422,
    ),
}
