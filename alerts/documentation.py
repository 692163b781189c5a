"""What the OpenAPI document says of alerts: the schemas that requests and answers really have.

The few builders are those of costs, which alerts do not import.
"""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from alerts import examples
from alerts.asked import LARGEST_PAGE, LONGEST_NAME, PAGE, STATUSES
from alerts.bodies import LONGEST_REASON, LONGEST_SILENCE
from alerts.channels import TRANSPORTS
from alerts.channels.base import Event
from alerts.decide import Reason
from alerts.models import State
from alerts.signal import Severity, Status

Schema = dict[str, Any]

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": "string", "nullable": True}
INSTANT: Schema = {"type": "string", "format": "date-time"}
INSTANT_OR_NULL: Schema = {**INSTANT, "nullable": True}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
SEVERITY: Schema = {"type": "string", "enum": list(Severity)}
SEVERITY_OR_NULL: Schema = {"type": "string", "nullable": True, "enum": [*Severity, None]}


def object_of(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


PROBLEM = object_of(
    {"type": TEXT, "title": TEXT, "status": COUNT, "detail": TEXT},
    errors=list_of(object_of({"path": TEXT, "detail": TEXT})),
)
PROBLEMS = {
    400: "The body is no JSON object.",
    401: "No key, or an unknown or revoked one.",
    403: "The key lacks the scope.",
    404: "Unknown, or none of this key's personas'.",
    409: "As things stand, this cannot be done.",
    411: "The body came in chunks, without a Content-Length.",
    413: "Too much for one request.",
    415: "The body is not application/json.",
    422: "A field or parameter is wrong; the detail says which and why.",
    429: "The key's rate limit: Retry-After says when to go on.",
    503: "The database is away: Retry-After says when to try again.",
}


def answers(ok: dict[int, Schema], *problems: int) -> dict[Any, Schema]:
    """Answers by (status, media type); 401, 403, 429 and 503 may come from everywhere."""
    wrong = {
        (status, PROBLEM_JSON): {**PROBLEM, "description": PROBLEMS[status]}
        for status in sorted({401, 403, 429, 503, *problems})
    }
    return {**{(status, JSON): schema for status, schema in ok.items()}, **wrong}


def answer(name: str, value: Any, status: int = 200) -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[status])


