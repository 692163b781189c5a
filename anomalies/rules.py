"""The detectors as they are set for each persona: its own policy, else everybody's, else as shipped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from anomalies.detectors import DETECTORS, Detector
from anomalies.models import RulePolicy

EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Read once for each look: a changed policy holds from the next one on."""

    policies: Mapping[tuple[str, str], RulePolicy]

    @classmethod
    def stored(cls) -> Self:
        return cls({(policy.persona_id, policy.rule): policy for policy in RulePolicy.objects.all()})

    def of(self, rule: str, persona_id: str = EVERYBODY) -> Detector | None:
        """None: the rule is switched off for this persona."""
        policy = self.policies.get((persona_id, rule)) or self.policies.get((EVERYBODY, rule))
        if policy is None:
            return DETECTORS[rule]
        return policy.applied_to(DETECTORS[rule]) if policy.enabled else None
