"""When an incident opens, escalates and ends: one pure function, its hysteresis two numbers of the detector.

A reading that is calm starts a clock; only when all readings stay calm for the rule's `calm_for` does the incident
end. No reading at all is calm too, if it lasts for `quiet_for`: a persona that stopped spends too much no more.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerts.signal import Severity
from anomalies.detectors import Detector, Judgement


class Change(StrEnum):
    OPENED = "opened"
    ESCALATED = "escalated"
    KEPT = "kept"
    RESOLVED = "resolved"
    # What people and late data do to an incident.
    ACKNOWLEDGED = "acknowledged"
    REVISED = "revised"
    FALSE_POSITIVE = "false positive"


@dataclass(frozen=True, slots=True)
class State:
    """What is known of an open incident: the worst it has been, and since when it has been calm."""

    severity: Severity
    calm_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and the state that follows; None: there is no incident (any more)."""

    change: Change | None
    state: State | None


def step(state: State | None, judgement: Judgement | None, detector: Detector, at: datetime) -> Step:
    """One look at one subject."""
    severity = judgement.severity if judgement else None
    if state is None:
        return Step(Change.OPENED, State(severity)) if severity else Step(None, None)
    if severity and severity.rank > state.severity.rank:
        return Step(Change.ESCALATED, State(severity))
    if judgement and not judgement.is_calm:
        return Step(Change.KEPT, State(state.severity))
    calm_since = state.calm_since or at
    if at - calm_since >= (detector.calm_for if judgement else max(detector.calm_for, detector.quiet_for)):
        return Step(Change.RESOLVED, None)
    return Step(Change.KEPT, State(state.severity, calm_since))
