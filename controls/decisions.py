"""The decision before a paid call: allow, throttle, switch or deny, with the estimate reserved when it is let in.

All of it is one statement on Postgres' clock (controls_decide, migration 0006). What is read beforehand, prices and
model lists, is at most a second old. While Postgres does not answer, `outage` decides by what was last known.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from psycopg_pool import ConnectionPool, PoolTimeout

from controls import balances, holds, outage, postgres, switches
from controls.estimates import Call, Estimate, estimates
from controls.models import Budget, Level
from controls.postgres import DECISIONS, PASSING, Busy, connected, turn
from controls.switches import Lists
from controls.verdicts import BudgetSeen, ControlSeen, Decision, Reason, Suggestion, Verdict
from costs.caches import CONFIGURATION, PRICES
from costs.deadline import HastyConnection, NoAnswer
from costs.events import new_id
from costs.prices import current_book
from costs.pricing import PriceBook

log = logging.getLogger(__name__)

SECOND = timedelta(seconds=1)
READ_EVERY = 1.0
# More than the pause between two looks of the watch, so that it comes first; less than two, not to read more often.
EARLY_SECONDS = 0.4
WARM_UP_SECONDS = 2.0
# A period that begins needs its row first; another may begin meanwhile.
MOST_TRIES = 3


def _flag(text: str) -> bool:
    return text == "t"


def _ids(text: str) -> list[int]:
    return [int(number) for number in text.strip("{}").split(",") if number]


class _Answer(NamedTuple):
    """A row of controls_decide."""

    decision: str | None
    reason: str | None
    at: datetime
    is_switched: bool
    waits: Decimal | None
    missing: list[int] | None
    budget_id: int | None
    budget_name: str | None
    budget_persona: str | None
    allowed: Decimal | None
    remaining: Decimal | None
    resets_at: datetime | None
    fits: bool
    level: str
    per_minute: int | None
    level_until: datetime | None
    observed: str
    override_id: int | None
    override_of: str | None
    override_said: str | None


class _Read:
    """Prices and lists, read at most once a second in each process; older only while Postgres is away."""

    prices: PriceBook | None = None
    lists: Lists = {}
    lock = threading.Lock()
    stale_at = 0.0


def decide(call: Call, *, at: datetime, clock: datetime | None = None) -> Decision:
    """Decide about the call, and reserve its estimate when it is let in. Never raises for a database that is away.

    Prices go by `at`; budgets, holds and rates by Postgres' clock, in whose place tests put their own `clock`.
    """
    try:
        return _decide(call, at, clock)
    except Busy as error:
        return _busy(call, at, str(error))
    except (OperationalError, InterfaceError):
        return _without_database(call, at)


def warm_up() -> None:
    """At the start of a web process: open the connections and read what decisions go by, so that no call waits for it.

    Without a database that happens later.
    """
    try:
        connection: Any = connections[DECISIONS]
        with connection.wrap_database_errors:
            connection.pool.open(wait=True, timeout=WARM_UP_SECONDS)
        _refresh()
    except (OperationalError, InterfaceError, Busy) as error:
        log.warning("started without the database: %s", type(error.__cause__ or error).__name__)
    postgres.watch(_look)


def _look() -> None:
    """A sign of life, and what is about to be too old read anew, before somebody's call has to."""
    connection: Any = connections[DECISIONS]
    with turn(), connection.wrap_database_errors, connection.pool.connection() as asked:
        asked.execute("SELECT 1")
    _refresh(early=EARLY_SECONDS)


def forget() -> None:
    """For tests, and for whoever has just changed prices or lists."""
    _Read.stale_at = 0.0


def _decide(call: Call, at: datetime, clock: datetime | None) -> Decision:
    is_read = _refresh()
    CONFIGURATION.count(hits=not is_read, misses=is_read)
    assert _Read.prices is not None, "just read"
    known = estimates(call, at=at, prices=_Read.prices, lists=_Read.lists)
    hold_id = UUID(new_id(at))
    answer = _asked(call, known, hold_id, clock)
    if answer.reason == Reason.BUDGET and _expired(answer.at):
        # Whoever sweeps may be away: what nobody came for must not turn others down.
        answer = _asked(call, known, hold_id, clock)
    return _decision(call, known, answer, hold_id)


def _expired(at: datetime) -> int:
    with connected():
        return holds.expire(at, using=DECISIONS)


