"""What the OpenAPI document says of anomalies: the schemas that requests and answers really have."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from alerts.bodies import LONGEST_REASON
from alerts.documentation import (
    ACKNOWLEDGEMENT,
    ANYTHING,
    CURSOR,
    INCIDENTS,
    INSTANT,
    INSTANT_OR_NULL,
    JSON,
    SEVERITY,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    answer,
    answers,
    list_of,
    number_in_path,
    object_of,
)
from anomalies import examples
from anomalies.lifecycle import Change
from anomalies.models.anomalies import rules
from costs.documentation import COUNT

NUMBER: Schema = {"type": "number"}
NUMBER_OR_NULL: Schema = {"type": "number", "nullable": True}
ANOMALY = {
    "id": COUNT,
    "anomaly_type": {"type": "string", "enum": [name for name, _ in rules()]},
    "severity": {**SEVERITY, "description": "The worst that it has been."},
    "status": {"type": "string", "enum": ["open", "resolved"]},
    "persona_id": {**TEXT_OR_NULL, "description": "Null: it is about the whole installation."},
    "post_id": TEXT_OR_NULL,
    "scope": {"type": "object", "additionalProperties": TEXT, "description": "What exactly it is about."},
    "current": {**NUMBER, "description": "At its worst, in what its type measures; costs in US dollars."},
    "latest": {**NUMBER_OR_NULL, "description": "At the last look; null when there was nothing to look at."},
    "baseline": {**NUMBER_OR_NULL, "description": "What is normal, or the limit."},
    "multiplier": {**NUMBER_OR_NULL, "description": "current / baseline."},
    "opened_at": INSTANT,
    "last_seen_at": {**INSTANT, "description": "When it was last found, not calm."},
    "resolved_at": INSTANT_OR_NULL,
    "resolution": TEXT_OR_NULL,
    "evidence": {
        **ANYTHING,
        "description": "As of the opening or the last escalation: its window; `contributors`, the models and "
        "operations that cost most, and `events`, the dearest ones, where there are any. Amounts are decimal strings.",
    },
    "url": {**TEXT, "description": "Its page in the admin."},
}
TOLERANCE: Schema = {
    **object_of({"up_to": NUMBER, "until": INSTANT, "by": TEXT}),
    "nullable": True,
    "description": "Up to this, as its type measures, nothing is found for its type and persona until then.",
}
TRANSITION = object_of(
    {
        "at": INSTANT,
        "change": {"type": "string", "enum": list(Change)},
        "severity": SEVERITY,
        "current": NUMBER,
        "actor": TEXT,
        "reason": TEXT_OR_NULL,
    }
)
WHOLE_ANOMALY = object_of(
    {
        **ANOMALY,
        "false_positive_by": TEXT_OR_NULL,
        "alert_id": {**COUNT, "nullable": True, "description": "The incident that it was told in: GET /alerts/{id}."},
        "acknowledgement": ACKNOWLEDGEMENT,
        "tolerance": TOLERANCE,
        "transitions": {**list_of(TRANSITION), "description": "All that happened to it, oldest first."},
    }
)
NOTE: Schema = {
    "type": "object",
    "properties": {"note": {"type": "string", "maxLength": LONGEST_REASON}},
    "additionalProperties": False,
}
_BODY = (400, 411, 413, 415, 422)

LIST_ANOMALIES: dict[str, Any] = {
    "operation_id": "list_anomalies",
    "tags": ["anomalies"],
    "parameters": INCIDENTS,
    "examples": [answer("A cost spike", {"anomalies": [examples.ANOMALY], "cursor": None})],
    "responses": answers({200: object_of({"anomalies": list_of(object_of(ANOMALY)), "cursor": CURSOR})}, 422),
}
GET_ANOMALY: dict[str, Any] = {
    "operation_id": "get_anomaly",
    "tags": ["anomalies"],
    "parameters": [number_in_path("anomaly_id")],
    "examples": [answer("A cost spike", examples.WHOLE_ANOMALY)],
    "responses": answers({200: WHOLE_ANOMALY}, 404),
}
ACKNOWLEDGE_ANOMALY: dict[str, Any] = {
    "operation_id": "acknowledge_anomaly",
    "tags": ["anomalies"],
    "parameters": [number_in_path("anomaly_id")],
    "request": {JSON: NOTE},
    "examples": [OpenApiExample("With a note", value={"note": "The new hook prompt."}, request_only=True)],
    "responses": answers({200: WHOLE_ANOMALY}, 404, 409, *_BODY),
}
FALSE_POSITIVE: dict[str, Any] = {
    "operation_id": "mark_false_positive",
    "tags": ["anomalies"],
    "parameters": [number_in_path("anomaly_id")],
    "request": None,
    "responses": answers({200: WHOLE_ANOMALY}, 404, 409, *_BODY),
}
