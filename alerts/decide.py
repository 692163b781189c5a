"""Whether something is said of an incident, and to whom: mute, group, repeat, route. Pure: values in, decisions out.

An incident is everything of one rule that fires for one persona. `decide` looks at it and says an event or gives the
reason why not; `after` is the state that follows. `due_at` tells when the next look can find something else.
A mute (a cause that explains it, a silence) holds back what fires, never the news that it is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from alerts import steps
from alerts.channels.base import Event
from alerts.signal import Severity

BUDGET_OVERRUN = "budget_overrun"
# What stopped everything explains whatever still fires, however badly.
STOPS = frozenset({"persona_paused"})
# What fires for the same persona explains these: they are not said beside it.
INHIBITS: Mapping[str, frozenset[str]] = {
    "cost_spike": frozenset({"cost_threshold", "learned", "burn_rate", "forecast"}),
    "persona_paused": frozenset(
        {"cost_spike", "cost_threshold", "efficiency_drop", "negative_roi", "learned", "no_data"}
    ),
    BUDGET_OVERRUN: frozenset({"forecast", "burn_rate"}),
}
# These are often the first sight of something bigger, which then explains them: they wait for it.
WAITING: Mapping[str, timedelta] = {
    "cost_threshold": timedelta(seconds=5),
    "learned": timedelta(seconds=5),
    "forecast": timedelta(seconds=60),
}
# What a cause brought about ends a while after it: these are only said if they outlive their cause by so much.
LINGERING: Mapping[str, timedelta] = {"cost_threshold": timedelta(minutes=20), "learned": timedelta(hours=2)}
# The hour in which it happened must be over before this one is seen.
SEEN_LATE: Mapping[str, timedelta] = {"learned": timedelta(minutes=65)}
# What a person does is no measurement that flaps: each time is news.
ACTS = frozenset({"emergency_override"})
URGENT = Severity.HIGH
FIRING_EVENTS = frozenset({Event.OPENED, Event.ESCALATED, Event.UNACKNOWLEDGED, Event.REPEATED})


class Reason(StrEnum):
    """Why something was not said, or not there."""

    GROUPED = "grouped"
    WAITING = "waiting"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    FLAPPING = "flapping"
    ACKNOWLEDGED = "acknowledged"
    NEVER_SAID = "never said"
    SUPERSEDED = "superseded"
    UNDERWAY = "underway"
    DIGESTED = "digested"
    ABSENT = "channel absent"
    DISABLED = "channel disabled"
    NOT_CONFIGURED = "channel not configured"
    NOWHERE = "nowhere to say it"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long until what fires is said again, and until an urgent one that nobody took is told to everybody."""

    repeat: timedelta = timedelta(hours=1)
    escalate: timedelta = timedelta(minutes=15)
    # What can wait for weeks would be a mail an hour.
    repeat_low: timedelta = timedelta(days=1)

    def again(self, severity: Severity | None) -> timedelta:
        """How long until it is said again that this still fires."""
        return max(self.repeat, self.repeat_low) if severity is Severity.LOW else self.repeat


@dataclass(frozen=True, slots=True)
class Incident:
    """What the decision needs to know. `severity` is the worst that fires now; None: nothing does any more.

    `said` is the worst that was ever said, `said_at` when it was last said that it fires. `is_told` means that the
    channels believe that it fires. `acknowledged` is the severity that somebody took; more than that is news again.
    """

    persona_id: str
    rule: str
    severity: Severity | None
    firing_since: datetime
    said: Severity | None = None
    said_at: datetime | None = None
    is_told: bool = False
    acknowledged: Severity | None = None
    escalates_at: datetime | None = None
    was_escalated: bool = False

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.acknowledged and self.severity and self.severity.rank <= self.acknowledged.rank)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Say nothing, for this reason."""

    reason: Reason
    sentence: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Say:
    event: Event
    severity: Severity


@dataclass(frozen=True, slots=True)
class Mute:
    """A silence, reduced to what it mutes: an empty persona or rule means any."""

    persona_id: str
    rule: str
    up_to: Severity
    ends_at: datetime
    owner: str
    reason: str

    def covers(self, persona_id: str, rule: str, severity: Severity) -> bool:
        return self.persona_id in ("", persona_id) and self.rule in ("", rule) and severity.rank <= self.up_to.rank


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is going on: what fires and how badly, by (persona, rule), what ended lately and when, and silences."""

    firing: Mapping[tuple[str, str], Severity] = field(default_factory=dict)
    mutes: Sequence[Mute] = ()
    ended: Mapping[tuple[str, str], datetime] = field(default_factory=dict)


def decide(incident: Incident, around: Surroundings, pace: Pace, at: datetime) -> Say | Quiet:
    """One look at one incident."""
    if incident.severity is None:
        return _ended(incident, around)
    muted = _muted(incident, incident.severity, around, at)
    return muted or _paced(incident, incident.severity, around, pace, at)


