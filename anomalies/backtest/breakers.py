"""The breakers of a replay: the ladder as it works live, with the limit on how many automation may pause. Pure."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from alerts.signal import Severity
from controls import ladder
from controls.breaker import BLAST_RETRY, BLAST_TIME
from controls.ladder import Level, Reading, Rules, State, Step
from controls.policy_rules import Policies


@dataclass(frozen=True, slots=True)
class Moved:
    """A step that the breaker would have taken; `is_held_back`: a person would have been asked instead."""

    at: datetime
    persona_id: str
    from_level: Level
    to_level: Level
    per_minute: int | None
    trigger: str
    severity: Severity | None
    reason: str
    is_observing: bool = False
    is_held_back: bool = False


class Breakers:
    """`may_be_paused` tells how many personas automation may pause within ten minutes of an instant."""

    def __init__(self, policies: Policies, may_be_paused: Callable[[datetime], int]) -> None:
        self._policies, self._may_be_paused = policies, may_be_paused
        self._states: dict[str, State] = {}
        self._held_back: dict[str, datetime] = {}
        self._pauses: deque[tuple[datetime, str, bool]] = deque()
        self.moved: list[Moved] = []

    def rules(self, persona_id: str) -> Rules:
        return self._policies.of(persona_id)

    def state(self, persona_id: str) -> State:
        return self._states.get(persona_id, State())

    def open(self) -> set[str]:
        """Whose breaker is not closed: they are looked at in every step."""
        return set(self._states)

    def is_acting(self, persona_id: str) -> bool:
        return persona_id in self._states and not self.rules(persona_id).is_observing

    def look(self, persona_id: str, readings: Iterable[Reading], at: datetime) -> None:
        """One look at all of its triggers."""
        state, rules = self.state(persona_id), self.rules(persona_id)
        step = ladder.step(state, readings, rules, at, is_complete=True)
        if step.is_transition and step.state.level is Level.PAUSE and self._is_held_back(persona_id, step, at):
            return
        if step.is_transition:
            self.moved.append(_moved(persona_id, state, step, rules, at))
        if step.state.level is Level.CLOSED:
            self._states.pop(persona_id, None)
        else:
            self._states[persona_id] = step.state

    def _is_held_back(self, persona_id: str, step: Step, at: datetime) -> bool:
        """Whether automation has paused as many as it may. It is tried again after some minutes, as live."""
        rules, before = self.rules(persona_id), self._held_back.get(persona_id)
        if before and at - before < max(rules.stay, BLAST_RETRY):
            return True
        while self._pauses and self._pauses[0][0] <= at - BLAST_TIME:
            self._pauses.popleft()
        others = {each for _, each, observing in self._pauses if observing == rules.is_observing} - {persona_id}
        if len(others) < self._may_be_paused(at):
            self._pauses.append((at, persona_id, rules.is_observing))
            return False
        self._held_back[persona_id] = at
        self.moved.append(_held_back(persona_id, self.state(persona_id), step, rules, at))
        return True


def _moved(persona_id: str, state: State, step: Step, rules: Rules, at: datetime) -> Moved:
    taken = step.state
    return Moved(
        at,
        persona_id,
        state.level,
        taken.level,
        per_minute=taken.per_minute,
        trigger=taken.trigger,
        severity=taken.severity,
        reason=step.reason,
        is_observing=rules.is_observing,
    )


def _held_back(persona_id: str, state: State, step: Step, rules: Rules, at: datetime) -> Moved:
    return Moved(
        at,
        persona_id,
        state.level,
        state.level,
        per_minute=state.per_minute,
        trigger=step.state.trigger,
        severity=Severity.CRITICAL,
        reason="Not paused: automation has paused as many personas as it may. A person must decide.",
        is_observing=rules.is_observing,
        is_held_back=True,
    )
