"""Holds end: settled by the event that carries their id, released by their caller, or expired by the sweep.

A hold's row is locked before the periods of its budgets, by whoever ends it. An event that was accepted keeps its hold
until it is booked: neither release nor sweep touches that one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from controls import balances
from controls.balances import Move, Period
from controls.models import Hold, Refusal
from controls.models.holds import LONGEST_LIFE
from controls.postgres import DECISIONS, connected
from costs.booking import ADJUSTMENT, Line
from costs.events import AMOUNT_LIMIT
from costs.prices import current_book
from costs.pricing import Quantities, dearest, seller_of

AT_ONCE = 500
MOST_PENDING = AMOUNT_LIMIT / 1000
ZERO = Decimal(0)
State = Hold.State


# The period of this budget in which a line counts as spent, if it does.
Counted = Callable[[Line, int], Period | None]


class Closed(Exception):
    """The hold has ended, or its event was accepted: it cannot be extended."""


@dataclass(slots=True)
class _Held:
    """A hold's row while lines are laid to it."""

    id: UUID
    source: str
    persona_id: str
    cost_type: str
    provider: str
    asked_model: str
    model: str
    amount: Decimal
    budget_ids: list[int]
    period_starts: list[datetime]
    state: str
    event_id: str
    actual: Decimal | None
    asked_actual: Decimal | None
    pending: Decimal
    overrun: Decimal
    has_moved: bool = False

    @property
    def periods(self) -> list[Period]:
        return list(zip(self.budget_ids, self.period_starts, strict=True))

    def set_periods(self, periods: Sequence[Period]) -> None:
        self.budget_ids = [budget for budget, _ in periods]
        self.period_starts = [start for _, start in periods]
        self.has_moved = True


LOCK = """
SELECT id, source, persona_id, cost_type, provider, asked_model, model, amount, budget_ids, period_starts, state,
       event_id, actual, asked_actual, pending, overrun
FROM controls_hold WHERE id = ANY(%s) ORDER BY id FOR UPDATE
"""
KEEP = """
UPDATE controls_hold AS h SET state = t.state, closed_at = COALESCE(h.closed_at, %s), event_id = t.event_id,
    actual = t.actual, asked_actual = t.asked_actual, pending = t.pending, overrun = t.overrun
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])
    AS t(id, state, event_id, actual, asked_actual, pending, overrun)
WHERE h.id = t.id
"""


def settle(lines: Sequence[Line], *, counted: Counted, at: datetime) -> dict[Period, Move]:
    """Lay the lines to the holds that they name, in the drain's transaction; what it moves in their budgets.

    A hold settles only for its own persona and source: what names a foreign one is booked and moves no hold. `counted`
    tells in which period of a budget a line counts as spent. What a budget reserved and does not count, since the line
    names another model or an earlier time, stays pending there: else it could be spent for ever.
    """
    named = [(hold_id, line) for line in lines if (hold_id := _uuid(line.hold_id))]
    if not named:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [sorted({hold_id for hold_id, _ in named})])
        held = {row[0]: _Held(*row) for row in cursor.fetchall()}
    moves: dict[Period, Move] = defaultdict(Move)
    touched: dict[UUID, _Held] = {}
    for hold_id, line in named:
        hold = held.get(hold_id)
        if hold and (hold.source, hold.persona_id) == (line.source, line.persona_id or ""):
            _lay(line, hold, counted, moves)
            touched[hold.id] = hold
    _keep(touched.values(), at)
    return moves


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _lay(line: Line, hold: _Held, counted: Counted, moves: dict[Period, Move]) -> None:
    _weigh(hold, moves, -1)
    if line.entry_type == ADJUSTMENT:
        _correct(hold, line, counted)
    elif hold.event_id:
        # One hold, two events: only the first was reserved for.
        hold.overrun += line.cost_amount or ZERO
    else:
        _take(hold, line, counted)
    _weigh(hold, moves, 1)


def _weigh(hold: _Held, moves: dict[Period, Move], sign: int) -> None:
    """What the hold amounts to in its periods, put on the scales or taken off."""
    held = hold.amount if hold.state == State.OPEN else ZERO
    for period in hold.periods:
        move = moves[period]
        move.held += sign * held
        move.pending += sign * hold.pending
        move.overrun += sign * hold.overrun


