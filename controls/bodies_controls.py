"""What callers send to overrides, increases, policies and model switches: strict and exact."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from controls import policy_changes
from controls.bodies import amount, number, refuse_nul
from controls.increases import LONGEST_INCREASE
from controls.models import Switch
from controls.models.breaker import LONGEST_OVERRIDE
from controls.switch_lists import MOST_TARGETS
from costs.problems import invalid

MINUTE = timedelta(minutes=1)
LONGEST_REASON = 500
# A time outside of these is a slip of the pen.
FIRST_YEAR, LAST_YEAR = 2000, 2200

Reason = Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)]
Called = Annotated[str, Meta(min_length=1, max_length=100)]
Whole = Annotated[int, Meta(ge=0, le=policy_changes.MOST)]
Maybe = bool | UnsetType


class NewOverride(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["force_open", "force_closed", "disabled"]
    # Without a default: what was left out by mistake must not pause everybody.
    persona_id: Called | None
    reason: Reason
    duration_minutes: Annotated[int, Meta(ge=1, le=LONGEST_OVERRIDE // MINUTE)]

    def __post_init__(self) -> None:
        refuse_nul(persona_id=self.persona_id, reason=self.reason)

    @property
    def duration(self) -> timedelta:
        return self.duration_minutes * MINUTE


class NewIncrease(msgspec.Struct, forbid_unknown_fields=True):
    amount: Any
    reason: Reason
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    duration_minutes: Annotated[int, Meta(ge=1, le=LONGEST_INCREASE // MINUTE)] | None = None

    def fields(self, at: datetime) -> dict[str, Any]:
        """Amount, reason and end. Raises Problem."""
        refuse_nul(reason=self.reason)
        return {"amount": amount("amount", self.amount), "reason": self.reason, "expires_at": self._end(at)}

    def _end(self, at: datetime) -> datetime:
        if (self.expires_at is None) == (self.duration_minutes is None):
            raise invalid("expires_at", "is required, or duration_minutes instead of it")
        if self.duration_minutes is not None:
            return at + self.duration_minutes * MINUTE
        assert self.expires_at is not None, "one of the two is given"
        if not FIRST_YEAR <= self.expires_at.year <= LAST_YEAR:
            raise invalid("expires_at", f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
        return self.expires_at


class PolicyFields(msgspec.Struct, forbid_unknown_fields=True):
    is_observing: Maybe = UNSET
    throttle_requests: Maybe = UNSET
    disable_expensive_models: Maybe = UNSET
    pause_persona: Maybe = UNSET
    alert_human_operator: Maybe = UNSET
    on_critical: Maybe = UNSET
    spike_from: Any = UNSET
    budget_from: Any = UNSET
    roi_from: Any = UNSET
    leave: Any = UNSET
    minimum_amount: Any = UNSET
    minimum_events: Whole | UnsetType = UNSET
    calm_seconds: Whole | UnsetType = UNSET
    stay_seconds: Whole | UnsetType = UNSET
    expiry_seconds: Whole | UnsetType = UNSET
    pause_seconds: Whole | UnsetType = UNSET
    medium_per_minute: Whole | UnsetType = UNSET
    high_per_minute: Whole | UnsetType = UNSET
    critical_per_minute: Whole | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """What was given. Raises Problem."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        for name in given.keys() - policy_changes.SWITCHES:
            if name not in policy_changes.WHOLES:
                given[name] = number(name, given[name])
            if wrong := policy_changes.fault(name, given[name]):
                raise invalid(name, wrong)
        return given


class Target(msgspec.Struct, forbid_unknown_fields=True):
    target: Called
    retired_on: date | None = None
    context_tokens: Annotated[int, Meta(ge=1, le=policy_changes.MOST)] | None = None


class SwitchTargets(msgspec.Struct, forbid_unknown_fields=True):
    targets: Annotated[list[Target], Meta(max_length=MOST_TARGETS)]

    def switches(self, model: str) -> list[Switch]:
        """Not saved yet, in their order. Raises Problem."""
        seen = {model}
        for position, each in enumerate(self.targets):
            path = f"targets[{position}].target"
            refuse_nul(**{path: each.target})
            if each.target in seen:
                raise invalid(path, "must be another model than the dear one, and come once")
            seen.add(each.target)
        return [Switch(**msgspec.structs.asdict(each)) for each in self.targets]
