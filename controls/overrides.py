"""Overrides: a person's word over the breaker, for one persona or for all, and for a day at most.

Of each persona, and of everybody, at most one is in force: a new one ends the former. The row says who, why and until
when; that one begins and that it is over are alerts too.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from alerts.fire import fire
from alerts.signal import Severity, Signal, Status
from controls.models import Override
from controls.models.breaker import EVERYBODY, LONGEST_OVERRIDE
from controls.spending import TAKE

RULE = "emergency_override"
# Whoever begins one takes it: two at once would both find nothing to end.
LOCK = 2_400_020
EXPIRY = "expiry"
Kind = Override.Kind
SAYS = {
    Kind.FORCE_OPEN: "nothing is let through",
    Kind.FORCE_CLOSED: "the breaker holds nobody back",
    Kind.DISABLED: "the breaker does nothing and does not watch",
}


# The same of one persona.
SAYS_OF_ONE = {
    Kind.FORCE_OPEN: "nothing is let through for {}",
    Kind.FORCE_CLOSED: "the breaker does not hold {} back",
    Kind.DISABLED: "the breaker neither holds {} back nor watches",
}


class Impossible(ValueError):
    """There can be no such override: `field` is wrong, as the sentence says."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field, self.sentence = field, sentence


def begin(kind: str, persona_id: str, *, reason: str, actor: str, for_: timedelta, at: datetime) -> Override:
    """Let it hold from now on, in place of the one that did. Without a persona it is everybody's. Raises Impossible."""
    reason = reason.strip()
    _require(kind in Kind.values, "kind", f"must be one of {', '.join(Kind.values)}")
    _require(len(persona_id) <= 100, "persona_id", "must have at most 100 characters")
    _require(0 < len(reason) <= 500, "reason", "must say in 1 to 500 characters why")
    _require(timedelta(0) < for_ <= LONGEST_OVERRIDE, "duration", "must be above zero and at most 24 hours")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(TAKE, [LOCK])
        former = list(Override.objects.select_for_update().filter(persona_id=persona_id, ended_at=None).order_by("pk"))
        for each in former:
            _end(each, actor=actor, at=at)
        override = Override.objects.create(
            persona_id=persona_id, kind=kind, reason=reason, actor=actor[:200], starts_at=at, expires_at=at + for_
        )
        # One after the other: heard together, the new one would only go on with an incident that was told.
        fire(*map(_ended, former), at=at)
        fire(_begun(override), at=at)
    return override


def end(override_id: int, *, actor: str, at: datetime) -> Override:
    """Let it hold no more. Safe to do twice: it stays ended as it was. Raises Override.DoesNotExist."""
    with transaction.atomic():
        override = Override.objects.select_for_update().get(pk=override_id)
        if override.ended_at is None:
            _end(override, actor=actor, at=at)
            fire(_ended(override), at=at)
    return override


def sweep(at: datetime) -> list[Override]:
    """Note of those that ran out that they did, and say so, once; decisions have not obeyed them since they did."""
    with transaction.atomic():
        run_out = Override.objects.filter(ended_at=None, expires_at__lte=at).order_by("pk")
        found = list(run_out.select_for_update(skip_locked=True))
        for override in found:
            _end(override, actor=EXPIRY, at=at)
        fire(*map(_ended, found), at=at)
    return found


def active(at: datetime) -> list[Override]:
    """All that are in force, everybody's first."""
    return list(Override.objects.active(at).order_by("persona_id", "pk"))


def holding(persona_id: str, among: Iterable[Override]) -> Override | None:
    """Of those in force, the one that this persona's calls meet: what lets nothing through, then its own."""
    theirs = [override for override in among if override.persona_id in (EVERYBODY, persona_id)]
    return min(theirs, key=lambda each: (each.kind != Kind.FORCE_OPEN, each.persona_id == EVERYBODY), default=None)


def _require(holds: bool, field: str, sentence: str) -> None:
    if not holds:
        raise Impossible(field, sentence)


def _end(override: Override, *, actor: str, at: datetime) -> None:
    is_late = at >= override.expires_at
    override.ended_at = override.expires_at if is_late else max(at, override.starts_at)
    override.ended_by = EXPIRY if is_late else actor[:200]
    override.save(update_fields=["ended_at", "ended_by"])


def _begun(override: Override) -> Signal:
    severity = Severity.CRITICAL if override.kind == Kind.FORCE_OPEN else Severity.HIGH
    whose = "Override" if override.persona_id else "Override for everybody"
    does = effect(override)
    return _signal(override, severity, Status.FIRING, f"{whose}: {does}", does, override.starts_at)


def effect(override: Override) -> str:
    """What it does, with the name of the persona if it is one's own."""
    kind = Kind(override.kind)
    return SAYS_OF_ONE[kind].format(override.persona_id) if override.persona_id else SAYS[kind]


def _ended(override: Override) -> Signal:
    """As severe as it was: what is over is said where it was said."""
    begun = _begun(override)
    does = "the breaker decides again"
    title = f"Override for {override.persona_id or 'everybody'} is over: {does}"
    # Of two machines whose clocks differ, the end must not seem older than the beginning.
    at = max(override.ended_at or override.expires_at, override.starts_at)
    return _signal(override, begun.severity, Status.RESOLVED, title, does, at)


def _signal(override: Override, severity: Severity, status: Status, title: str, does: str, at: datetime) -> Signal:
    # The persona is told by the scope.
    facts = {} if override.persona_id else {"persona": "everybody"}
    facts |= {
        "effect": does,
        "override": override.kind,
        "by": override.actor,
        "reason": override.reason,
        "until": f"{override.expires_at:%Y-%m-%d %H:%M:%S} UTC",
    }
    if status is Status.RESOLVED:
        facts |= {"ended by": override.ended_by}
    return Signal(
        fingerprint=f"override:{override.pk}",
        rule=RULE,
        scope={"persona_id": override.persona_id} if override.persona_id else {},
        severity=severity,
        status=status,
        title=title,
        facts=facts,
        url=f"{settings.FINOPS_PUBLIC_URL.rstrip('/')}/admin/controls/override/{override.pk}/change/",
        at=at,
    )