def _take(hold: _Held, line: Line, counted: Counted) -> None:
    """The event has come. What nothing is reserved for any more, since it comes late, is all overrun."""
    is_open, hold.event_id = hold.state == State.OPEN, line.event_id
    if line.cost_amount is None:
        # An invented model name must not spend without limit.
        hold.pending = max(hold.amount, _dearest(line))
        hold.state = State.UNPRICED if is_open else hold.state
        _move_on(hold, line, counted)
        return
    _book(hold, line, reserved=hold.amount if is_open else ZERO, counted=counted)
    hold.state = State.SETTLED if is_open else hold.state


def _correct(hold: _Held, line: Line, counted: Counted) -> None:
    """An adjustment: one that gives an event its first price ends the estimate that was counted for it."""
    if hold.event_id != line.event_id or line.cost_amount is None:
        return
    if line.unpriced == -1:
        is_unpriced = hold.state == State.UNPRICED
        _book(hold, line, reserved=hold.amount if is_unpriced else ZERO, counted=counted)
        hold.state = State.SETTLED if is_unpriced else hold.state
    elif hold.actual is not None:
        hold.actual += line.cost_amount


def _book(hold: _Held, line: Line, *, reserved: Decimal, counted: Counted) -> None:
    assert line.cost_amount is not None, "it has a price"
    larger = max(line.cost_amount, line.computed_amount or ZERO)
    hold.actual, hold.asked_actual = larger, _asked(hold, line)
    hold.overrun += max(line.cost_amount - reserved, ZERO)
    _move_on(hold, line, counted)
    strays = [period for period in hold.periods if counted(line, period[0]) != period]
    hold.pending = larger if strays else larger - line.cost_amount
    if strays and larger == line.cost_amount:
        # The others count it as spent, and nothing is missing there.
        hold.set_periods(strays)


def _move_on(hold: _Held, line: Line, counted: Counted) -> None:
    """A line of a later period counts there, and what is pending of it with it."""
    moved = [_later(period, counted(line, period[0])) for period in hold.periods]
    if moved != hold.periods:
        hold.set_periods(moved)


def _later(reserved: Period, found: Period | None) -> Period:
    return found if found and found[1] > reserved[1] else reserved


def _dearest(line: Line) -> Decimal:
    if not line.quantities:
        return ZERO
    seller = seller_of(line.cost_type, line.provider, line.model or "")
    counted = Quantities(line.quantities, line.service_tier)
    return min(dearest(current_book(), seller, counted, line.timestamp) or ZERO, MOST_PENDING)


def _asked(hold: _Held, line: Line) -> Decimal | None:
    """What these tokens had cost with the model that was asked for."""
    if hold.asked_model == hold.model or line.quantities is None:
        return None
    prices, counted = current_book(), Quantities(line.quantities, line.service_tier)
    for cost_type, provider in ((hold.cost_type, hold.provider or None), ("", None)):
        price = prices.price(
            cost_type=cost_type, provider=provider, model=hold.asked_model, quantities=counted, at=line.timestamp
        )
        if price.amount is not None:
            return price.amount
    return None


def _keep(holds: Collection[_Held], at: datetime) -> None:
    rows = [(h.id, h.state, h.event_id, h.actual, h.asked_actual, h.pending, h.overrun) for h in holds]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(KEEP, [at, *(list(column) for column in zip(*rows, strict=True))])
    for hold in holds:
        if hold.has_moved:
            Hold.objects.filter(pk=hold.id).update(budget_ids=hold.budget_ids, period_starts=hold.period_starts)


def release(hold_id: UUID, *, at: datetime, by: str = "", using: str = DECISIONS) -> Hold:
    """Give the money back: no call was made. Safe to do twice; nothing happens to one whose event was accepted.

    Raises Hold.DoesNotExist.
    """
    with _turn(using):
        hold = Hold.objects.using(using).get(pk=hold_id)
        if hold.state != State.OPEN or _is_accepted(hold, using):
            return hold
        with transaction.atomic(using=using):
            hold = Hold.objects.using(using).select_for_update().get(pk=hold_id)
            if hold.state == State.OPEN and not _is_accepted(hold, using):
                _close([hold], State.RELEASED, at=at, by=by, using=using)
    return hold


