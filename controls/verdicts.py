"""What is said before a paid call: the decision, and everything that goes with it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Verdict(StrEnum):
    ALLOW = "allow"
    THROTTLE = "throttle"
    SWITCH = "switch"
    DENY = "deny"


class Reason(StrEnum):
    WITHIN_BUDGET = "within_budget"
    NO_BUDGET = "no_budget"
    SWITCHED = "switched"
    THROTTLED = "throttled"
    PAUSED = "paused"
    BUDGET = "budget"
    UNKNOWN_MODEL = "unknown_model"
    OVERRIDE = "override"
    BUSY = "busy"
    DATABASE_AWAY = "database_away"


@dataclass(frozen=True, slots=True)
class BudgetSeen:
    """The budget that decided, or the tightest of those that the call counts in. Amounts in US dollars."""

    id: int
    name: str
    persona_id: str
    allowed: Decimal


@dataclass(frozen=True, slots=True)
class ControlSeen:
    """Where the breaker stands for the persona, or the override that overrules it."""

    level: str
    per_minute: int | None
    until: datetime | None
    override_id: int | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A cheaper model, and what it saves of the estimate in US dollars."""

    model: str
    saves: Decimal


@dataclass(frozen=True, slots=True)
class Decision:
    """`model` is the one to use. A hold exists for what is let in, but not while the database is away.

    `retry_after` is in seconds, `remaining` what the budget has left after this call, in US dollars.
    """

    decision: Verdict
    model: str
    reason: Reason
    detail: str
    estimate: Decimal
    hold_id: UUID | None = None
    expires_at: datetime | None = None
    retry_after: Decimal | None = None
    remaining: Decimal | None = None
    resets_at: datetime | None = None
    suggestion: Suggestion | None = None
    budget: BudgetSeen | None = None
    control: ControlSeen | None = None
    observed: str = ""

    @property
    def is_let_in(self) -> bool:
        return self.decision in (Verdict.ALLOW, Verdict.SWITCH)