def _ended(incident: Incident, around: Surroundings) -> Say | Quiet:
    if incident.is_told and incident.said and (step := _next_step(incident, incident.said, around)):
        return Quiet(Reason.SUPERSEDED, f"It is not over: {step} goes on with it.")
    if incident.is_told and incident.said:
        return Say(Event.RESOLVED, incident.said)
    if incident.said:
        return Quiet(Reason.FLAPPING, "It ended again; that it ended was said already.")
    return Quiet(Reason.NEVER_SAID, "It ended before anything was said.")


def _next_step(incident: Incident, said: Severity, around: Surroundings) -> str | None:
    """The step that fires in place of this one, if all who heard of this one hear of it: as bad, and not silenced."""
    for step in sorted(steps.others(incident.rule)):
        severity = around.firing.get((incident.persona_id, step))
        if severity is None or severity.rank < said.rank:
            continue
        if not any(mute.covers(incident.persona_id, step, severity) for mute in around.mutes):
            return step
    return None


def _muted(incident: Incident, severity: Severity, around: Surroundings, at: datetime) -> Quiet | None:
    cause = explained_by(incident.persona_id, incident.rule, severity, around.firing)
    if cause:
        return Quiet(Reason.INHIBITED, f"{cause} fires and explains it.")
    if lingering := _lingering(incident, around, at):
        return lingering
    for mute in around.mutes:
        if mute.covers(incident.persona_id, incident.rule, severity):
            sentence = f"Silenced by {mute.owner} until {mute.ends_at:%Y-%m-%d %H:%M} UTC: {mute.reason}"
            return Quiet(Reason.SILENCED, sentence, mute.ends_at)
    return None


def _lingering(incident: Incident, around: Surroundings, at: datetime) -> Quiet | None:
    """What began under a cause that ended a moment ago and is not said yet."""
    longest = LINGERING.get(incident.rule)
    if longest is None or incident.said is not None:
        return None
    for cause, explained in INHIBITS.items():
        ended_at = around.ended.get((incident.persona_id, cause)) if incident.rule in explained else None
        begun_by = ended_at + SEEN_LATE.get(incident.rule, timedelta(0)) if ended_at else None
        if ended_at and begun_by and incident.firing_since <= begun_by and at < ended_at + longest:
            return Quiet(Reason.INHIBITED, f"{cause} explained it, and has just ended.", ended_at + longest)
    return None


def explained_by(
    persona_id: str, rule: str, severity: Severity, firing: Mapping[tuple[str, str], Severity]
) -> str | None:
    """The rule that fires and explains this one, or None: nothing is explained by what is less bad."""
    for cause, explained in INHIBITS.items():
        if rule in explained and _is_as_bad(firing.get((persona_id, cause)), severity, cause):
            return cause
    # A budget of everything that is merely warned of explains nobody's own: it must be used up, or nearly.
    if rule == BUDGET_OVERRUN and persona_id and firing.get(("", BUDGET_OVERRUN)) is Severity.CRITICAL:
        return f"{BUDGET_OVERRUN} of the whole installation"
    return None


def _is_as_bad(cause: Severity | None, severity: Severity, rule: str) -> bool:
    return cause is not None and (cause.rank >= severity.rank or rule in STOPS)


def _paced(incident: Incident, severity: Severity, around: Surroundings, pace: Pace, at: datetime) -> Say | Quiet:
    if incident.is_acknowledged:
        return Quiet(Reason.ACKNOWLEDGED, "Somebody has taken it.")
    if incident.said is None or incident.said_at is None:
        return _first(incident, severity, at)
    if not incident.is_told and _is_news_each_time(incident, around, at):
        return Say(Event.OPENED, severity)
    if severity.rank > incident.said.rank:
        return Say(Event.ESCALATED, severity)
    repeats_at = incident.said_at + pace.repeat
    if not incident.is_told and at < repeats_at:
        return Quiet(Reason.FLAPPING, f"It fires again within {pace.repeat} of its last message.", repeats_at)
    if incident.is_told and incident.escalates_at and incident.escalates_at <= at:
        return Say(Event.UNACKNOWLEDGED, severity)
    if not incident.is_told or incident.said_at + pace.again(severity) <= at:
        return Say(Event.REPEATED, severity)
    return Quiet(Reason.GROUPED, "It belongs to an incident that was said.", _next(incident, pace))


def _is_news_each_time(incident: Incident, around: Surroundings, at: datetime) -> bool:
    """A person's act, and a step that takes the place of another one: its end tells that all of them are over."""
    before = [around.ended.get((incident.persona_id, step)) for step in steps.others(incident.rule)]
    return incident.rule in ACTS or at in before


