"""What the OpenAPI document says of model switches, holds, refusals and increases."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample

from controls import examples, policy_changes
from controls.bodies_controls import MINUTE
from controls.documentation import LIMIT
from controls.documentation_controls import (
    BODY,
    COUNT_OR_NULL,
    CURSOR,
    INSTANT_OR_NULL,
    NAME,
    NUMBER_OR_NULL,
    PERSONA,
    REASON,
    TEXT,
    YES,
    chosen,
    in_path,
    operation,
    page_of,
)
from controls.increases import LONGEST_INCREASE
from controls.models import Hold, Refusal
from controls.switch_lists import MOST_TARGETS
from costs.documentation import COUNT, INSTANT, JSON, NUMBER, TEXT_OR_NULL, Schema, answer, list_of, object_of, query

_CONTEXT: Schema = {"description": "Input and output together; null: as the price list has it."}
SWITCH = object_of(
    {
        "model": TEXT,
        "targets": list_of(
            object_of(
                {
                    "target": TEXT,
                    "retired_on": {"type": "string", "format": "date", "nullable": True},
                    "context_tokens": {**COUNT_OR_NULL, **_CONTEXT},
                    "is_alive": {**YES, "description": "Whether the provider still has it today (UTC)."},
                }
            )
        ),
    }
)
SWITCH_TARGETS = object_of(
    {
        "targets": {
            "type": "array",
            "maxItems": MOST_TARGETS,
            "description": "First choice first; what is retired, dearer for these tokens or too small is passed over.",
            "items": object_of(
                {"target": NAME},
                retired_on={
                    "type": "string",
                    "format": "date",
                    "nullable": True,
                    "description": "From this day on (UTC) the provider has it no more.",
                },
                context_tokens={
                    **{"type": "integer", "minimum": 1, "maximum": policy_changes.MOST, "nullable": True},
                    **_CONTEXT,
                },
            ),
        }
    }
)
INCREASE = object_of(
    {
        "id": COUNT,
        "amount": {**NUMBER, "description": "US dollars beyond the limit, in each period."},
        "reason": TEXT,
        "actor": TEXT,
        "starts_at": INSTANT,
        "expires_at": INSTANT,
        "ended_at": INSTANT_OR_NULL,
        "ended_by": TEXT_OR_NULL,
        "is_active": YES,
    }
)
NEW_INCREASE = object_of(
    {"amount": {**LIMIT, "description": "US dollars, above 0 and below a billion."}, "reason": REASON},
    expires_at={**INSTANT_OR_NULL, "description": "With an offset; this or duration_minutes is required."},
    duration_minutes={"type": "integer", "minimum": 1, "maximum": LONGEST_INCREASE // MINUTE, "nullable": True},
)
REFUSAL = object_of(
    {
        "id": COUNT,
        **dict.fromkeys(("persona_id", "post_id", "operation"), TEXT_OR_NULL),
        "model": TEXT,
        "decision": {"type": "string", "enum": list(Refusal.Decision.values)},
        "reason": TEXT,
        "budget_id": COUNT_OR_NULL,
        "amount": {**NUMBER, "description": "What the call would have cost, in US dollars."},
        "attempts": {**COUNT, "description": "How often it asked."},
        "first_at": INSTANT,
        "last_at": INSTANT,
        "admitted_at": {**INSTANT_OR_NULL, "description": "When it was let in after all."},
    }
)
HOLD = object_of(
    {
        "id": {"type": "string", "format": "uuid"},
        **dict.fromkeys(("persona_id", "post_id", "operation"), TEXT_OR_NULL),
        "cost_type": TEXT,
        "provider": TEXT_OR_NULL,
        "asked_model": TEXT,
        "model": {**TEXT, "description": "The model to use; another than `asked_model` when it was switched."},
        "input_tokens": COUNT,
        "output_tokens": COUNT,
        "amount": {**NUMBER, "description": "The estimate, at the prices of `model`."},
        "asked_amount": {**NUMBER, "description": "The same at the prices of `asked_model`."},
        "actual": {**NUMBER_OR_NULL, "description": "What the event came to; null until then."},
        "asked_actual": {**NUMBER_OR_NULL, "description": "What the event had cost with `asked_model`."},
        "pending": {**NUMBER, "description": "What stays counted although the call is over."},
        "overrun": {**NUMBER, "description": "What was booked beyond what was reserved."},
        "budget_ids": list_of(COUNT),
        "observed": {**TEXT_OR_NULL, "description": "What a policy that only observes would have done."},
        "state": {"type": "string", "enum": list(Hold.State.values)},
        "created_at": INSTANT,
        "expires_at": INSTANT,
        "closed_at": INSTANT_OR_NULL,
        "closed_by": {**TEXT_OR_NULL, "description": "Null is the engine."},
        "event_id": TEXT_OR_NULL,
    }
)

LIST_SWITCHES = operation(
    "list_switches",
    "switches",
    {200: object_of({"switches": list_of(SWITCH)})},
    422,
    examples=[answer("As shipped", {"switches": [examples.SWITCH]})],
)
GET_SWITCH = operation("get_switch", "switches", {200: SWITCH}, 404, parameters=[in_path("model")])
REPLACE_SWITCH = operation(
    "replace_switch",
    "switches",
    {200: SWITCH},
    *(404, *BODY),
    parameters=[in_path("model")],
    request={JSON: SWITCH_TARGETS},
    examples=[OpenApiExample("One target", value={"targets": [{"target": "gpt-4o-mini"}]}, request_only=True)],
)
LIST_REFUSALS = operation(
    "list_refusals",
    "holds",
    page_of("refusals", REFUSAL),
    422,
    parameters=[
        PERSONA,
        chosen("decision", "Only of this kind.", list(Refusal.Decision.values)),
        CURSOR,
    ],
    examples=[answer("A call that had to wait", {"refusals": [examples.REFUSAL], "cursor": None})],
)
LIST_HOLDS = operation(
    "list_holds",
    "holds",
    page_of("holds", HOLD),
    422,
    parameters=[
        PERSONA,
        query("post_id", "Only of this post."),
        chosen("state", "Only in this state.", list(Hold.State.values)),
        query("pending", "Only those of which something stays counted.", kind=OpenApiTypes.BOOL),
        CURSOR,
    ],
    examples=[answer("A call that was switched", {"holds": [examples.HOLD], "cursor": None})],
)
WRITE_OFF = operation(
    "write_off_hold",
    "holds",
    {200: HOLD},
    *(404, 409),
    parameters=[in_path("hold_id", OpenApiTypes.UUID)],
    request=None,
)
_BUDGET_ID = in_path("budget_id", OpenApiTypes.INT64)
LIST_INCREASES = operation(
    "list_increases",
    "budgets",
    page_of("increases", INCREASE),
    *(404, 422),
    parameters=[_BUDGET_ID, CURSOR],
    examples=[answer("One in force", {"increases": [examples.INCREASE], "cursor": None})],
)
MAKE_INCREASE = operation(
    "make_increase",
    "budgets",
    {201: INCREASE},
    *(404, 409, *BODY),
    parameters=[_BUDGET_ID],
    request={JSON: NEW_INCREASE},
    examples=[
        OpenApiExample("$50 more for two days", value=examples.NEW_INCREASE, request_only=True),
        answer("In force", examples.INCREASE, 201),
    ],
)
END_INCREASE = operation(
    "end_increase",
    "budgets",
    {200: INCREASE},
    404,
    parameters=[_BUDGET_ID, in_path("increase_id", OpenApiTypes.INT64)],
    request=None,
)
