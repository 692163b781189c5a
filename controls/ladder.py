"""How the breaker moves from level to level: one pure function of where it stands, what was read, and the rules.

It enters at the first level that the policy permits, goes up one level when the present one does not help, and comes
down one level at a time once every trigger has been calm for long enough. Its hysteresis: 1 enters, `leave` is calm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from alerts.signal import Severity

ENTER = Decimal(1)
# A trigger that only accumulates stays where it is even when a level helps: not helping means that it grew so much.
GROWTH = Decimal("1.05")
# Of what a budget had left when the level began.
SHARE_OF_REST = Decimal("0.25")
# A renewal is worth a write once this share of the life is gone.
RENEWED_AFTER = 0.1


class Level(StrEnum):
    """The values of controls.models.Level, for code without models."""

    CLOSED = "closed"
    THROTTLE = "throttle"
    SWITCH = "switch"
    HALF_OPEN = "half_open"
    PAUSE = "pause"


UPWARD = (Level.THROTTLE, Level.SWITCH, Level.PAUSE)


class Change(StrEnum):
    """What a step does. All but NOTED are transitions; NOTED only moves a clock, the trigger or the reason."""

    ENTERED = "entered"
    ESCALATED = "escalated"
    TIGHTENED = "tightened"
    EASED = "eased"
    EXPIRED = "expired"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Reading:
    """One trigger of one persona. `excess` is its score over the policy's threshold: 1 and more has crossed it.

    `events` and `amount` (dollars) are what it rests on; `fresh` is the excess of what came since the level began,
    judged alone (None: too little came). A lagging trigger only accumulates and has nothing fresh; `full` is the
    excess at which a budget has nothing left. `says` is the sentence for a person.
    """

    persona_id: str
    trigger: str
    severity: Severity
    excess: Decimal
    events: int
    amount: Decimal
    fresh: Decimal | None = None
    is_lagging: bool = False
    full: Decimal | None = None
    says: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_triggered(self) -> bool:
        return self.excess >= ENTER


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy as the ladder needs it."""

    spike_from: Decimal = Decimal(3)
    budget_from: Decimal = Decimal(90)
    roi_from: Decimal = Decimal(-60)
    on_critical: bool = True
    minimum_events: int = 20
    minimum_amount: Decimal = Decimal("0.05")
    leave: Decimal = Decimal("0.7")
    calm: timedelta = timedelta(seconds=90)
    stay: timedelta = timedelta(seconds=60)
    expiry: timedelta = timedelta(hours=1)
    pause: timedelta = timedelta(hours=1)
    medium_per_minute: int = 50
    high_per_minute: int = 30
    critical_per_minute: int = 10
    throttle_requests: bool = True
    disable_expensive_models: bool = True
    pause_persona: bool = True
    alert_human_operator: bool = True
    is_observing: bool = False

    def permits(self, level: Level) -> bool:
        switches = {
            Level.THROTTLE: self.throttle_requests,
            Level.SWITCH: self.disable_expensive_models,
            Level.PAUSE: self.pause_persona,
        }
        return switches.get(level, True)

    def above(self, level: Level) -> Level | None:
        """The next level that is permitted; None: nothing is left."""
        higher = UPWARD[UPWARD.index(level) + 1 :] if level in UPWARD else UPWARD
        return next((each for each in higher if self.permits(each)), None)

    def per_minute(self, level: Level, severity: Severity) -> int | None:
        """The rate at this level; a pause carries that of the trial that follows it. None: no limit."""
        if level is Level.CLOSED or not self.throttle_requests:
            return None
        if level in (Level.HALF_OPEN, Level.PAUSE) or severity is Severity.CRITICAL:
            return self.critical_per_minute
        return self.high_per_minute if severity is Severity.HIGH else self.medium_per_minute

    def life(self, level: Level) -> timedelta | None:
        if level is Level.CLOSED:
            return None
        return self.pause if level is Level.PAUSE else self.expiry


