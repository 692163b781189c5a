"""What alerts hear of the breaker: a notice for each level that a persona comes to, and that all is over.

The rules are steps of one incident (alerts.steps): the end of one is told only if no other takes its place.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.signal import Severity, Signal, Status
from controls.addresses import address_of
from controls.ladder import Level
from controls.models import ControlTransition

RULES = {
    Level.THROTTLE: "persona_throttled",
    Level.SWITCH: "model_switched",
    Level.HALF_OPEN: "persona_on_trial",
    Level.PAUSE: "persona_paused",
}
# Automation may pause no more personas: a person is asked to.
HELD_BACK = "pause_held_back"
DONE = {
    Level.THROTTLE: "throttled",
    Level.SWITCH: "switched to cheaper models",
    Level.HALF_OPEN: "let back in, on trial",
    Level.PAUSE: "paused",
}


def signals(transition: ControlTransition, *, is_told: bool, is_held_back: bool = False) -> Iterable[Signal]:
    """What to fire for the step: the notice of the new level, unless nobody is to be told, and the end of the others.

    Ends are always told: who heard of a level must not wait for ever for its end. But nothing is over for whoever is
    held back in silence.
    """
    standing = RULES.get(Level(transition.to_level))
    if is_held_back:
        yield _signal(transition, HELD_BACK, Status.FIRING, f"A person must decide about {transition.persona_id}")
        return
    if standing and is_told:
        yield _signal(transition, standing, Status.FIRING, _title(transition))
    for rule in _over(transition, is_told=is_told):
        if rule != standing:
            yield _signal(transition, rule, Status.RESOLVED, _title(transition))


def _over(transition: ControlTransition, *, is_told: bool) -> Iterable[str]:
    is_closed = transition.to_level == Level.CLOSED
    # A pause explains what else fires: its own notice must not outlive it, even where no other takes its place.
    yield from RULES.values() if is_told or is_closed else (RULES[Level.PAUSE],)
    # Whoever is only held tighter still waits for the person who was asked for.
    if transition.from_level != transition.to_level:
        yield HELD_BACK


def _title(transition: ControlTransition) -> str:
    done = DONE.get(Level(transition.to_level), "let back in")
    verb = "would be" if transition.is_observing else "is"
    return f"{transition.persona_id} {verb} {done}"


def _signal(transition: ControlTransition, rule: str, status: Status, title: str) -> Signal:
    return Signal(
        fingerprint=f"control-{rule}-{transition.persona_id}",
        rule=rule,
        scope={"persona_id": transition.persona_id},
        severity=Severity(transition.severity or Severity.MEDIUM),
        status=status,
        title=title,
        facts=_facts(transition),
        url=page(transition.persona_id),
        at=transition.at,
    )


def _facts(transition: ControlTransition) -> dict[str, Any]:
    facts: dict[str, Any] = {"why": transition.reason}
    if transition.per_minute and transition.to_level in (Level.THROTTLE, Level.SWITCH, Level.HALF_OPEN):
        facts["requests_a_minute"] = str(transition.per_minute)
    if transition.expires_at:
        facts["until"] = f"{transition.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if transition.is_observing:
        facts["dry_run"] = "the policy only observes: nothing was done"
    return facts


def page(persona_id: str) -> str:
    """Written out: to look it up, a worker would load all pages of the admin."""
    return f"{settings.FINOPS_PUBLIC_URL.rstrip('/')}/admin/controls/control/{quote(address_of(persona_id))}/change/"
