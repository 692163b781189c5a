"""What callers send before a paid call: strict and exact. Refused calls hear why in a sentence."""

from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from controls.estimates import LIFE, MOST_TOKENS, Call, InvalidCall
from controls.models.holds import LONGEST_LIFE
from costs.events import Id, Name
from costs.problems import invalid

SECOND = timedelta(seconds=1)
LONGEST_SECONDS = LONGEST_LIFE // SECOND

Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
Seconds = Annotated[int, Meta(ge=1, le=LONGEST_SECONDS)]


class EstimatedTokens(msgspec.Struct, forbid_unknown_fields=True):
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class DecisionBody(msgspec.Struct, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=100)]
    estimated_tokens: EstimatedTokens
    persona_id: Name | None = None
    post_id: Id | None = None
    operation: Name | None = None
    provider: Name | None = None
    cost_type: Name | None = None
    ttl_seconds: Seconds = LIFE // SECOND

    def call(self, source: str) -> Call:
        """Raises Problem."""
        names = {
            "model": self.model,
            "persona_id": self.persona_id or "",
            "post_id": self.post_id or "",
            "operation": self.operation or "",
            "provider": self.provider or "",
            "cost_type": self.cost_type or "",
        }
        tokens = self.estimated_tokens
        try:
            return Call(
                **names,
                input_tokens=tokens.input_tokens,
                output_tokens=tokens.output_tokens,
                source=source,
                life=self.ttl_seconds * SECOND,
            )
        except InvalidCall as error:
            raise invalid(error.field, error.sentence) from None


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    ttl_seconds: Seconds
