"""The breaker of each persona: what watches it writes down the step that it wants, and a task takes it.

`observe` is the hot path: of personas that are let through and calm it writes nothing. `take` is a compare-and-set on
the row's version: a step is taken once, however often it is rung for. `sweep` finds what a lost ring left behind and
lets go what expired. Locks come in one order: incidents, groups of alerts, rows of controls in the order of personas.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from celery import current_app
from django.db import connection, models, transaction

from alerts.fire import fire
from alerts.models.deliveries import as_json
from alerts.signal import Severity
from controls import ladder, notices
from controls.ladder import Change, Level, Reading, Rules, State, Step
from controls.models import Control, ControlTransition, Override
from controls.models.breaker import EVERYBODY
from controls.policy_rules import Policies

log = logging.getLogger(__name__)

ENGINE = "engine"
TASKS = {
    Level.THROTTLE: "controls.tasks.apply_throttle",
    Level.SWITCH: "controls.tasks.switch_model",
    Level.PAUSE: "controls.tasks.pause_persona",
    Level.HALF_OPEN: "controls.tasks.resume_persona",
    Level.CLOSED: "controls.tasks.resume_persona",
}
EXPIRES_SECONDS = 10
# More at once are left to the sweep: who watches must not wait for the broker.
MOST_RINGS = 100
AT_ONCE = 500

# So many of the known personas may be paused by automation within this time, and at least one.
BLAST_SHARE = Decimal("0.2")
BLAST_TIME = timedelta(minutes=10)
BLAST_LOCK = 2_400_401
# A pause beyond that is tried again only after so long: until then a person may decide, and nothing changes.
BLAST_RETRY = timedelta(minutes=5)
KNOWN_FOR = timedelta(days=7)

LARGEST_EXCESS = Decimal(10) ** 20
SIX_PLACES = Decimal("1e-6")


def state_of(control: Control) -> State:
    return State(
        level=Level(control.level),
        severity=Severity(control.severity) if control.severity else None,
        per_minute=control.per_minute,
        since=control.since,
        expires_at=control.expires_at,
        calm_since=control.calm_since,
        excess=control.excess,
        trigger=control.trigger,
        version=control.version,
    )


def observe(
    readings: Iterable[Reading],
    *,
    at: datetime,
    complete: Collection[str] = (),
    policies: Policies | None = None,
) -> None:
    """Write the steps that these readings call for, in the caller's transaction, and ring for them after its commit.

    `complete` are the personas of which every trigger was read, so that what is not among the readings is calm. Call it
    last: decisions of a persona wait for whoever holds its row.
    """
    by_persona: dict[str, list[Reading]] = {persona: [] for persona in complete}
    for reading in readings:
        by_persona.setdefault(reading.persona_id, []).append(reading)
    if not by_persona:
        return
    controls = _looked_at(by_persona)
    policies = policies or Policies.stored()
    moved = []
    for persona, found in sorted(by_persona.items()):
        control = controls.get(persona) or Control(persona_id=persona, since=at)
        rules = policies.of(persona)
        step = _step(control, found, rules, at, is_complete=persona in complete)
        if _is_news(control, step, rules, at):
            moved.append((control, step, rules))
    if moved and (off := _disabled([control.persona_id for control, _, _ in moved], at)):
        moved = [each for each in moved if each[0].persona_id not in off]
    _write(moved, at)


def _looked_at(by_persona: Mapping[str, Sequence[Reading]]) -> dict[str, Control]:
    """The rows that a step may depend on: of those who are held back, and of those who may be."""
    crossed = [persona for persona, found in by_persona.items() if any(each.is_triggered for each in found)]
    of_these = models.Q(persona_id__in=list(by_persona)) & ~models.Q(level=Level.CLOSED)
    found = Control.objects.filter(of_these | models.Q(persona_id__in=crossed))
    return {control.persona_id: control for control in found}


def _step(control: Control, found: Sequence[Reading], rules: Rules, at: datetime, *, is_complete: bool) -> Step:
    state = state_of(control)
    if state.level is not Level.CLOSED and control.is_observing != rules.is_observing:
        # What was only noted must not begin to bite without an entry of its own, nor what bites go on silently.
        now = "now only observes" if rules.is_observing else "acts from now on"
        return Step(Change.EASED, _let_go(state, at), f"The policy {now}: it begins anew.")
    step = ladder.step(state, found, rules, at, is_complete=is_complete)
    if step.is_transition and step.state.level is Level.PAUSE and _was_held_back(control, rules, at):
        return _short_of_a_pause(state, found, rules, at)
    return step


def _short_of_a_pause(state: State, found: Sequence[Reading], rules: Rules, at: datetime) -> Step:
    """The same look without a pause: what holds back goes on, renewed, and keeps saying why it is not more."""
    step = ladder.step(state, found, replace(rules, pause_persona=False), at, is_complete=False)
    if step.is_transition:
        return step
    return Step(Change.NOTED if step.state != state else None, step.state, reading=step.reading)


def _let_go(state: State, at: datetime) -> State:
    return State(severity=state.severity, since=at, trigger=state.trigger, version=state.version + 1)


def _is_news(control: Control, step: Step, rules: Rules, at: datetime) -> bool:
    if step.change is None:
        return False
    if step.change is Change.NOTED:
        return step.state != state_of(control) or (bool(step.reason) and step.reason != control.reason)
    return (control.wanted_level, control.wanted.get("per_minute")) != (step.state.level, step.state.per_minute)


def _was_held_back(control: Control, rules: Rules, at: datetime) -> bool:
    before = control.wanted.get("held_back_at")
    return before is not None and at - datetime.fromisoformat(before) < max(rules.stay, BLAST_RETRY)


def _disabled(personas: Iterable[str], at: datetime) -> set[str]:
    """Those of the personas that an override has the breaker leave alone."""
    named = set(personas)
    active = Override.objects.active(at).filter(kind=Override.Kind.DISABLED)
    found = set(active.filter(persona_id__in=[EVERYBODY, *named]).values_list("persona_id", flat=True))
    return named if EVERYBODY in found else found


# Who came first has changed the version: then this is about a state that is gone. Nor does a note undo a wanted step
# that its look had not seen.
WRITE = """
INSERT INTO controls_control AS mine
    (persona_id, level, is_observing, trigger, severity, excess, reason, since, expires_at, calm_since, version,
     wanted_level, wanted_at, wanted)
