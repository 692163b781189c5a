"""Where personas stand at a moment: the breaker's level with its expiry read, and the override that holds for them.

The row of a persona may be a sweep behind: a pause that ran out is a trial already, any other level is over.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from controls import overrides
from controls.ladder import Level
from controls.models import Control, Override
from controls.models.breaker import EVERYBODY

Kind = Override.Kind


@dataclass(frozen=True, slots=True)
class Standing:
    """One persona. `level` is the breaker's; `obeyed` is what decisions go by, an override and a dry run considered."""

    persona_id: str
    level: Level
    per_minute: int | None
    reason: str
    trigger: str
    severity: str
    since: datetime | None
    expires_at: datetime | None
    is_observing: bool
    override: Override | None

    @classmethod
    def of(cls, control: Control, override: Override | None, at: datetime) -> Self:
        level, since, expires_at = Level(control.level), control.since, control.expires_at
        if level is not Level.CLOSED and expires_at is not None and expires_at <= at:
            level = Level.HALF_OPEN if level is Level.PAUSE else Level.CLOSED
            since, expires_at = expires_at, None
        is_closed = level is Level.CLOSED
        return cls(
            persona_id=control.persona_id,
            level=level,
            per_minute=None if is_closed else control.per_minute,
            reason=control.reason,
            trigger=control.trigger,
            severity=control.severity,
            since=since,
            expires_at=expires_at,
            is_observing=control.is_observing and not is_closed,
            override=override,
        )

    @classmethod
    def untouched(cls, persona_id: str, override: Override | None) -> Self:
        """Of a persona that the breaker never acted on."""
        return cls(persona_id, Level.CLOSED, None, "", "", "", None, None, False, override)

    @property
    def obeyed(self) -> Level:
        if self.override:
            return Level.PAUSE if self.override.kind == Kind.FORCE_OPEN else Level.CLOSED
        return Level.CLOSED if self.is_observing else self.level


def standings(personas: Iterable[str], at: datetime) -> list[Standing]:
    """In the order of the names."""
    names = list(personas)
    controls = Control.objects.in_bulk(names)
    among = overrides.active(at)
    return [_standing(name, controls, among, at) for name in names]


def _standing(name: str, controls: Mapping[str, Control], among: Collection[Override], at: datetime) -> Standing:
    override, control = overrides.holding(name, among), controls.get(name)
    return Standing.of(control, override, at) if control else Standing.untouched(name, override)


def names(at: datetime, *, is_all: bool, personas: Collection[str] | None, after: str, most: int) -> list[str]:
    """The personas that a control or an override of their own holds for, in order; `is_all`: or ever did a control."""
    controls, own = Control.objects.all(), Override.objects.active(at).exclude(persona_id=EVERYBODY)
    if not is_all:
        controls = controls.holding(at)
    if personas is not None:
        controls, own = controls.seen_by(personas), own.filter(persona_id__in=personas)
    # One order, the database's, for the page and for what follows it.
    found = controls.filter(persona_id__gt=after).values_list("persona_id", flat=True)
    both = found.union(own.filter(persona_id__gt=after).values_list("persona_id", flat=True))
    return list(both.order_by("persona_id")[:most])