def _refresh(*, early: float = 0.0) -> bool:
    """One thread reads; the others go on with what was read before, if anything was. Returns whether this one did."""
    if time.monotonic() < _Read.stale_at - early or not _Read.lock.acquire(blocking=_Read.prices is None):
        return False
    try:
        if (moment := time.monotonic()) < _Read.stale_at - early:
            return False
        _read()
        _Read.stale_at = moment + READ_EVERY
        return True
    finally:
        _Read.lock.release()


def _read() -> None:
    if _Read.prices:
        kept, searched = _Read.prices.take_counts()
        PRICES.count(hits=kept, misses=searched)
    with connected():
        _Read.prices, _Read.lists = current_book(using=DECISIONS), switches.read(using=DECISIONS)
        outage.remember(using=DECISIONS)


# As Postgres writes a column in text, for each of _Answer.
READERS: tuple[Callable[[str], Any], ...] = (
    *(str, str, datetime.fromisoformat, _flag, Decimal, _ids, int, str, str, Decimal, Decimal, datetime.fromisoformat),
    *(_flag, str, int, datetime.fromisoformat, str, int, str, str),
)
TYPES = (
    *("timestamptz", "uuid", "text", "text", "text", "text"),
    *("text", "text", "text", "text", "text", "numeric"),
    *("text", "text", "text", "text", "text", "numeric"),
    *("bigint", "bigint", "int", "boolean", "bytea"),
)
DECIDE = f"SELECT * FROM controls_decide({', '.join(f'%s::{name}' for name in TYPES)})"
DECIDE_RAW = (
    f"SELECT * FROM controls_decide({', '.join(f'${place}::{name}' for place, name in enumerate(TYPES, 1))})".encode()
)


