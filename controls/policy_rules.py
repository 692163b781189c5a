"""The breaker's policies as the ladder needs them: a persona's own, else everybody's, else as shipped."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from controls.ladder import Rules
from controls.models import Policy
from controls.models.breaker import EVERYBODY


@dataclass(frozen=True, slots=True)
class Policies:
    """Read once for each look: a changed policy holds from the next one on."""

    rules: Mapping[str, Rules]

    @classmethod
    def stored(cls) -> Self:
        return cls({policy.persona_id: rules_of(policy) for policy in Policy.objects.all()})

    def of(self, persona_id: str) -> Rules:
        """The persona's own policy, else everybody's, else as shipped."""
        return self.rules.get(persona_id) or self.rules.get(EVERYBODY) or Rules()


def rules_of(policy: Policy) -> Rules:
    return Rules(
        spike_from=policy.spike_from,
        budget_from=policy.budget_from,
        roi_from=policy.roi_from,
        on_critical=policy.on_critical,
        minimum_events=policy.minimum_events,
        minimum_amount=policy.minimum_amount,
        leave=policy.leave,
        calm=timedelta(seconds=policy.calm_seconds),
        stay=timedelta(seconds=policy.stay_seconds),
        expiry=timedelta(seconds=policy.expiry_seconds),
        pause=timedelta(seconds=policy.pause_seconds),
        medium_per_minute=policy.medium_per_minute,
        high_per_minute=policy.high_per_minute,
        critical_per_minute=policy.critical_per_minute,
        throttle_requests=policy.throttle_requests,
        disable_expensive_models=policy.disable_expensive_models,
        pause_persona=policy.pause_persona,
        alert_human_operator=policy.alert_human_operator,
        is_observing=policy.is_observing,
    )
