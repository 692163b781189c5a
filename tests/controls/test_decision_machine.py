"""Whatever callers, clocks and people do in whatever order: budgets count exactly their lines and their holds.

A machine plays producers that ask, report, report late, twice or falsely, and people who change budgets meanwhile. What
must be counted is kept beside it, in Python; after every step the tables must say the same.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controls import budgets, decisions, holds, increases
from controls.models import Budget, BudgetPeriod, Control, Hold
from controls.models.holds import LONGEST_LIFE
from controls.periods import period_at
from controls.verdicts import Decision, Reason
from controls.verify import calendars, drifts, hold_drifts
from costs import drain
from costs.models import DEFAULT_SOURCE, CostEvent, PriceRate
from costs.pricing import PriceBook, Quantities, dearest
from costs.reprice import reprice_unpriced
from tests.controls.conftest import ask, hold_of, make_budget
from tests.costs.conftest import Ledger

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# A little before midnight in UTC, and a day before one in Kathmandu.
BEGIN = datetime(2026, 11, 24, 23, 50, tzinfo=UTC)
ZERO, MILLION = Decimal(0), Decimal(1_000_000)
# Dollars per million tokens in and out, written down by hand.
PRICES = {"gpt-4o": (Decimal("2.5"), Decimal(10)), "gpt-4o-mini": (Decimal("0.15"), Decimal("0.6"))}
UNKNOWN = "house-model"
PERSONAS, MODELS = ("a", "b"), (*PRICES, UNKNOWN)
CALLS = st.fixed_dictionaries(
    {
        "persona": st.sampled_from(PERSONAS),
        "model": st.sampled_from(["gpt-4o"] * 6 + ["gpt-4o-mini", UNKNOWN]),
        "size": st.sampled_from(["exact", "exact", "exact", "larger"]),
        "life": st.sampled_from([timedelta(seconds=1), 2 * MINUTE, HOUR, HOUR, DAY]),
    }
)
SIZES = {"exact": (1000, 500), "smaller": (100, 20), "larger": (4000, 3000)}

Period = tuple[int, datetime]
Sums = dict[Period, list[Decimal]]


@dataclass
class Booked:
    """A line as its producer knows it; `hold_id` of the hold that it ended."""

    event_id: str
    persona: str
    model: str
    tokens: tuple[int, int]
    at: datetime
    amount: Decimal | None
    hold_id: UUID | None = None


@dataclass
class Held:
    """A hold as it must stand in its row."""

    id: UUID
    persona: str
    model: str
    amount: Decimal
    periods: list[Period]
    expires_at: datetime
    created_at: datetime
    state: str = "open"
    pending: Decimal = ZERO
    event_id: str = ""


class Producers(RuleBasedStateMachine):
    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        decisions.forget()
        self.clock = BEGIN
        self.held: dict[UUID, Held] = {}
        self.lines: list[Booked] = []
        self.waiting: list[tuple[dict[str, Any], Booked, UUID | None]] = []
        self.sent: list[dict[str, Any]] = []
        self.prices = dict(PRICES)
        self.granted: list[int] = []
        self._transaction = transaction.atomic()
        self._transaction.__enter__()

    def teardown(self) -> None:
        try:
            self._drain()
            assert not [drift for calendar in calendars() for drift in drifts(calendar, at=self.clock)]
        finally:
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)

    # Producers

    @initialize(target=asked, calls=st.lists(CALLS, min_size=2, max_size=6))
    def three_budgets_and_some_calls_from_the_start(self, calls: list[dict[str, Any]]) -> Any:
        self.a_budget_is_made("", "", True, "0.05", "daily", "UTC")
        self.a_budget_is_made("a", "", True, "0.02", "daily", "Asia/Kathmandu")
        self.a_budget_is_made("b", "gpt-4o", False, "0.02", "monthly", "UTC")
        return self.some_ask(calls)

    @rule(target=asked, calls=st.lists(CALLS, min_size=1, max_size=4))
    def some_ask(self, calls: list[dict[str, Any]]) -> Any:
        return multiple(*filter(None, [self._ask(**call) for call in calls]))

    @rule(target=asked, count=st.integers(2, 9), persona=st.sampled_from(PERSONAS))
    def somebody_asks_until_little_is_left(self, count: int, persona: str) -> Any:
        return self.some_ask([{"persona": persona, "model": "gpt-4o", "size": "exact", "life": HOUR}] * count)

    @rule(
        hold_id=asked,
        how=st.sampled_from(
            ["as asked", "as asked", "unpriced", "unpriced", "reported", "by another", "from elsewhere"]
        ),
        size=st.sampled_from(["exact", "smaller", "larger"]),
        is_late=st.booleans(),
        is_drained=st.booleans(),
    )
    def an_event_names_it(self, hold_id: UUID, how: str, size: str, is_late: bool, is_drained: bool) -> None:
        hold = self.held[hold_id]
        sayings: dict[str, dict[str, Any]] = {
            "as asked": {},
            "unpriced": {"model": "mystery"},
            "reported": {"reported": Decimal("0.0001")},
            "by another": {"persona": next(name for name in PERSONAS if name != hold.persona)},
            "from elsewhere": {"source": "another"},
        }
        self._accept(hold, size=size, at=self.clock if is_late else hold.created_at, **sayings[how])
        if is_drained:
            self._drain()

    @precondition(lambda self: self.sent)
    @rule(dice=st.randoms(use_true_random=False))
    def an_event_comes_again(self, dice: Any) -> None:
        Ledger().accept([dice.choice(self.sent)], at=self.clock)
        self._drain()

    @rule()
    def the_inbox_is_drained(self) -> None:
        self._drain()

    @rule(hold_id=asked)
    def it_is_released(self, hold_id: UUID) -> None:
        for _ in range(2):
            holds.release(hold_id, at=self.clock)
        if not self._waits(hold_id):
            self._end(self.held[hold_id], "released")

    @precondition(lambda self: self.waiting)
    @rule(days=st.integers(0, 1))
    def what_waits_to_be_booked_is_released_and_swept(self, days: int) -> None:
        self.it_is_released(UUID(self.waiting[-1][0]["hold_id"]))
        self.clock += days * DAY
        self.the_sweep_comes()

    @rule(hold_id=asked, life=st.sampled_from([MINUTE, HOUR, 2 * DAY]))
    def it_is_extended(self, hold_id: UUID, life: timedelta) -> None:
        hold = self.held[hold_id]
        is_over = hold.state != "open" or hold.expires_at <= self.clock
        try:
            hold.expires_at = holds.extend(hold_id, life, at=self.clock).expires_at
        except holds.Closed:
            assert is_over
        else:
            assert not is_over
            assert hold.expires_at <= hold.created_at + LONGEST_LIFE

    @rule(hold_id=asked)
    def what_it_still_counts_is_written_off(self, hold_id: UUID) -> None:
        hold = self.held[hold_id]
        holds.write_off(hold_id, actor="ann", at=self.clock)
        if hold.pending and hold.state == "unpriced":
            hold.state = "written off"
        hold.pending = ZERO

    # Time

    @rule(step=st.sampled_from([timedelta(seconds=1), 2 * MINUTE, 15 * MINUTE, 15 * MINUTE, 9 * HOUR]))
    def time_passes(self, step: timedelta) -> None:
        self.clock += step

    @rule()
    def the_sweep_comes(self) -> None:
        holds.expire(self.clock)
        self._expire()
        overdue = Hold.objects.open().filter(expires_at__lte=self.clock).values_list("pk", flat=True)
        assert all(self._waits(hold_id) for hold_id in overdue)

    @precondition(lambda self: any(line.amount is None for line in self.lines))
    @rule(model=st.sampled_from(["mystery", UNKNOWN]))
    def a_price_arrives(self, model: str) -> None:
        # What still waits would be booked at the new price.
        self._drain()
        if model not in self.prices:
            for bucket in ("input_tokens", "output_tokens"):
                PriceRate.objects.create(
                    kind="rate", model=model, bucket=bucket, unit_price=7, per=1_000_000, effective_from=BEGIN - DAY
                )
            self.prices[model] = (Decimal(7), Decimal(7))
            decisions.forget()
        reprice_unpriced(at=self.clock)
        for line in self.lines:
            if line.amount is None and line.model in self.prices:
                line.amount = self._cost(line.model, line.tokens)
                self._price_has_come(line)

    # People

    @precondition(lambda self: Budget.objects.count() < 8)
    @rule(
        persona=st.sampled_from(["", *PERSONAS]),
        model=st.sampled_from(["", "gpt-4o", UNKNOWN]),
        is_hard=st.booleans(),
        limit=st.sampled_from(["0.005", "0.02", "0.05", "1"]),
        period=st.sampled_from(["daily", "daily", "monthly"]),
        zone=st.sampled_from(["UTC", "Asia/Kathmandu"]),
    )
    def a_budget_is_made(self, persona: str, model: str, is_hard: bool, limit: str, period: str, zone: str) -> None:
        self._drain()
        scope = {"persona_id": persona, "model": model}
        budget = make_budget(limit, hard=is_hard, period=period, timezone=zone, at=self.clock, **scope)
        start = budget.span_at(self.clock).start
        for hold in self.held.values():
            is_counting = hold.state == "open" or (hold.pending and hold.created_at >= start)
            if is_counting and _counts(budget, hold.persona, hold.model):
                hold.periods.append((budget.pk, start))

    @rule(
        place=st.integers(0, 7),
        change=st.sampled_from(["limit", "limit", "hard", "end", "increase", "increase", "take back"]),
        amount=st.sampled_from(["0.001", "0.02", "0.05"]),
    )
    def a_budget_changes(self, place: int, change: str, amount: str) -> None:
        active = list(Budget.objects.active().order_by("id"))
        budget, at = active[place % len(active)], self.clock
        match change:
            case "limit":
                budgets.revise(budget.pk, {"limit": Decimal(amount)}, actor="ann", at=at)
            case "hard":
                budgets.revise(budget.pk, {"hard": not budget.hard}, actor="ann", at=at)
            case "end" if len(active) > 2:
                budgets.end(budget.pk, actor="ann", at=at)
            case "increase":
                ends = at + 30 * MINUTE
                made = increases.make(budget.pk, Decimal(amount), reason="launch", actor="ann", expires_at=ends, at=at)
                self.granted.append(made.pk)
            case "take back" if self.granted:
                increases.end(self.granted.pop(), actor="ann", at=at)

    @rule(persona=st.sampled_from(PERSONAS), level=st.sampled_from(["switch", "closed"]))
    def the_breaker_moves(self, persona: str, level: str) -> None:
        given = {"level": level, "since": self.clock, "expires_at": self.clock + HOUR}
        Control.objects.update_or_create(persona_id=persona, defaults=given)

    # What must hold after every step

    @invariant()
    def periods_count_their_lines_and_their_holds(self) -> None:
        expected, found = self._expected(), self._found()
        for period in expected.keys() | found.keys():
            assert found.get(period, [ZERO] * 3) == expected.get(period, [ZERO] * 3), period
        assert not hold_drifts()

    @invariant()
    def every_hold_is_in_its_state(self) -> None:
        rows = {row.pk: (row.state, row.pending, row.expires_at, row.event_id) for row in Hold.objects.all()}
        for hold in self.held.values():
            assert rows[hold.id] == (hold.state, hold.pending, hold.expires_at, hold.event_id)
        assert rows.keys() == self.held.keys()

    # The account beside the tables

    def _ask(self, persona: str, model: str, size: str, life: timedelta) -> UUID | None:
        tokens_in, tokens_out = SIZES[size]
        expired = Hold.objects.filter(state="expired")
        before = expired.count()
        decision = ask(
            at=self.clock,
            persona_id=persona,
            model=model,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            post_id=str(len(self.held)),
            provider="openai" if model in PRICES else "house",
            life=life,
        )
        assert decision.reason != Reason.DATABASE_AWAY
        if expired.count() > before or decision.hold_id is None:
            # Nobody is refused for want of what overdue holds keep.
            self._expire()
        if decision.hold_id is None:
            self._assert_a_hard_budget_is_short(decision, persona, model, SIZES[size])
        else:
            self._note(decision, persona, life)
            self._assert_within_hard_budgets(self.held[decision.hold_id])
        return decision.hold_id

    def _note(self, decision: Decision, persona: str, life: timedelta) -> None:
        row = hold_of(decision)
        assert (row.amount, row.state) == (decision.estimate, "open")
        counting = [budget for budget in Budget.objects.active() if _counts(budget, persona, row.model)]
        periods = [(budget.pk, budget.span_at(self.clock).start) for budget in counting]
        assert set(periods) == set(zip(row.budget_ids, row.period_starts, strict=True))
        ends = self.clock + life
        self.held[row.pk] = Held(row.pk, persona, row.model, row.amount, periods, ends, self.clock)

    def _accept(
        self,
        hold: Held,
        *,
        size: str,
        at: datetime,
        model: str = "",
        persona: str = "",
        source: str = DEFAULT_SOURCE,
        reported: Decimal | None = None,
    ) -> None:
        tokens, model, persona = SIZES[size], model or hold.model, persona or hold.persona
        event: dict[str, Any] = {
            "event_id": f"event-{len(self.lines) + len(self.waiting)}",
            "cost_type": "openai_api" if model in PRICES else "house_api",
            "model": model,
            "persona_id": persona,
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
            "timestamp": at,
            "hold_id": str(hold.id),
        } | ({} if reported is None else {"amount": str(reported)})
        amount = self._cost(model, tokens) if reported is None else reported
        line = Booked(event["event_id"], persona, model, tokens, at, amount)
        is_own = persona == hold.persona and source == DEFAULT_SOURCE
        Ledger().accept([event], source=source, at=self.clock)
        if source == DEFAULT_SOURCE:
            self.sent.append(event)
        self.waiting.append((event, line, hold.id if is_own else None))

    def _drain(self) -> None:
        drain.drain(at=self.clock)
        for _, line, hold_id in self.waiting:
            self.lines.append(line)
            if hold_id:
                self._settle(self.held[hold_id], line)
        self.waiting.clear()
        total = sum((line.amount or ZERO for line in self.lines), ZERO)
        assert CostEvent.objects.total() == total

    def _settle(self, hold: Held, line: Booked) -> None:
        if hold.event_id:
            return
        hold.event_id, line.hold_id = line.event_id, hold.id
        if line.amount is None:
            hold.pending, hold.periods = max(hold.amount, _dearest(line)), _moved_on(hold, line)
            self._end(hold, "unpriced")
        else:
            self._book(hold, line, line.amount)
            self._end(hold, "settled")

    def _book(self, hold: Held, line: Booked, amount: Decimal) -> None:
        """What a budget reserved and does not count as spent stays pending there."""
        hold.periods = _moved_on(hold, line)
        strays = [period for period in hold.periods if _counting(period[0], line) != period]
        larger = max(self._cost(line.model, line.tokens) or ZERO, amount)
        hold.pending = larger if strays else larger - amount
        if strays and larger == amount:
            hold.periods = strays

    def _price_has_come(self, line: Booked) -> None:
        if line.hold_id and line.amount is not None:
            hold = self.held[line.hold_id]
            self._book(hold, line, line.amount)
            hold.state = "settled" if hold.state == "unpriced" else hold.state

    def _end(self, hold: Held, state: str) -> None:
        if hold.state == "open":
            hold.state = state

    def _expire(self) -> None:
        for hold in self.held.values():
            if hold.expires_at <= self.clock and not self._waits(hold.id):
                self._end(hold, "expired")

    def _waits(self, hold_id: UUID) -> bool:
        """Whether an event that names it is accepted and not yet booked."""
        return any(event["hold_id"] == str(hold_id) for event, _, _ in self.waiting)

    def _cost(self, model: str, tokens: tuple[int, int]) -> Decimal | None:
        if not any(tokens):
            # Nothing is free of charge at every price.
            return ZERO
        if model not in self.prices:
            return None
        return sum((n * price for n, price in zip(tokens, self.prices[model], strict=True)), ZERO) / MILLION

    def _expected(self) -> Sums:
        sums: Sums = {}
        for budget in Budget.objects.all():
            for line in self.lines:
                if period := _period_of(budget, line):
                    sums.setdefault(period, [ZERO] * 3)[0] += line.amount or ZERO
        for hold in self.held.values():
            for period in hold.periods:
                sums.setdefault(period, [ZERO] * 3)[1] += hold.amount if hold.state == "open" else ZERO
                sums[period][2] += hold.pending
        return sums

    def _found(self) -> Sums:
        rows = BudgetPeriod.objects.values_list("budget_id", "starts_at", "spent", "held", "pending")
        return {(budget, start): sums for budget, start, *sums in rows}

    def _assert_within_hard_budgets(self, hold: Held) -> None:
        for budget_id, start in hold.periods:
            budget = Budget.objects.get(pk=budget_id)
            if budget.hard:
                assert self._committed(budget, start) <= self._allowed(budget)

    def _assert_a_hard_budget_is_short(
        self, decision: Decision, persona: str, model: str, tokens: tuple[int, int]
    ) -> None:
        amount = decision.estimate
        if decision.control and model == "gpt-4o":
            # It was to be switched, and not even that had been within budget.
            model, amount = "gpt-4o-mini", self._cost("gpt-4o-mini", tokens) or ZERO
        hard = Budget.objects.active().filter(hard=True)
        left = [
            self._allowed(budget) - self._committed(budget, budget.span_at(self.clock).start)
            for budget in hard
            if _counts(budget, persona, model)
        ]
        assert any(amount > most or most <= 0 for most in left)

    def _committed(self, budget: Budget, start: datetime) -> Decimal:
        """With what holds of the period before may bring into this one; none does later than it may live."""
        own = sum(self._found().get((budget.pk, start), [ZERO]), ZERO)
        ended = [
            hold.amount
            for hold in self.held.values()
            for period in hold.periods
            if hold.state == "open" and period[0] == budget.pk and period[1] < start
            if budget.span_at(period[1]).end > self.clock - LONGEST_LIFE
        ]
        return own + sum(ended, ZERO)

    def _allowed(self, budget: Budget) -> Decimal:
        granted = budget.increases.active(self.clock).values_list("amount", flat=True)
        return sum(granted, budget.limit)


def _counts(budget: Budget, persona: str, model: str) -> bool:
    return budget.persona_id in ("", persona) and budget.model in ("", model)


def _period_of(budget: Budget, line: Booked) -> Period | None:
    """In which period the budget counts the line, if it does."""
    is_over = budget.counts_until is not None and line.at >= budget.counts_until
    if is_over or line.at < budget.counts_from or not _counts(budget, line.persona, line.model):
        return None
    return budget.pk, period_at(line.at, budget.period, budget.zone).start


def _dearest(line: Booked) -> Decimal:
    """The most that anybody asks for so much, for a model whose maker nobody knows."""
    tokens = {"input_tokens": line.tokens[0], "output_tokens": line.tokens[1]}
    used = Quantities({name: count for name, count in tokens.items() if count})
    return dearest(PriceBook(), None, used, line.at) or ZERO


def _counting(budget_id: int, line: Booked) -> Period | None:
    return _period_of(Budget.objects.get(pk=budget_id), line)


def _moved_on(hold: Held, line: Booked) -> list[Period]:
    """A line of a later period takes what is pending with it."""
    found = [(period, _counting(period[0], line)) for period in hold.periods]
    return [later if later and later[1] > period[1] else period for period, later in found]


@pytest.mark.django_db
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_budgets_count_exactly_their_lines_and_their_holds_whatever_happens() -> None:
    run_state_machine_as_test(
        Producers,
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