def extend(hold_id: UUID, life: timedelta, *, at: datetime, using: str = DECISIONS) -> Hold:
    """Let it hold until `life` from now, never shorter than it does, and at most for 24 hours in all.

    Raises Hold.DoesNotExist, Closed.
    """
    with _turn(using), transaction.atomic(using=using):
        hold = Hold.objects.using(using).select_for_update().get(pk=hold_id)
        if hold.state != State.OPEN or hold.expires_at <= at:
            raise Closed
        hold.expires_at = max(hold.expires_at, min(at + life, hold.created_at + LONGEST_LIFE))
        hold.save(using=using, update_fields=["expires_at"])
    return hold


def _turn(using: str) -> AbstractContextManager[None]:
    return connected() if using == DECISIONS else nullcontext()


def write_off(hold_id: UUID, *, actor: str, at: datetime) -> Hold:
    """A person says that what still counts of it was never spent. Safe to do twice. Raises Hold.DoesNotExist."""
    with transaction.atomic():
        hold = Hold.objects.select_for_update().get(pk=hold_id)
        if hold.pending:
            moves = {period: Move(pending=-hold.pending) for period in _periods(hold)}
            hold.pending, hold.closed_by = ZERO, actor[:200]
            hold.state = State.WRITTEN_OFF if hold.state == State.UNPRICED else hold.state
            hold.save(update_fields=["pending", "state", "closed_by"])
            balances.move(moves)
    return hold


OVERDUE = """
SELECT id FROM controls_hold AS h
WHERE state = 'open' AND expires_at <= %s AND NOT EXISTS (
    SELECT FROM costs_inboxrow AS i WHERE i.hold_ids <> '{}' AND i.hold_ids @> ARRAY[h.id::text]::varchar[]
)
ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
"""


def expire(at: datetime, *, most: int = AT_ONCE, using: str = DEFAULT_DB_ALIAS) -> int:
    """Give back what nobody came for in time; the rows stay as evidence. Returns how many these were."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(OVERDUE, [at, most])
            ids = [row[0] for row in cursor.fetchall()]
        _close(list(Hold.objects.using(using).filter(pk__in=ids)), State.EXPIRED, at=at, by="", using=using)
    return len(ids)


def _close(holds: Sequence[Hold], state: State, *, at: datetime, by: str, using: str) -> None:
    moves: dict[Period, Move] = defaultdict(Move)
    ended = {"state": state, "closed_at": at, "closed_by": by[:200]}
    for hold in holds:
        for name, value in ended.items():
            setattr(hold, name, value)
        for period in _periods(hold):
            moves[period].held -= hold.amount
    Hold.objects.using(using).filter(pk__in=[hold.pk for hold in holds]).update(**ended)
    balances.move(moves, using=using)


def _periods(hold: Hold) -> list[Period]:
    return list(zip(hold.budget_ids, hold.period_starts, strict=True))


def _is_accepted(hold: Hold, using: str) -> bool:
    return bool(_accepted([hold], using))


ACCEPTED = """
SELECT DISTINCT named FROM costs_inboxrow, unnest(hold_ids) AS named
WHERE hold_ids <> '{}' AND hold_ids && %s::varchar[] AND named = ANY(%s)
"""


def _accepted(holds: Sequence[Hold], using: str) -> set[str]:
    """The ids of those whose event waits in the inbox."""
    ids = [str(hold.pk) for hold in holds]
    if not ids:
        return set()
    with connections[using].cursor() as cursor:
        cursor.execute(ACCEPTED, [ids, ids])
        return {named for (named,) in cursor.fetchall()}


KEPT = timedelta(days=3)
KEPT_AS_EVIDENCE = timedelta(days=90)


def forget(at: datetime) -> int:
    """Delete rows that nobody asks for any more: holds that ended as they should after 3 days, evidence after 90."""
    done = Hold.objects.filter(created_at__lt=at - KEPT, pending=0, overrun=0, observed="")
    plain = done.filter(state__in=[State.SETTLED, State.RELEASED]).exclude(pk__in=Hold.objects.switched())
    old = Hold.objects.filter(created_at__lt=at - KEPT_AS_EVIDENCE, pending=0).exclude(state=State.OPEN)
    refusals = Refusal.objects.filter(first_at__lt=at - KEPT_AS_EVIDENCE)
    return sum(found._raw_delete(found.db) for found in (plain, old, refusals))