def _first(incident: Incident, severity: Severity, at: datetime) -> Say | Quiet:
    wait_ends = incident.firing_since + WAITING.get(incident.rule, timedelta(0))
    if at < wait_ends:
        return Quiet(Reason.WAITING, "It waits for what may explain it.", wait_ends)
    return Say(Event.OPENED, severity)


def after(incident: Incident, verdict: Say | Quiet, pace: Pace, at: datetime) -> Incident:
    """The state that follows. An end ends the acknowledgement too: what fires anew was taken by nobody."""
    if incident.severity is None:
        return replace(incident, is_told=False, acknowledged=None, escalates_at=None)
    if isinstance(verdict, Quiet):
        return incident
    if verdict.event is Event.UNACKNOWLEDGED:
        # After an outage of the sweep both may be due: then this was the repetition as well.
        is_repetition = incident.said_at is not None and incident.said_at + pace.repeat <= at
        said_at = at if is_repetition else incident.said_at
        return replace(incident, said_at=said_at, escalates_at=None, was_escalated=True)
    escalates_at = incident.escalates_at
    if verdict.severity.rank >= URGENT.rank and not incident.was_escalated and not escalates_at:
        escalates_at = at + pace.escalate
    said = max(incident.said or verdict.severity, verdict.severity, key=lambda severity: severity.rank)
    return replace(incident, said=said, said_at=at, is_told=True, escalates_at=escalates_at)


def due_at(incident: Incident, verdict: Say | Quiet, pace: Pace) -> datetime | None:
    """When to look again at the incident, as it is after the verdict; None: only when a signal comes."""
    if incident.severity is None:
        return None
    if isinstance(verdict, Quiet):
        return verdict.due_at
    return _next(incident, pace)


def _next(incident: Incident, pace: Pace) -> datetime | None:
    again_at = incident.said_at + pace.again(incident.severity) if incident.said_at else None
    moments = [incident.escalates_at, again_at]
    return min((moment for moment in moments if moment), default=None)


def neighbours(keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The (persona, rule) that a change of these may mute or unmute."""
    return {(persona, explained) for persona, rule in keys for explained in INHIBITS.get(rule, ())}


@dataclass(frozen=True, slots=True)
class Outlet:
    """A channel as routing sees it: `unusable` is the reason why nothing can be said there."""

    name: str
    fallback: str = ""
    unusable: Reason | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """Which channels a severity goes to; an empty persona or rule means any."""

    persona_id: str
    rule: str
    severity: Severity
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    channels: tuple[str, ...]
    refused: tuple[Quiet, ...]


def route(incident: Incident, say: Say, paths: Sequence[Path], outlets: Mapping[str, Outlet]) -> Routing:
    """Where an event is said that concerns what fires. A channel that cannot be used is replaced by its fallback.

    An urgent one that has no channel left goes to any that can be used.
    """
    severities = [say.severity]
    if say.event is Event.UNACKNOWLEDGED and say.severity is not Severity.CRITICAL:
        severities.append(Severity.CRITICAL)
    wanted = [name for severity in severities for name in _path(incident, severity, paths)]
    return resolve(wanted, outlets, is_urgent=say.severity.rank >= URGENT.rank)


def _path(incident: Incident, severity: Severity, paths: Sequence[Path]) -> tuple[str, ...]:
    fitting = [
        path
        for path in paths
        if path.severity is severity
        and path.persona_id in ("", incident.persona_id)
        and path.rule in ("", incident.rule)
    ]
    best = max(fitting, key=lambda path: (bool(path.persona_id), bool(path.rule)), default=None)
    return best.channels if best else ()


def resolve(wanted: Iterable[str], outlets: Mapping[str, Outlet], *, is_urgent: bool) -> Routing:
    """The channels that can be used in place of those that are wanted, each once, and why others cannot."""
    found: dict[str, None] = {}
    refused: dict[str, Quiet] = {}
    for name in wanted:
        for candidate in _chain(name, outlets):
            outlet = outlets.get(candidate)
            if outlet and not outlet.unusable:
                found[candidate] = None
                break
            refused[candidate] = _refusal(candidate, outlet)
    if not found and is_urgent:
        found = {name: None for name, outlet in outlets.items() if not outlet.unusable}
    if not found:
        refused[""] = Quiet(Reason.NOWHERE, "No channel of its route can be used.")
    return Routing(tuple(found), tuple(refused.values()))


def _chain(name: str, outlets: Mapping[str, Outlet]) -> list[str]:
    """A channel, its fallback, and so on; fallbacks may form a ring."""
    chain: list[str] = []
    while name and name not in chain:
        chain.append(name)
        name = outlets[name].fallback if name in outlets else ""
    return chain


def _refusal(name: str, outlet: Outlet | None) -> Quiet:
    if outlet is None or outlet.unusable is None:
        return Quiet(Reason.ABSENT, f"There is no channel {name}.")
    return Quiet(outlet.unusable, outlet.sentence)
