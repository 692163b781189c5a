"""From looks to incidents: open, escalate, keep or end the stored anomalies, and tell alerts what changed.

One transaction at a time does this (an advisory lock), so that two processes that look at the same moment cannot open
the same incident twice; the partial unique index stands behind it. Looks come in sets of any size.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from django.db import connection, transaction

from alerts.fire import fire
from alerts.signal import Severity, Status
from anomalies import wording
from anomalies.detectors import Detector, Judgement, Reading
from anomalies.lifecycle import Change, Step, step
from anomalies.models import Anomaly, Tolerance, Transition, key_of
from anomalies.models.anomalies import tolerated_scope

log = logging.getLogger(__name__)

INCIDENTS_LOCK = 2_400_301
MARGIN = Decimal("0.1")
TOLERATED_FOR = timedelta(days=30)
SIX_PLACES, TWELVE_PLACES = Decimal("1e-6"), Decimal("1e-12")
LARGEST = Decimal("1e24")
WIDE = Context(prec=60)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """A subject that was looked at. No judgement: there was nothing to read, which is calm.

    `evidence` is only asked for when an incident opens or escalates. `reading` is what was judged.
    """

    rule: str
    detector: Detector
    scope: Mapping[str, str]
    judgement: Judgement | None
    evidence: Callable[[], Mapping[str, Any]] = dict
    reading: Reading | None = None

    @property
    def key(self) -> Key:
        return self.rule, key_of(self.scope)


def apply(looks: Iterable[Look], *, at: datetime) -> list[Anomaly]:
    """Store what the looks found and fire a signal for each incident that opened, escalated or ended; returns those.

    Runs inside the caller's transaction or opens one.
    """
    by_key = {look.key: look for look in looks}
    if not by_key:
        return []
    with transaction.atomic():
        _one_at_a_time()
        held = _open(by_key)
        tolerances = tolerances_of(by_key.values(), at)
        changes = [
            change
            for key, look in sorted(by_key.items())
            if (change := _change(held.get(key), look, tolerances, at)) is not None
        ]
        return _store(changes, at)


@dataclass(frozen=True, slots=True)
class _Change:
    anomaly: Anomaly
    look: Look
    step: Step


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [INCIDENTS_LOCK])


def _open(by_key: Mapping[Key, Look]) -> dict[Key, Anomaly]:
    rules, keys = {rule for rule, _ in by_key}, [key for _, key in by_key]
    found = Anomaly.objects.open().filter(rule__in=rules, scope_key__in=keys)
    return {(anomaly.rule, anomaly.scope_key): anomaly for anomaly in found}


def tolerances_of(looks: Iterable[Look], at: datetime) -> dict[Key, Decimal]:
    """What people called normal of the subjects of those looks that found something."""
    rules = {look.rule for look in looks if look.judgement and look.judgement.severity}
    valid = Tolerance.objects.filter(rule__in=rules, until__gt=at)
    return {(each.rule, each.scope_key): each.up_to for each in valid}


def _change(anomaly: Anomaly | None, look: Look, tolerances: Mapping[Key, Decimal], at: datetime) -> _Change | None:
    judgement = None if look.judgement and is_tolerated(look, look.judgement, tolerances) else look.judgement
    taken = step(anomaly.state if anomaly else None, judgement, look.detector, at)
    if taken.change is None:
        return None
    return _Change(_moved(anomaly or _new(look, at), look.detector, judgement, taken, at), look, taken)


def is_tolerated(look: Look, judgement: Judgement, tolerances: Mapping[Key, Decimal]) -> bool:
    up_to = tolerances.get((look.rule, key_of(tolerated_scope(look.scope))))
    if up_to is None or judgement.severity is None:
        return False
    return look.detector.measure(judgement) <= tolerated(up_to)


def tolerated(up_to: Decimal) -> Decimal:
    """As much as a person called a false alarm, and a tenth more."""
    return up_to + abs(up_to) * MARGIN


def _new(look: Look, at: datetime) -> Anomaly:
    return Anomaly(
        rule=look.rule,
        scope_key=key_of(look.scope),
        scope=dict(look.scope),
        persona_id=look.scope.get("persona_id", ""),
        post_id=look.scope.get("post_id", ""),
        opened_at=at,
        last_seen_at=at,
    )


def _moved(anomaly: Anomaly, detector: Detector, judgement: Judgement | None, taken: Step, at: datetime) -> Anomaly:
    """The numbers are those of its worst moment, as its severity is."""
    if taken.state is None:
        anomaly.resolved_at, anomaly.resolution = at, "calm again" if judgement else "nothing more came"
        return anomaly
    anomaly.severity, anomaly.calm_since = taken.state.severity, taken.state.calm_since
    anomaly.latest = _fit(judgement.current) if judgement else None
    if judgement and judgement.severity:
        anomaly.last_seen_at = max(anomaly.last_seen_at, at)
        if taken.change is Change.OPENED or detector.measure(judgement) > detector.measure(_worst(anomaly)):
            anomaly.current, anomaly.baseline = _fit(judgement.current), _fit_any(judgement.baseline)
            anomaly.score = _fit(judgement.score, SIX_PLACES)
            anomaly.multiplier = _fit_any(judgement.multiplier, SIX_PLACES)
    return anomaly


def _worst(anomaly: Anomaly) -> Judgement:
    """What was judged when the anomaly was at its worst."""
    return Judgement(
        anomaly.score, Severity(anomaly.severity), False, anomaly.current, anomaly.baseline, anomaly.multiplier
    )


def _fit(value: Decimal, places: Decimal = TWELVE_PLACES) -> Decimal:
    """Within the columns; what is larger than any of them is only known to be enormous."""
    return max(min(value, LARGEST), -LARGEST).quantize(places, context=WIDE)


def _fit_any(value: Decimal | None, places: Decimal = TWELVE_PLACES) -> Decimal | None:
    return None if value is None else _fit(value, places)


MOVED = (
    *("severity", "calm_since", "latest", "current", "baseline", "multiplier", "score"),
    *("last_seen_at", "evidence", "resolved_at", "resolution"),
)


def _store(changes: Sequence[_Change], at: datetime) -> list[Anomaly]:
    for change in changes:
        if change.step.change in (Change.OPENED, Change.ESCALATED):
            change.anomaly.evidence = {**change.look.evidence()}
    Anomaly.objects.bulk_create([each.anomaly for each in changes if each.anomaly.pk is None], batch_size=1000)
    # Of bulk_update's CASE for each row and field, Django and Postgres have ten times the work.
    Anomaly.objects.bulk_create(
        [each.anomaly for each in changes if each.step.change is not Change.OPENED],
        batch_size=500,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=MOVED,
    )
    told = [each for each in changes if each.step.change is not Change.KEPT]
    _record([(each.anomaly, each.step.change or Change.KEPT) for each in told], at)
    return [each.anomaly for each in told]


def _record(
    changed: Sequence[tuple[Anomaly, Change]], at: datetime, *, actor: str = "engine", reason: str = ""
) -> None:
    """Write down what happened, and tell alerts."""
    Transition.objects.bulk_create(
        [
            Transition(
                anomaly=anomaly,
                at=at,
                change=change,
                severity=anomaly.severity,
                current=anomaly.current,
                actor=actor,
                reason=reason or anomaly.resolution,
            )
            for anomaly, change in changed
        ],
        batch_size=1000,
    )
    if not changed:
        return
    _tell(changed)
    # Another process may have looked later and stored earlier: what is stored last is what is true.
    fire(*(wording.signal(each, _status(each), max(at, each.last_seen_at)) for each, _ in changed), at=at)


def _tell(changed: Iterable[tuple[Anomaly, Change]]) -> None:
    """One line for all of one kind: ten thousand dear posts may open at once."""
    kinds = Counter((anomaly.rule, anomaly.persona_id, anomaly.severity, change) for anomaly, change in changed)
    for (rule, persona, severity, change), count in kinds.items():
        log.info("%s %s: %d %s", severity, rule, count, change, extra={"persona_id": persona})


def _status(anomaly: Anomaly) -> Status:
    return Status.FIRING if anomaly.is_open else Status.RESOLVED


def end(anomalies: Sequence[Anomaly], *, reason: str, at: datetime) -> None:
    """End these open anomalies, whatever their readings say. Another process's end of one of them stands."""
    with transaction.atomic():
        _one_at_a_time()
        still = Anomaly.objects.open().in_bulk([anomaly.pk for anomaly in anomalies])
        for anomaly in still.values():
            anomaly.resolved_at, anomaly.resolution = at, reason
        Anomaly.objects.filter(pk__in=still).update(resolved_at=at, resolution=reason)
        _record([(anomaly, Change.RESOLVED) for anomaly in still.values()], at)


def mark_false_positive(anomaly: Anomaly, *, actor: str, at: datetime) -> None:
    """End it, and take as much as normal for this persona and rule for thirty days."""
    with transaction.atomic():
        _one_at_a_time()
        anomaly.refresh_from_db()
        anomaly.false_positive_by = actor
        if anomaly.is_open:
            anomaly.resolved_at, anomaly.resolution = at, "marked as a false positive"
        anomaly.save()
        _tolerate(anomaly, actor, at)
        _record([(anomaly, Change.FALSE_POSITIVE)], at, actor=actor, reason="marked as a false positive")


def _tolerate(anomaly: Anomaly, actor: str, at: datetime) -> None:
    scope = tolerated_scope(anomaly.scope)
    up_to = wording.detector_of(anomaly).measure(_worst(anomaly))
    Tolerance.objects.update_or_create(
        rule=anomaly.rule,
        scope_key=key_of(scope),
        defaults={
            "persona_id": anomaly.persona_id,
            "up_to": _fit(up_to, SIX_PLACES),
            "until": at + TOLERATED_FOR,
            "created_at": at,
            "created_by": actor,
            "anomaly": anomaly,
        },
    )