def query(name: str, description: str, kind: Any = OpenApiTypes.STR, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


def number_in_path(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.INT64, OpenApiParameter.PATH)


INCIDENTS = [
    query("persona_id", "Only of this persona."),
    query("anomaly_type", "Only of this type, such as cost_spike."),
    query("severity", "Only of this severity.", enum=list(Severity)),
    query("status", "open when absent.", enum=list(STATUSES)),
    query("since", "Opened at this RFC 3339 time or later."),
    query("limit", f"1 to {LARGEST_PAGE}; {PAGE} when absent.", OpenApiTypes.INT),
    query("cursor", "The `cursor` of an earlier answer, for older ones."),
]
CURSOR: Schema = {**TEXT_OR_NULL, "description": "For the older ones; null at the end."}
ACKNOWLEDGEMENT: Schema = {
    **object_of({"at": INSTANT, "by": TEXT, "severity": SEVERITY}),
    "nullable": True,
    "description": "Who took it, as severe as it was then; what gets worse is said again.",
}
GROUP = {
    "id": COUNT,
    "anomaly_type": TEXT,
    "severity": {**SEVERITY, "description": "The worst that fires, or did last."},
    "status": {"type": "string", "enum": ["open", "resolved"]},
    "persona_id": {**TEXT_OR_NULL, "description": "Null is the whole installation."},
    "opened_at": INSTANT,
    "resolved_at": INSTANT_OR_NULL,
    "firing": {**COUNT, "description": "How many of its alerts fire."},
    "total": {**COUNT, "description": "How many alerts belong to it."},
    "last_said_at": {**INSTANT_OR_NULL, "description": "When it was last said that it fires; null: never."},
    "worst_said": SEVERITY_OR_NULL,
    "acknowledgement": ACKNOWLEDGEMENT,
    "escalates_at": {**INSTANT_OR_NULL, "description": "When everybody is told, if nobody takes it."},
    "escalated_at": INSTANT_OR_NULL,
    "url": {**TEXT, "description": "Its page in the admin."},
}
ALERT = object_of(
    {
        "fingerprint": TEXT,
        "title": TEXT,
        "severity": SEVERITY,
        "status": {"type": "string", "enum": [Status.FIRING, Status.RESOLVED]},
        "scope": {"type": "object", "additionalProperties": TEXT},
        "facts": ANYTHING,
        "started_at": INSTANT,
        "ended_at": INSTANT_OR_NULL,
        "url": TEXT_OR_NULL,
    }
)
DELIVERY = object_of(
    {
        "id": COUNT,
        "channel": TEXT,
        "event": {"type": "string", "enum": list(Event)},
        "state": {"type": "string", "enum": list(State.values)},
        "attempts": COUNT,
        "created_at": INSTANT,
        "due_at": INSTANT,
        "sent_at": INSTANT_OR_NULL,
        "receipt": TEXT_OR_NULL,
        "error": {**TEXT_OR_NULL, "description": "Why the last attempt failed."},
    }
)
DECISION = object_of(
    {
        "reason": {"type": "string", "enum": list(Reason)},
        "sentence": TEXT,
        "count": COUNT,
        "first_at": INSTANT,
        "last_at": INSTANT,
    }
)
WHOLE_GROUP = object_of(
    {
        **GROUP,
        "alerts": {**list_of(ALERT), "description": "The latest 100, what fires first."},
        "deliveries": {**list_of(DELIVERY), "description": "The latest 200."},
        "not_said": {**list_of(DECISION), "description": "Why something was not said, and how often."},
    }
)
CHANNEL = object_of(
    {
        "name": TEXT,
        "kind": {"type": "string", "enum": list(TRANSPORTS)},
        "usable": {"type": "boolean"},
        "why_not": {**TEXT_OR_NULL, "description": "Why nothing can be said there."},
        "disabled_at": INSTANT_OR_NULL,
        "paused_until": {**INSTANT_OR_NULL, "description": "Its receiver asked us to wait until then, or failed."},
        "fallback": {**TEXT_OR_NULL, "description": "The channel that says what this one cannot."},
        "settings": {**ANYTHING, "description": "Secrets are masked."},
    }
)
SILENCE = object_of(
    {
        "id": COUNT,
        "persona_id": {**TEXT_OR_NULL, "description": "Null: any."},
        "anomaly_type": {**TEXT_OR_NULL, "description": "Null: any."},
        "up_to": {**SEVERITY, "description": "What is worse is said all the same."},
        "starts_at": INSTANT,
        "ends_at": INSTANT,
        "owner": TEXT,
        "reason": TEXT,
        "ended_at": {**INSTANT_OR_NULL, "description": "When somebody ended it early."},
        "ended_by": TEXT_OR_NULL,
        "in_force": {"type": "boolean"},
    }
)
NEW_SILENCE = object_of(
    {"reason": {"type": "string", "minLength": 1, "maxLength": LONGEST_REASON}},
    persona_id={**TEXT_OR_NULL, "maxLength": LONGEST_NAME, "description": "Any when absent."},
    anomaly_type={**TEXT_OR_NULL, "maxLength": 100, "description": "Any when absent."},
    up_to={**SEVERITY, "description": "critical when absent: everything."},
    ends_at={**INSTANT_OR_NULL, "description": "This or duration_minutes is required."},
    duration_minutes={
        "type": "integer",
        "nullable": True,
        "minimum": 1,
        "maximum": LONGEST_SILENCE.days * 24 * 60,
    },
)
TESTED = object_of({"channel": TEXT, "delivered": {"type": "boolean"}, "receipt": TEXT_OR_NULL, "error": TEXT_OR_NULL})
_BODY = (400, 411, 413, 415, 422)

LIST_ALERTS: dict[str, Any] = {
    "operation_id": "list_alerts",
    "tags": ["alerts"],
    "parameters": INCIDENTS,
    "examples": [answer("One incident", {"alerts": [examples.GROUP], "cursor": None})],
    "responses": answers({200: object_of({"alerts": list_of(object_of(GROUP)), "cursor": CURSOR})}, 422),
}
GET_ALERT: dict[str, Any] = {
    "operation_id": "get_alert",
    "tags": ["alerts"],
    "parameters": [number_in_path("alert_id")],
    "examples": [answer("An incident", examples.WHOLE_GROUP)],
    "responses": answers({200: WHOLE_GROUP}, 404),
}
ACKNOWLEDGE_ALERT: dict[str, Any] = {
    "operation_id": "acknowledge_alert",
    "tags": ["alerts"],
    "parameters": [number_in_path("alert_id")],
    "request": None,
    "responses": answers({200: WHOLE_GROUP}, 404, 409, *_BODY),
}
LIST_SILENCES: dict[str, Any] = {
    "operation_id": "list_silences",
    "tags": ["alerts"],
    "parameters": [query("all", "Also those that are over or have not begun.", OpenApiTypes.BOOL)],
    "examples": [answer("One silence", {"silences": [examples.SILENCE]})],
    "responses": answers({200: object_of({"silences": list_of(SILENCE)})}, 422),
}
MAKE_SILENCE: dict[str, Any] = {
    "operation_id": "make_silence",
    "tags": ["alerts"],
    "request": {JSON: NEW_SILENCE},
    "examples": [
        OpenApiExample("An hour for one type of a persona", value=examples.NEW_SILENCE, request_only=True),
        answer("Made", examples.SILENCE, 201),
    ],
    "responses": answers({201: SILENCE}, *_BODY),
}
GET_SILENCE: dict[str, Any] = {
    "operation_id": "get_silence",
    "tags": ["alerts"],
    "parameters": [number_in_path("silence_id")],
    "responses": answers({200: SILENCE}, 404),
}
END_SILENCE: dict[str, Any] = {
    "operation_id": "end_silence",
    "tags": ["alerts"],
    "parameters": [number_in_path("silence_id")],
    "request": None,
    "responses": answers({200: SILENCE}, 404),
}
LIST_CHANNELS: dict[str, Any] = {
    "operation_id": "list_channels",
    "tags": ["alerts"],
    "examples": [answer("Slack", {"channels": [examples.CHANNEL]})],
    "responses": answers({200: object_of({"channels": list_of(CHANNEL)})}),
}
TEST_CHANNEL: dict[str, Any] = {
    "operation_id": "test_channel",
    "tags": ["alerts"],
    "parameters": [OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH)],
    "request": None,
    "examples": [answer("Taken", {"channel": "slack", "delivered": True, "receipt": "ok", "error": None})],
    "responses": answers({200: TESTED}, 404, *_BODY),
}
REPLAY_DELIVERY: dict[str, Any] = {
    "operation_id": "replay_delivery",
    "tags": ["alerts"],
    "parameters": [number_in_path("delivery_id")],
    "request": None,
    "responses": answers({200: DELIVERY}, 404, 409, *_BODY),
}
