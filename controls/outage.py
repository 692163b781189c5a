"""While Postgres does not answer: hard budgets refuse, soft ones let through and say so, and who was stopped stays so.

What it goes by was read when Postgres last answered, and is used for nothing else.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from controls import postgres
from controls.estimates import Call, Estimate
from controls.models import Budget, Control, Override
from controls.models.breaker import EVERYBODY

REMEMBERED_EVERY = 2.0
# A process that was idle for longer when the outage began knows nothing of what was decided meanwhile.
TRUSTED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ruling:
    is_let_in: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Scopes (persona, model, cost type) of hard budgets; who is held back, and who is stopped by hand, until when."""

    hard: frozenset[tuple[str, str, str]]
    held_back: dict[str, datetime]
    stopped: dict[str, datetime]


class _Last:
    memory: Memory | None = None
    read_at = 0.0


def remember(*, using: str) -> None:
    """Read what an outage will have to go by; the rows of a few tables, every ten seconds."""
    moment = time.monotonic()
    if _Last.memory is not None and moment < _Last.read_at + REMEMBERED_EVERY:
        return
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT now()")
        (at,) = cursor.fetchone()
    hard = Budget.objects.using(using).active().filter(hard=True)
    held = Control.objects.using(using).active().filter(expires_at__gt=at, is_observing=False)
    stopped = Override.objects.using(using).active(at).filter(kind=Override.Kind.FORCE_OPEN)
    _Last.memory = Memory(
        hard=frozenset(hard.values_list("persona_id", "model", "cost_type")),
        held_back={persona: until for persona, until in held.values_list("persona_id", "expires_at") if until},
        stopped=dict(stopped.values_list("persona_id", "expires_at")),
    )
    _Last.read_at = moment


def forget() -> None:
    _Last.memory, _Last.read_at = None, 0.0


def rule(call: Call, estimate: Estimate, *, at: datetime) -> Ruling:
    """What to do about a call that nobody can reserve anything for."""
    memory = _trusted()
    if memory is None:
        return Ruling(False, "The database is away, and whether a hard budget counts this call is not known.")
    if _is_stopped(memory, call.persona_id, at):
        return Ruling(False, f"The database is away, and {call.persona_id or 'everybody'} was held back before.")
    if any(
        (persona, model, cost_type) in memory.hard
        for persona in ("", call.persona_id)
        for model in ("", estimate.model, estimate.listed)
        for cost_type in ("", estimate.cost_type, estimate.sold)
    ):
        return Ruling(False, "The database is away, and a hard budget counts this call: nothing can be reserved.")
    return Ruling(True, "The database is away, and only soft budgets count this call: nothing is reserved for it.")


def _trusted() -> Memory | None:
    since = postgres.away_since()
    is_old = since is not None and _Last.read_at < since - TRUSTED_SECONDS
    return None if is_old else _Last.memory


def _is_stopped(memory: Memory, persona_id: str, at: datetime) -> bool:
    untils = [memory.stopped.get(EVERYBODY), memory.stopped.get(persona_id), memory.held_back.get(persona_id)]
    return any(until is not None and until > at for until in untils)
