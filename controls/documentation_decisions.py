"""What the OpenAPI document says of decisions and the ends of their holds."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample

from controls import examples
from controls.bodies_decisions import LONGEST_SECONDS
from controls.documentation_controls import (
    BODY,
    COUNT_OR_NULL,
    INSTANT_OR_NULL,
    LEVEL,
    NAME,
    NUMBER_OR_NULL,
    TEXT,
    in_path,
    operation,
)
from controls.estimates import LIFE, MOST_TOKENS
from controls.models import Hold
from controls.verdicts import Reason, Verdict
from costs.documentation import COUNT, INSTANT, JSON, NUMBER, TEXT_OR_NULL, Schema, answer, name_of, object_of

_TOKENS: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_TOKENS}
_SECONDS: Schema = {"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS}
CALL = object_of(
    {
        "model": {**NAME, "description": "The one that the caller wants to use."},
        "estimated_tokens": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "input_tokens": _TOKENS,
                "output_tokens": {**_TOKENS, "description": "The most that the call may bring: its max_tokens."},
            },
        },
    },
    persona_id=name_of(100, "Of a key that is bound to personas, one of them."),
    post_id=name_of(255),
    operation=name_of(100),
    provider=name_of(100, "The maker of the model when absent."),
    cost_type=name_of(100, "<provider>_api when absent."),
    ttl_seconds={**_SECONDS, "description": f"How long the estimate stays reserved; {LIFE.seconds} when absent."},
)
DECISION = object_of(
    {
        "decision": {"type": "string", "enum": list(Verdict)},
        "model": {**TEXT, "description": "The one to use: another than the asked one when the decision is switch."},
        "hold_id": {**TEXT_OR_NULL, "description": "Put it into the event of the call. Only of allow and switch."},
        "reason": {"type": "string", "enum": list(Reason)},
        "detail": {**TEXT, "description": "The reason as a sentence."},
        "retry_after": {**NUMBER_OR_NULL, "description": "Seconds after which to ask again."},
        "remaining": {**NUMBER_OR_NULL, "description": "US dollars that the budget has left, after this call."},
        "resets_at": {**INSTANT_OR_NULL, "description": "When the budget's next period begins."},
        "suggestion": {
            **object_of({"model": TEXT, "saves": NUMBER}),
            "nullable": True,
            "description": "A cheaper model that would serve, and what it saves.",
        },
        "estimate": {**NUMBER, "description": "US dollars that the call may cost."},
        "expires_at": {**INSTANT_OR_NULL, "description": "Until when the estimate is reserved."},
        "budget": {
            **object_of({"id": COUNT, "name": TEXT, "allowed": NUMBER}),
            "nullable": True,
            "description": "The budget that refused, or the one that binds first.",
        },
        "control": {
            **object_of(
                {
                    "level": LEVEL,
                    "per_minute": COUNT_OR_NULL,
                    "until": INSTANT_OR_NULL,
                    "override_id": COUNT_OR_NULL,
                }
            ),
            "nullable": True,
            "description": "The breaker's level for the persona, or the override in force.",
        },
        "observed": {**TEXT_OR_NULL, "description": "What a policy that only observes would have done."},
    }
)
HOLD = object_of(
    {
        "hold_id": TEXT,
        "state": {"type": "string", "enum": list(Hold.State.values)},
        "amount": NUMBER,
        "expires_at": INSTANT,
    }
)
_PATH = [in_path("hold_id", OpenApiTypes.UUID)]


DECIDE: dict[str, Any] = operation(
    "decide",
    "decisions",
    {200: DECISION},
    *BODY,
    examples=[
        OpenApiExample("A call of gpt-4o", value=examples.CALL, request_only=True),
        answer("Let in", examples.ALLOWED),
        answer("Refused by a hard budget", examples.DENIED),
    ],
    request={JSON: CALL},
)
RELEASE: dict[str, Any] = operation(
    "release_hold",
    "decisions",
    {200: HOLD},
    404,
    parameters=_PATH,
    request=None,
)
EXTEND: dict[str, Any] = operation(
    "extend_hold",
    "decisions",
    {200: HOLD},
    *(404, 409, *BODY),
    parameters=_PATH,
    request={JSON: object_of({"ttl_seconds": _SECONDS})},
)