SELECT persona_id, 'closed', false, trigger, '', excess, reason, since, expires_at, calm_since, version,
       wanted_level, wanted_at, COALESCE(wanted, '{}')
FROM jsonb_populate_recordset(NULL::controls_control, %s::jsonb)
ORDER BY persona_id
ON CONFLICT (persona_id) DO UPDATE SET
    trigger = excluded.trigger, excess = excluded.excess, reason = excluded.reason, expires_at = excluded.expires_at,
    calm_since = excluded.calm_since, wanted_level = excluded.wanted_level, wanted_at = excluded.wanted_at,
    wanted = excluded.wanted
WHERE mine.version = excluded.version AND (mine.wanted_level = '' OR excluded.wanted_level <> '')
RETURNING persona_id, version, wanted_level
"""


def _write(moved: Sequence[tuple[Control, Step, Rules]], at: datetime) -> None:
    if not moved:
        return
    wanted = {control.persona_id for control, step, _ in moved if step.is_transition}
    rows = [_row(control, step, rules, at) for control, step, rules in moved]
    with connection.cursor() as cursor:
        cursor.execute(WRITE, [as_json(rows)])
        rings = [(persona, version, Level(level)) for persona, version, level in cursor.fetchall() if persona in wanted]
    if rings:
        transaction.on_commit(partial(_ring, rings[:MOST_RINGS]))


def _row(control: Control, step: Step, rules: Rules, at: datetime) -> dict[str, Any]:
    """The row as it is, with either the wanted step or what was noted."""
    row = {
        name: getattr(control, name)
        for name in (
            *("persona_id", "trigger", "excess", "reason", "since", "expires_at", "calm_since", "version"),
            *("wanted_level", "wanted_at", "wanted"),
        )
    }
    if step.is_transition:
        return row | {"wanted_level": step.state.level, "wanted_at": at, "wanted": _wanted(control, step, rules)}
    noted = step.state
    return row | {
        "trigger": noted.trigger,
        "excess": _fit(noted.excess),
        "expires_at": noted.expires_at,
        "calm_since": noted.calm_since,
        "reason": step.reason or control.reason,
    }


def _wanted(control: Control, step: Step, rules: Rules) -> dict[str, Any]:
    state, life, present = step.state, rules.life(step.state.level), rules.life(Level(control.level))
    excess = _fit(state.excess)
    return {
        "change": step.change,
        "severity": state.severity,
        "per_minute": state.per_minute,
        "trigger": state.trigger,
        "excess": None if excess is None else str(excess),
        "reason": step.reason,
        "evidence": dict(step.reading.evidence) if step.reading else {},
        "expires_seconds": life.total_seconds() if life else None,
        "present_seconds": present.total_seconds() if present else None,
        "held_back_at": control.wanted.get("held_back_at"),
        "is_calm": state.calm_since is not None,
        "is_observing": rules.is_observing,
        "alert": rules.alert_human_operator,
    }


def _fit(excess: Decimal | None) -> Decimal | None:
    """Within its column; what is larger is only known to be enormous."""
    return None if excess is None else min(excess, LARGEST_EXCESS).quantize(SIX_PLACES)


def _ring(rings: Iterable[tuple[str, int, Level]]) -> None:
    try:
        for persona, version, level in rings:
            # By name: the task module imports this one.
            current_app.send_task(
                TASKS[level], args=[persona, version], retry=False, ignore_result=True, expires=EXPIRES_SECONDS
            )
    except Exception as error:
        log.warning("steps of the breaker wait for the sweep, the broker is away: %s", type(error).__name__)


class _Overtaken(Exception):
    """Somebody else took the step."""


def take(persona_id: str, version: int, *, at: datetime) -> ControlTransition | None:
    """Take the step that is wanted of this version of the row; None: it was taken, or may not be taken any more."""
    control = Control.objects.wanted().filter(persona_id=persona_id, version=version).first()
    if control is None:
        return None
    if not _may_still_be_taken(control, at):
        Control.objects.filter(pk=control.pk, version=version).update(wanted_level="", wanted_at=None, wanted={})
        return None
    return _carry_out(control, Control.objects.wanted().filter(pk=control.pk, version=version), at)


def _carry_out(control: Control, still: models.QuerySet[Control], at: datetime) -> ControlTransition | None:
    """The step that the control carries, if `still` finds its row as it was."""
    try:
        with transaction.atomic():
            transition = _transition(control, at)
            is_held_back = transition.to_level == Level.PAUSE and _is_beyond_the_blast(control, transition, at)
            # Before the row is touched: whoever takes groups of alerts after a row may wait in a circle.
            is_told = bool(control.wanted["alert"])
            fire(*notices.signals(transition, is_told=is_told, is_held_back=is_held_back), at=at)
            if not still.update(**_moved(control, transition, is_held_back=is_held_back)):
                raise _Overtaken
            transition.save(force_insert=True)
    except _Overtaken:
        return None
    moved = (transition.from_level, transition.to_level, transition.trigger)
    log.info("the breaker went from %s to %s: %s", *moved, extra={"persona_id": transition.persona_id})
    return transition


def _may_still_be_taken(control: Control, at: datetime) -> bool:
    """To let go is always allowed. To hold back is not, once it is old news or a person switched the breaker off."""
    if control.wanted["change"] in (Change.EASED, Change.EXPIRED):
        return True
    life = control.wanted["expires_seconds"]
    is_old = control.wanted_at is None or control.wanted_at + timedelta(seconds=float(life)) <= at
    return not is_old and not _disabled([control.persona_id], at)


def _transition(control: Control, at: datetime) -> ControlTransition:
    wanted = control.wanted
    life = wanted["expires_seconds"]
    return ControlTransition(
        persona_id=control.persona_id,
        version=control.version + 1,
        from_level=control.level,
        to_level=control.wanted_level,
        per_minute=wanted["per_minute"],
        trigger=wanted["trigger"],
        severity=wanted["severity"] or "",
        reason=wanted["reason"],
        evidence=wanted["evidence"],
        actor=ENGINE,
        is_observing=wanted["is_observing"],
        observed_at=control.wanted_at or at,
        at=at,
        expires_at=None if life is None else at + timedelta(seconds=float(life)),
    )


def _is_beyond_the_blast(control: Control, transition: ControlTransition, at: datetime) -> bool:
    """Whether automation has paused as many as it may; then the transition becomes one that stays where it is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BLAST_LOCK])
    lately = ControlTransition.objects.filter(to_level=Level.PAUSE, at__gt=at - BLAST_TIME, actor=ENGINE)
    paused = lately.filter(is_observing=transition.is_observing).exclude(persona_id=control.persona_id)
    others = paused.values("persona_id").distinct().count()
    if others < _may_be_paused(at):
        return False
    transition.to_level, transition.per_minute = control.level, control.per_minute
    transition.expires_at, transition.severity = _renewed(control, at), Severity.CRITICAL
    transition.reason = (
        f"{transition.reason} Not paused: automation has paused {others} of the personas within 10 minutes, and may"
        " pause no more. A person must decide."
    )
    return True


