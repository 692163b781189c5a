"""Looks in the order of time, each before its detector and the lifecycle of incidents, as live detection does. Pure.

One pass without a view of the future: what is known after any look does not depend on later ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alerts.signal import Severity
from anomalies.detectors import Detector, Judgement, Reading
from anomalies.detectors.learned_rule import Learned
from anomalies.lifecycle import Change, State, step

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Look:
    """A subject as it was at `at`. No reading: there was nothing to read, which is calm.

    `excess`: the dollars above the baseline that came since the look before; None where the value is no money.
    `spread`: how far from the baseline is still usual, where the detector knows.
    """

    at: datetime
    detector: Detector
    scope: Mapping[str, str]
    reading: Reading | None
    excess: Decimal | None = None
    spread: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people would have been told, or that ended it."""

    at: datetime
    change: Change
    severity: Severity


@dataclass(slots=True)
class Incident:
    """`severity` and the numbers are those of its worst look; `excess` is what came above the baseline from its opening
    to its end, the look that opened it left out: what stopping it at once would have saved.
    """

    scope: Mapping[str, str]
    severity: Severity
    worst: Judgement
    events: list[Event] = field(default_factory=list)
    excess: Decimal | None = None

    @property
    def opened_at(self) -> datetime:
        return self.events[0].at

    @property
    def ended_at(self) -> datetime | None:
        last = self.events[-1]
        return last.at if last.change is Change.RESOLVED else None

    @property
    def told_at(self) -> list[datetime]:
        """When somebody is alerted: it opens, or gets worse."""
        return [event.at for event in self.events if event.change is not Change.RESOLVED]


@dataclass(frozen=True, slots=True)
class Judged:
    """One look and what came of it."""

    look: Look
    judgement: Judgement | None
    change: Change | None


@dataclass(slots=True)
class Judge:
    """Holds the open incidents by subject; `incidents` are all so far, by their opening."""

    incidents: list[Incident] = field(default_factory=list)
    _open: dict[tuple[tuple[str, str], ...], tuple[State, Incident]] = field(default_factory=dict)

    def judge(self, look: Look) -> Judged:
        judgement = look.detector.inspect(look.reading) if look.reading is not None else None
        key = tuple(sorted(look.scope.items()))
        state, incident = self._open.get(key, (None, None))
        taken = step(state, judgement, look.detector, look.at)
        if taken.change is None:
            return Judged(look, judgement, None)
        if incident is None:
            assert judgement, "only a look that found something opens an incident"
            assert judgement.severity, "only a finding opens an incident"
            nothing_yet = None if look.excess is None else ZERO
            incident = Incident(look.scope, judgement.severity, judgement, excess=nothing_yet)
            self.incidents.append(incident)
        elif look.excess is not None:
            incident.excess = (incident.excess or ZERO) + max(look.excess, ZERO)
        _note(incident, judgement, taken.change, look)
        if taken.state is None:
            del self._open[key]
        else:
            self._open[key] = (taken.state, incident)
        return Judged(look, judgement, taken.change)

    def is_open(self, scope: Mapping[str, str]) -> bool:
        return tuple(sorted(scope.items())) in self._open


def _note(incident: Incident, judgement: Judgement | None, change: Change, look: Look) -> None:
    if change is not Change.KEPT:
        severity = judgement.severity if judgement and judgement.severity else incident.severity
        incident.events.append(Event(look.at, change, max(severity, incident.severity, key=lambda each: each.rank)))
        incident.severity = incident.events[-1].severity
    if judgement and look.detector.measure(judgement) > look.detector.measure(incident.worst):
        incident.worst = judgement


def unit_score(judgement: Judgement | None, detector: Detector) -> float:
    """The score as a number from 0 to 1, growing with it; the rule's first level is 0.5, nothing to judge is 0.

    The learned rule's scores are such numbers already.
    """
    if judgement is None:
        return 0.0
    if isinstance(detector, Learned):
        return float(judgement.score)
    entry = detector.levels.entry if detector.levels.entry is not None else judgement.baseline or ZERO
    distance = judgement.score - entry if not detector.levels.falling else entry - judgement.score
    beyond = float(distance / max(abs(entry), Decimal("1e-12")))
    return 0.5 + 0.5 * beyond / (1 + abs(beyond))
