"""Rules that are steps of one incident: who hears that one begins does not hear that the one before it is over."""

from collections.abc import Mapping

BREAKER = "breaker"
# Which incident of a persona a rule is a step of; of one incident at most one step fires.
INCIDENTS: Mapping[str, str] = {
    "persona_throttled": BREAKER,
    "model_switched": BREAKER,
    "persona_on_trial": BREAKER,
    "persona_paused": BREAKER,
}


def others(rule: str) -> frozenset[str]:
    """The other steps of its incident; most rules have none."""
    incident = INCIDENTS.get(rule)
    return frozenset(other for other, name in INCIDENTS.items() if name == incident and other != rule)