def _renewed(control: Control, at: datetime) -> datetime | None:
    """When the present level ends now that what called for a pause has renewed it."""
    life = control.wanted.get("present_seconds")
    return control.expires_at if life is None else at + timedelta(seconds=float(life))


def _may_be_paused(at: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT persona_id) FROM costs_hourlycost"
            " WHERE hour >= %s AND hour <= %s AND persona_id <> ''",
            [at - KNOWN_FOR, at],
        )
        return max(1, int(cursor.fetchone()[0] * BLAST_SHARE))


def _moved(control: Control, transition: ControlTransition, *, is_held_back: bool) -> dict[str, Any]:
    """What was held back keeps its level, renewed, and the moment, so that it is not tried all the time."""
    wanted, at = control.wanted, transition.at
    before = at.isoformat() if is_held_back else wanted.get("held_back_at")
    fields: dict[str, Any] = {
        "version": transition.version,
        "wanted_level": "",
        "wanted_at": None,
        "wanted": {"held_back_at": before} if before else {},
    }
    if is_held_back:
        return fields | {"reason": transition.reason, "expires_at": transition.expires_at, "calm_since": None}
    is_same_level = wanted["change"] == Change.TIGHTENED
    return fields | {
        "level": transition.to_level,
        "is_observing": transition.is_observing,
        "per_minute": transition.per_minute,
        "trigger": transition.trigger,
        "severity": transition.severity,
        "excess": control.excess if is_same_level else _number(wanted["excess"]),
        "reason": transition.reason,
        "since": control.since if is_same_level else at,
        "expires_at": transition.expires_at,
        "calm_since": at if wanted["is_calm"] else None,
    }


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def sweep(at: datetime) -> None:
    """Take the steps that nobody came for, and let go what is over. One row that fails holds up no other."""
    for persona, version in _left_behind():
        _safely(partial(take, persona, version, at=at), persona)
    if not (over := list(Control.objects.over(at).order_by("pk")[:AT_ONCE])):
        return
    policies = Policies.stored()
    for control in over:
        _safely(partial(_end, control, policies.of(control.persona_id), at), control.persona_id)


def _left_behind() -> list[tuple[str, int]]:
    return list(Control.objects.wanted().order_by("wanted_at").values_list("persona_id", "version")[:AT_ONCE])


def _end(control: Control, rules: Rules, at: datetime) -> None:
    """At once: nobody needs a ring to find it."""
    step = _step(control, (), rules, at, is_complete=False)
    if step.is_transition:
        wanted = _wanted(control, step, rules)
        control.wanted_level, control.wanted_at, control.wanted = step.state.level, at, wanted
        _carry_out(control, Control.objects.filter(pk=control.pk, version=control.version, wanted_level=""), at)


def _safely(work: Any, persona_id: str) -> None:
    try:
        work()
    except Exception:
        log.exception("the breaker of %s could not move", persona_id)
