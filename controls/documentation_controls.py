"""What the OpenAPI document says of the breaker, its overrides and its policies."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from controls import examples
from controls.bodies_controls import LONGEST_REASON, MINUTE
from controls.models import Level, Override, SettingChange
from controls.models.breaker import LONGEST_OVERRIDE
from controls.policy_changes import DECIMALS, SWITCHES, WHOLES
from costs.documentation import (
    ANYTHING,
    COUNT,
    INSTANT,
    JSON,
    NUMBER,
    TEXT_OR_NULL,
    Schema,
    answer,
    answers,
    list_of,
    object_of,
    query,
)

TEXT: Schema = {"type": "string"}
YES: Schema = {"type": "boolean"}
INSTANT_OR_NULL: Schema = {**INSTANT, "nullable": True}
NUMBER_OR_NULL: Schema = {"type": "number", "nullable": True}
COUNT_OR_NULL: Schema = {**COUNT, "nullable": True}
LEVEL: Schema = {"type": "string", "enum": list(Level.values)}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 100}
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_REASON, "pattern": r"\S"}
CURSOR = query("cursor", "The `cursor` of an earlier answer, for the next ones.")
ALL = query("all", "Also those that are over.", kind=OpenApiTypes.BOOL)
PERSONA = query("persona_id", "Only of this persona.")
BODY = (400, 411, 413, 415, 422)


def page_of(name: str, items: Schema) -> dict[int, Schema]:
    return {200: object_of({name: list_of(items), "cursor": TEXT_OR_NULL})}


def chosen(name: str, description: str, values: list[str]) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.QUERY, description=description, enum=values)


def in_path(name: str, kind: Any = OpenApiTypes.STR) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.PATH)


def operation(name: str, tag: str, responses: dict[int, Schema], *problems: int, **more: Any) -> dict[str, Any]:
    return {"operation_id": name, "tags": [tag], "responses": answers(responses, *problems), **more}


OVERRIDE = object_of(
    {
        "id": COUNT,
        "persona_id": {**TEXT_OR_NULL, "description": "Null is everybody."},
        "kind": {"type": "string", "enum": list(Override.Kind.values)},
        "reason": TEXT,
        "actor": TEXT,
        "starts_at": INSTANT,
        "expires_at": INSTANT,
        "ended_at": INSTANT_OR_NULL,
        "ended_by": TEXT_OR_NULL,
    }
)
OVERRIDE_OR_NULL: Schema = {**OVERRIDE, "nullable": True}
NEW_OVERRIDE = object_of(
    {
        "kind": {
            "type": "string",
            "enum": list(Override.Kind.values),
            "description": "force_open lets nothing through; force_closed and disabled let everything through that no "
            "hard budget stops, and with disabled the breaker does not watch either.",
        },
        "persona_id": {**NAME, "nullable": True, "description": "Null is everybody; it must be said."},
        "reason": REASON,
        "duration_minutes": {"type": "integer", "minimum": 1, "maximum": LONGEST_OVERRIDE // MINUTE},
    }
)
CONTROL = object_of(
    {
        "persona_id": TEXT,
        "level": {**LEVEL, "description": "Where the breaker stands now."},
        "obeyed_level": {
            **LEVEL,
            "description": "What decisions go by: the override's word; closed where the policy only observes.",
        },
        "per_minute": {
            **COUNT_OR_NULL,
            "description": "Requests that are let through, or will be in the trial after a pause; null: any number.",
        },
        "reason": TEXT_OR_NULL,
        "trigger": TEXT_OR_NULL,
        "severity": TEXT_OR_NULL,
        "since": INSTANT_OR_NULL,
        "expires_at": INSTANT_OR_NULL,
        "is_observing": {**YES, "description": "Whether the level is only noted."},
        "override": {**OVERRIDE_OR_NULL, "description": "The one that its calls meet: its own, or everybody's."},
    }
)
TRANSITION = object_of(
    {
        "version": COUNT,
        "from_level": LEVEL,
        "to_level": LEVEL,
        "per_minute": COUNT_OR_NULL,
        "trigger": TEXT_OR_NULL,
        "severity": TEXT_OR_NULL,
        "reason": TEXT,
        "evidence": ANYTHING,
        "actor": TEXT,
        "is_observing": YES,
        "observed_at": {**INSTANT, "description": "When the reading was taken."},
        "at": {**INSTANT, "description": "From when on decisions obeyed it."},
        "expires_at": INSTANT_OR_NULL,
    }
)
_DECIMAL: Schema = {"anyOf": [{"type": "number"}, {"type": "string"}]}
_WORDS = {
    "is_observing": "Record what would have been done and saved, and do nothing.",
    "spike_from": "Times the baseline.",
    "budget_from": "Per cent used.",
    "roi_from": "Per cent; below 0.",
    "leave": "Calm is below this share of the threshold.",
    "minimum_amount": "US dollars.",
    "minimum_events": "Fewer in the window are never acted on.",
    "calm_seconds": "It must be calm for so long before the breaker steps down.",
    "stay_seconds": "The shortest stay on a level.",
    "expiry_seconds": "A level that nothing renews ends after so long.",
}


def _number(name: str) -> Schema:
    if name == "minimum_amount":
        return {**_DECIMAL, "description": "US dollars, at least 0, with at most 12 decimals."}
    low, high, decimals = DECIMALS[name]
    words = f"{_WORDS[name]} Above {low:,} and below {high:,}, with at most {decimals} decimals."
    return {**_DECIMAL, "description": words}


def _whole(name: str) -> Schema:
    least, most = WHOLES[name]
    return {"type": "integer", "minimum": least, "maximum": most, "description": _WORDS.get(name, "")}


_SWITCHES = {name: {**YES, "description": _WORDS.get(name, "")} for name in SWITCHES}
_WHOLES = {name: _whole(name) for name in WHOLES}
POLICY = object_of(
    {
        "persona_id": {**TEXT_OR_NULL, "description": "Null is everybody's."},
        **_SWITCHES,
        **{name: {**NUMBER, "description": _WORDS[name]} for name in (*DECIMALS, "minimum_amount")},
        **_WHOLES,
    }
)
POLICY_FIELDS: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_SWITCHES,
        **{name: _number(name) for name in (*DECIMALS, "minimum_amount")},
        **_WHOLES,
    },
}
SETTING_CHANGE = object_of(
    {
        "id": COUNT,
        "kind": {"type": "string", "enum": list(SettingChange.Kind.values)},
        "name": {**TEXT_OR_NULL, "description": "The persona (null: everybody), or the dear model."},
        "content": {
            **ANYTHING,
            "nullable": True,
            "description": "All of it as it is from then on: a policy, its fractions as strings, or the list of "
            "targets. Null: it was removed.",
        },
        "actor": TEXT,
        "at": INSTANT,
    }
)
LIST_CONTROLS = operation(
    "list_controls",
    "controls",
    {200: object_of({"controls": list_of(CONTROL), "override_of_everybody": OVERRIDE_OR_NULL, "cursor": TEXT_OR_NULL})},
    422,
    parameters=[
        query("all", "Also those that the breaker let go again.", kind=OpenApiTypes.BOOL),
        query("persona_id", "Only this persona, held back or not; also one whose name is a path of its own here."),
        CURSOR,
    ],
    examples=[answer("A throttled persona while everybody is paused", examples.CONTROLS)],
)
GET_CONTROL = operation(
    "get_control",
    "controls",
    {200: CONTROL},
    404,
    parameters=[in_path("persona_id")],
    examples=[answer("A throttled persona", examples.CONTROL)],
)
LIST_TRANSITIONS = operation(
    "list_transitions",
    "controls",
    page_of("transitions", TRANSITION),
    *(404, 422),
    parameters=[in_path("persona_id"), CURSOR],
    examples=[answer("A first step", {"transitions": [examples.TRANSITION], "cursor": None})],
)
LIST_OVERRIDES = operation(
    "list_overrides",
    "overrides",
    page_of("overrides", OVERRIDE),
    422,
    parameters=[ALL, PERSONA, CURSOR],
    examples=[answer("Everybody is paused", {"overrides": [examples.OVERRIDE], "cursor": None})],
)
MAKE_OVERRIDE = operation(
    "make_override",
    "overrides",
    {201: OVERRIDE},
    *BODY,
    request={JSON: NEW_OVERRIDE},
    examples=[
        OpenApiExample("Pause everything", value=examples.NEW_OVERRIDE, request_only=True),
        answer("In force", examples.OVERRIDE, 201),
    ],
)
_OVERRIDE_ID = in_path("override_id", OpenApiTypes.INT64)
GET_OVERRIDE = operation("get_override", "overrides", {200: OVERRIDE}, 404, parameters=[_OVERRIDE_ID])
END_OVERRIDE = operation("end_override", "overrides", {200: OVERRIDE}, 404, parameters=[_OVERRIDE_ID], request=None)
LIST_POLICIES = operation(
    "list_policies",
    "policies",
    page_of("policies", POLICY),
    422,
    parameters=[CURSOR],
    examples=[answer("As shipped", {"policies": [examples.POLICY], "cursor": None})],
)
_SET: dict[str, Any] = {"request": {JSON: POLICY_FIELDS}}
_OF_ONE: dict[str, Any] = {"parameters": [in_path("persona_id")]}
REPLACE_EVERYBODYS_POLICY = operation("replace_policy_of_everybody", "policies", {200: POLICY}, *BODY, **_SET)
CHANGE_EVERYBODYS_POLICY = operation("change_policy_of_everybody", "policies", {200: POLICY}, *BODY, **_SET)
GET_POLICY = operation("get_policy", "policies", {200: POLICY}, 404, **_OF_ONE)
REPLACE_POLICY = operation("replace_policy", "policies", {200: POLICY}, 404, *BODY, **_OF_ONE, **_SET)
CHANGE_POLICY = operation(
    "change_policy",
    "policies",
    {200: POLICY},
    *(404, *BODY),
    **_OF_ONE,
    **_SET,
    examples=[OpenApiExample("Only observe", value={"is_observing": True}, request_only=True)],
)
REMOVE_POLICY = operation("remove_policy", "policies", {200: POLICY}, 404, **_OF_ONE, request=None)
LIST_CHANGES = operation(
    "list_setting_changes",
    "policies",
    page_of("changes", SETTING_CHANGE),
    422,
    parameters=[chosen("kind", "Only of this kind.", list(SettingChange.Kind.values)), CURSOR],
    examples=[answer("A list of switches was set", {"changes": [examples.SETTING_CHANGE], "cursor": None})],
)
