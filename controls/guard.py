"""For producers in Python: ask before a paid call, and give back what was reserved when no call was made.

    with guard.call("gpt-4o", persona_id="ai_jesus", input_tokens=900, output_tokens=400) as admission:
        answer = client.ask(model=admission.model, max_tokens=400)
        track_cost.delay(..., model=admission.model, usage=answer.usage, hold_id=admission.hold_id)

The same with `async with`, or as a decorator: see `guarded`. Leaving the block releases the hold, however it is left;
once an event with its hold_id was accepted, that does nothing.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.utils.timezone import now

from controls import decisions, holds
from controls.estimates import LIFE, Call
from controls.postgres import Busy
from controls.verdicts import Decision, Verdict
from costs import threads

log = logging.getLogger(__name__)

T = TypeVar("T")
NO_PATIENCE = timedelta(0)


class Refused(Exception):
    """The call must not be made now: `decision` says why, and when to ask again."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.detail)
        self.decision = decision


@dataclass(frozen=True, slots=True)
class Admission:
    """What was let in: use this model, and put this hold_id into the event (None while the database is away)."""

    model: str
    hold_id: str | None
    decision: Decision


def decide(
    model: str,
    *,
    persona_id: str = "",
    post_id: str = "",
    operation: str = "",
    input_tokens: int = 0,
    output_tokens: int = 0,
    provider: str = "",
    cost_type: str = "",
    ttl_seconds: int = int(LIFE.total_seconds()),
) -> Decision:
    """The bare decision; whoever asks this way ends the hold: by an event, or by `controls.holds.release`.

    Raises InvalidCall, a ValueError, for what can be no call.
    """
    described = Call(
        model=model,
        persona_id=persona_id,
        post_id=post_id,
        operation=operation,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        provider=provider,
        cost_type=cost_type,
        life=timedelta(seconds=ttl_seconds),
    )
    return decisions.decide(described, at=now())


class call:
    """A context manager around one paid call, sync and async. Raises Refused when it may not be made.

    `patience`: a throttled call waits for its turn so long at most. The other arguments are those of `decide`.
    """

    def __init__(self, model: str, *, patience: timedelta = NO_PATIENCE, **described: Any) -> None:
        self._decide = partial(decide, model, **described)
        self._patience = patience
        self._hold_id: UUID | None = None

    def __enter__(self) -> Admission:
        deadline = time.monotonic() + self._patience.total_seconds()
        while (waits := self._until(decision := self._decide(), deadline)) is not None:
            time.sleep(waits)
        return self._admitted(decision)

    def __exit__(self, *_: object) -> None:
        _release(self._hold_id)

    async def __aenter__(self) -> Admission:
        deadline = time.monotonic() + self._patience.total_seconds()
        while (waits := self._until(decision := await self._decided(), deadline)) is not None:
            await asyncio.sleep(waits)
        return self._admitted(decision)

    async def __aexit__(self, *_: object) -> None:
        if self._hold_id is not None:
            # Whoever is cancelled may be cancelled again: the release goes on all the same.
            await asyncio.shield(_in_thread(partial(_release, self._hold_id)))

    async def _decided(self) -> Decision:
        """Who is cancelled while asking has a hold all the same: it is given back when the answer comes."""
        asking = asyncio.ensure_future(_in_thread(self._decide))
        try:
            decision: Decision = await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(Exception):
                await asyncio.shield(_in_thread(partial(_release, (await asyncio.shield(asking)).hold_id)))
            raise
        return decision

    def _until(self, decision: Decision, deadline: float) -> float | None:
        """Seconds after which to ask again; None when it is let in. Raises Refused."""
        if decision.is_let_in:
            return None
        waits = float(decision.retry_after or 0)
        if decision.decision is Verdict.THROTTLE and time.monotonic() + waits <= deadline:
            return waits
        raise Refused(decision)

    def _admitted(self, decision: Decision) -> Admission:
        self._hold_id = decision.hold_id
        return Admission(decision.model, str(decision.hold_id) if decision.hold_id else None, decision)


def guarded(describe: Callable[..., call]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorate a function, sync or async, that makes one paid call; it gets the Admission as `admission`.

    `describe` makes the `call` of the function's own arguments:

        @guard.guarded(lambda persona, prompt: guard.call("gpt-4o", persona_id=persona, output_tokens=400))
        def write(persona, prompt, *, admission): ...
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def asked(*args: Any, **kwargs: Any) -> Any:
                async with describe(*args, **kwargs) as admission:
                    return await function(*args, **kwargs, admission=admission)
        else:

            @wraps(function)
            def asked(*args: Any, **kwargs: Any) -> Any:
                with describe(*args, **kwargs) as admission:
                    return function(*args, **kwargs, admission=admission)

        return asked  # type: ignore[return-value]  # the same but for `admission`

    return decorate


async def _in_thread(work: Callable[[], Any]) -> Any:
    return await threads.shared().run(work)


def _release(hold_id: UUID | None) -> None:
    """Without the database the hold expires by itself."""
    if hold_id is None:
        return
    try:
        holds.release(hold_id, at=now(), by="guard")
    except (OperationalError, InterfaceError, Busy) as error:
        log.warning("hold %s will expire, it could not be released: %s", hold_id, type(error).__name__)