def _asked(call: Call, known: Sequence[Estimate], hold_id: UUID, clock: datetime | None) -> _Answer:
    names = (call.persona_id, call.post_id, call.operation)
    asked, cheap = known[0], (known[1] if len(known) > 1 else None)
    is_refused = not asked.is_known and settings.FINOPS_UNKNOWN_MODELS == "deny"
    parameters = (
        *(clock, str(hold_id), call.source, *names),
        *_columns(asked),
        *(_columns(cheap) if cheap else (None,) * 6),
        *(call.input_tokens, call.output_tokens, call.life // SECOND, is_refused, _key(*names)),
    )
    for _ in range(MOST_TRIES):
        answer = _Answer(*_row(parameters))
        if not answer.missing:
            break
        with connected():
            found = Budget.objects.using(DECISIONS).filter(pk__in=answer.missing)
            balances.begin([(budget.pk, budget.span_at(answer.at)) for budget in found], using=DECISIONS)
    return answer


def _columns(known: Estimate) -> tuple[Any, ...]:
    return known.model, known.listed, known.provider, known.cost_type, known.sold, known.amount


def _row(parameters: Sequence[Any]) -> tuple[Any, ...]:
    """Straight from the pool: to dress a connection up as Django's takes longer than the statement does.

    A connection that broke while nobody used it is noticed here, and the others with it; then it is tried once more.
    """
    connection: Any = connections[DECISIONS]
    if connection.in_atomic_block or connection.pool is None:
        with connection.cursor() as cursor:
            cursor.execute(DECIDE, parameters)
            return tuple(cursor.fetchone())
    values = [_written(value) for value in parameters]
    with turn(), connection.wrap_database_errors:
        connection.pool.open()
        try:
            return _fetched(connection.pool, values)
        except (PoolTimeout, NoAnswer):
            raise
        except psycopg.OperationalError as error:
            if error.sqlstate in PASSING:
                raise
            connection.pool.check()
            try:
                return _fetched(connection.pool, values)
            except psycopg.errors.UniqueViolation:
                # The first try was carried out, and only its answer was lost: that hold expires by itself.
                raise NoAnswer("the answer was lost with the connection") from error


def _fetched(pool: ConnectionPool[HastyConnection], values: Sequence[bytes | None]) -> tuple[Any, ...]:
    with pool.connection() as connection:
        row = connection.ask(b"decide", DECIDE_RAW, values, prepare=not settings.FINOPS_PGBOUNCER)
    return tuple(None if text is None else read(text.decode()) for read, text in zip(READERS, row, strict=True))


def _written(value: Any) -> bytes | None:
    if value is None:
        return None
    return b"\\x" + value.hex().encode() if isinstance(value, bytes) else str(value).encode()


def _key(*names: str) -> bytes:
    """Of what makes it the same call when it asks again, perhaps with a cheaper model."""
    return hashlib.blake2b("\0".join(names).encode(), digest_size=16).digest()


def _decision(call: Call, known: Sequence[Estimate], answer: _Answer, hold_id: UUID) -> Decision:
    verdict, used = Verdict(answer.decision or ""), known[answer.is_switched]
    is_let_in = verdict in (Verdict.ALLOW, Verdict.SWITCH)
    return Decision(
        decision=verdict,
        model=used.model,
        reason=Reason(answer.reason or ""),
        detail=" ".join([_detail(call, known, answer), *_why_dear(call, known, answer)]),
        estimate=used.amount,
        hold_id=hold_id if is_let_in else None,
        expires_at=answer.at + call.life if is_let_in else None,
        retry_after=None if answer.waits is None else round(answer.waits, 3),
        remaining=answer.remaining,
        resets_at=answer.resets_at,
        suggestion=_suggestion(known, answer),
        budget=_budget(answer),
        control=_control(answer),
        observed=answer.observed,
    )


def _suggestion(known: Sequence[Estimate], answer: _Answer) -> Suggestion | None:
    """A cheaper model helps who was let in with the dear one, and who was refused for want of money."""
    if len(known) < 2 or answer.is_switched or not (answer.decision == Verdict.ALLOW or answer.fits):
        return None
    return Suggestion(known[1].model, known[0].amount - known[1].amount)


def _budget(answer: _Answer) -> BudgetSeen | None:
    if answer.budget_id is None:
        return None
    return BudgetSeen(
        answer.budget_id, answer.budget_name or "", answer.budget_persona or "", answer.allowed or Decimal(0)
    )


def _control(answer: _Answer) -> ControlSeen | None:
    if answer.level == "closed" and answer.override_id is None:
        return None
    return ControlSeen(answer.level, answer.per_minute, answer.level_until, answer.override_id)


def _detail(call: Call, known: Sequence[Estimate], answer: _Answer) -> str:
    who, cost = call.persona_id or "everybody", f"${known[answer.is_switched].amount.normalize():f}"
    match answer.reason:
        case Reason.OVERRIDE:
            paused = answer.override_of or "everybody"
            return f"Paused for {paused} until {_told(answer.level_until)}, by {answer.override_said}."
        case Reason.PAUSED:
            return f"{who} is paused by the breaker until {_told(answer.level_until)}."
        case Reason.THROTTLED:
            return f"{who} is throttled to {answer.per_minute} requests a minute."
        case Reason.BUDGET:
            left = max(answer.remaining or Decimal(0), Decimal(0)).normalize()
            return f"The hard budget {answer.budget_name} has ${left:f} left, and this call may cost {cost}."
        case Reason.UNKNOWN_MODEL:
            return f"What {call.model} costs is not known, and the budget {answer.budget_name} is hard."
        case Reason.SWITCHED:
            return f"The breaker has {who} use {known[1].model} in place of {call.model}."
        case Reason.NO_BUDGET:
            return f"No budget counts this call, which may cost {cost}."
    unknown = "" if known[0].is_known else f" at the dearest price known, since that of {call.model} is not"
    return f"The call may cost {cost}{unknown}, and is within the budget {answer.budget_name}."


def _busy(call: Call, at: datetime, why: str) -> Decision:
    return Decision(
        decision=Verdict.THROTTLE,
        model=call.model,
        reason=Reason.BUSY,
        detail=f"Decisions are busy, {why}: ask again.",
        estimate=_known(call, at)[0].amount,
        retry_after=Decimal(1),
    )


def _told(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "somebody ends it"


def _why_dear(call: Call, known: Sequence[Estimate], answer: _Answer) -> list[str]:
    """Of who is to be switched and was let in all the same: what is wrong with each cheaper model."""
    is_to_be_switched = answer.level in (Level.SWITCH, Level.HALF_OPEN) and answer.decision == Verdict.ALLOW
    if not is_to_be_switched or answer.observed or _Read.prices is None:
        return []
    return switches.why_none(
        call.model,
        cost_type=known[0].cost_type,
        provider=known[0].provider or None,
        usage=call.tokens,
        at=answer.at,
        prices=_Read.prices,
        among=_Read.lists,
        asked_amount=known[0].amount,
    )


def _without_database(call: Call, at: datetime) -> Decision:
    known = _known(call, at)
    ruling = outage.rule(call, known[0], at=at)
    return Decision(
        decision=Verdict.ALLOW if ruling.is_let_in else Verdict.DENY,
        model=call.model,
        reason=Reason.DATABASE_AWAY,
        detail=ruling.detail,
        estimate=known[0].amount,
        retry_after=None if ruling.is_let_in else Decimal(1),
    )


def _known(call: Call, at: datetime) -> Sequence[Estimate]:
    return estimates(call, at=at, prices=_Read.prices or PriceBook(), lists=_Read.lists)