@dataclass(frozen=True, slots=True)
class State:
    """Where the breaker stands for one persona. `excess` is that of the trigger when the level began."""

    level: Level = Level.CLOSED
    severity: Severity | None = None
    per_minute: int | None = None
    since: datetime | None = None
    expires_at: datetime | None = None
    calm_since: datetime | None = None
    excess: Decimal | None = None
    trigger: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, the state that follows, why, and the reading that caused it. Change None: nothing moved."""

    change: Change | None
    state: State
    reason: str = ""
    reading: Reading | None = None

    @property
    def is_transition(self) -> bool:
        return self.change not in (None, Change.NOTED)


def step(state: State, readings: Iterable[Reading], rules: Rules, at: datetime, *, is_complete: bool) -> Step:
    """One look at one persona. Only a complete look, one at all of its triggers, can find it calm."""
    found = list(readings)
    if state.expires_at and state.expires_at <= at and state.level is not Level.CLOSED:
        return _expire(state, rules, at)
    triggered = sorted((each for each in found if each.is_triggered), key=_badness, reverse=True)
    if state.level is Level.CLOSED:
        return _enter(state, triggered, rules, at)
    if state.level is Level.PAUSE:
        return Step(None, state)
    if triggered:
        return _hold(state, triggered, rules, at)
    if any(each.excess > rules.leave for each in found):
        return _noted(state, replace(state, calm_since=None))
    return _calm(state, rules, at) if is_complete else Step(None, state)


def _badness(reading: Reading) -> tuple[int, Decimal, str]:
    return reading.severity.rank, reading.excess, reading.trigger


def _expire(state: State, rules: Rules, at: datetime) -> Step:
    if state.level is Level.PAUSE:
        return _move(Change.EXPIRED, state, Level.HALF_OPEN, rules, at, "The pause is over: a trial begins.")
    return _move(Change.EXPIRED, state, Level.CLOSED, rules, at, "Nothing renewed it before it expired.")


def _enter(state: State, triggered: Sequence[Reading], rules: Rules, at: datetime) -> Step:
    enough = [each for each in triggered if _is_enough(each, rules)]
    if not enough:
        return Step(None, state)
    level = rules.above(Level.CLOSED)
    if level is None:
        return Step(None, state, "The policy permits no level.", enough[0])
    return _move(Change.ENTERED, state, level, rules, at, "", enough[0])


def _is_enough(reading: Reading, rules: Rules) -> bool:
    """Three times nothing is nothing: both minimums are needed."""
    return reading.events >= rules.minimum_events and reading.amount >= rules.minimum_amount


def _hold(state: State, triggered: Sequence[Reading], rules: Rules, at: datetime) -> Step:
    worst, unhelped = triggered[0], _unhelped(state, triggered, rules, at)
    if unhelped and (level := _next(state, rules)):
        return _move(Change.ESCALATED, state, level, rules, at, _why(state.level), unhelped)
    held = _renewed(replace(state, calm_since=None), rules, at)
    if state.trigger not in {each.trigger for each in triggered}:
        held = replace(held, trigger=worst.trigger, excess=worst.excess)
    worse = next((each for each in triggered if _is_enough(each, rules) and _is_tighter(state, each, rules)), None)
    if worse:
        return _tightened(state, held, worse, rules, at)
    why = f"{_why(state.level)} The policy permits nothing beyond it." if unhelped else ""
    return _noted(state, held, why, worst)


def _unhelped(state: State, triggered: Sequence[Reading], rules: Rules, at: datetime) -> Reading | None:
    """What says that the level, given its minimum stay, does not help."""
    found = next((each for each in triggered if _is_unhelped(state, each)), None)
    return found if _has_stayed(state, rules, at) else None


def _next(state: State, rules: Rules) -> Level | None:
    """A trial that failed has but one way to go."""
    if state.level is Level.HALF_OPEN:
        return Level.PAUSE if rules.permits(Level.PAUSE) else None
    return rules.above(state.level)


def _tightened(state: State, held: State, worse: Reading, rules: Rules, at: datetime) -> Step:
    tightened = replace(
        held,
        severity=worse.severity,
        per_minute=rules.per_minute(state.level, worse.severity),
        expires_at=at + rules.expiry,
        version=state.version + 1,
    )
    return Step(Change.TIGHTENED, tightened, _because(worse, f"It got worse: {_told(tightened)}."), worse)


def _why(level: Level) -> str:
    return "The trial failed." if level is Level.HALF_OPEN else f"The level {level} did not help."


def _has_stayed(state: State, rules: Rules, at: datetime) -> bool:
    return state.since is not None and at - state.since >= rules.stay


def _is_unhelped(state: State, reading: Reading) -> bool:
    """Whether it is so since the level began: old evidence does not say that the level does not help."""
    if reading.is_lagging:
        return reading.trigger == state.trigger and state.excess is not None and _has_grown(reading, state.excess)
    return reading.fresh is not None and reading.fresh >= ENTER


def _has_grown(reading: Reading, before: Decimal) -> bool:
    if reading.full is not None and before < reading.full:
        return reading.excess - before >= (reading.full - before) * SHARE_OF_REST
    return reading.excess >= before * GROWTH


def _is_tighter(state: State, reading: Reading, rules: Rules) -> bool:
    if state.level not in (Level.THROTTLE, Level.SWITCH) or state.per_minute is None:
        return False
    rate = rules.per_minute(state.level, reading.severity)
    return rate is not None and rate < state.per_minute


def _calm(state: State, rules: Rules, at: datetime) -> Step:
    if state.calm_since is None:
        return _noted(state, replace(state, calm_since=at))
    if at - state.calm_since < rules.calm or not _has_stayed(state, rules, at):
        return Step(None, state)
    is_throttled_next = state.level is Level.SWITCH and rules.permits(Level.THROTTLE)
    level = Level.THROTTLE if is_throttled_next else Level.CLOSED
    eased = _move(Change.EASED, state, level, rules, at, f"Calm for {int((at - state.calm_since).total_seconds())} s.")
    # Still calm: the next step down needs as long again.
    return eased if level is Level.CLOSED else replace(eased, state=replace(eased.state, calm_since=at))


def _move(
    change: Change, state: State, level: Level, rules: Rules, at: datetime, why: str, reading: Reading | None = None
) -> Step:
    severity = _severity(change, state, reading)
    life = rules.life(level)
    moved = State(
        level=level,
        severity=severity,
        per_minute=rules.per_minute(level, severity),
        since=at,
        expires_at=at + life if life else None,
        excess=reading.excess if reading else state.excess,
        trigger=reading.trigger if reading else state.trigger,
        version=state.version + 1,
    )
    return Step(change, moved, _because(reading, f"{why} {_told(moved).capitalize()}.".strip()), reading)


def _severity(change: Change, state: State, reading: Reading | None) -> Severity:
    """What crossed the trigger is at least medium, whatever its rule calls it; a higher level is never a milder one."""
    found = [Severity.MEDIUM]
    if reading:
        found.append(reading.severity)
    if state.severity and change is not Change.ENTERED:
        found.append(state.severity)
    return max(found, key=lambda severity: severity.rank)


def _because(reading: Reading | None, told: str) -> str:
    return f"{reading.says.rstrip('.')}. {told}" if reading and reading.says else told


def _told(state: State) -> str:
    rate = f", {state.per_minute} requests a minute" if state.per_minute else ""
    return {
        Level.CLOSED: "let through again",
        Level.THROTTLE: f"throttled{rate}",
        Level.SWITCH: f"switched to cheaper models{rate}",
        Level.HALF_OPEN: f"on trial{rate}",
        Level.PAUSE: "paused",
    }[state.level]


def _renewed(state: State, rules: Rules, at: datetime) -> State:
    renewed = at + rules.expiry
    if state.expires_at is None or renewed - state.expires_at >= rules.expiry * RENEWED_AFTER:
        return replace(state, expires_at=renewed)
    return state


def _noted(state: State, noted: State, reason: str = "", reading: Reading | None = None) -> Step:
    is_news = noted != state or bool(reason)
    return Step(Change.NOTED if is_news else None, noted, reason, reading)
