"""The past once more with the controls on: what the breaker and hard budgets would have done, and what that had saved.

A closed loop: what is read at any moment is computed from what was let through before it, so spending that was cut
lowers the readings that follow. All personas go through each half minute together, for budgets and the limit on pauses
are shared. Half minutes in which nobody is held back are added up by the database; in others every call is decided.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from anomalies.backtest import spending
from anomalies.backtest.breakers import Breakers
from anomalies.backtest.gate import Cheaper, Decided, Rate, Verdict, decide
from anomalies.backtest.money import Budgets
from anomalies.backtest.spending import STEP, Batch, Call
from anomalies.backtest.watch import Watch
from costs.periods import HOUR, Span, floor

ZERO = Decimal(0)


@dataclass(slots=True)
class Cut:
    """Calls of one persona that met one fate, and the dollars that this saved."""

    calls: int = 0
    saved: Decimal = ZERO


@dataclass(slots=True)
class Account:
    """What one persona spent, and what became of its calls that were not made as asked for."""

    spent: Decimal = ZERO
    calls: int = 0
    cuts: dict[Verdict, Cut] = field(default_factory=lambda: defaultdict(Cut))

    @property
    def saved(self) -> Decimal:
        return sum((cut.saved for cut in self.cuts.values()), ZERO)

    @property
    def had_spent(self) -> Decimal:
        """With the controls on."""
        return self.spent - self.saved

    def cut(self, call: Call, decided: Decided) -> None:
        cut = self.cuts[decided.verdict]
        cut.calls += 1
        cut.saved += call.amount - (decided.made.amount if decided.made else ZERO)


@dataclass(slots=True)
class Replay:
    """`cheaper` finds the model that stands in for a call; `whole`: everybody's costs are replayed, nobody's too."""

    watches: Mapping[str, Watch]
    breakers: Breakers
    budgets: Budgets
    cheaper: Cheaper
    personas: Sequence[str]
    whole: bool
    accounts: dict[str, Account] = field(default_factory=lambda: defaultdict(Account))
    _rates: dict[str, Rate] = field(default_factory=lambda: defaultdict(Rate))

    def run(self, span: Span, passed: Callable[[int, int], None]) -> None:
        """`passed` hears how many of how many hours are done."""
        spent = spending.steps(span, self.personas, whole=self.whole)
        following = next(spent, None)
        for start in _each_step(span):
            batches: list[Batch] = []
            if following and following[0] == start:
                batches, following = following[1], next(spent, None)
            self._spend(Span(start, min(start + STEP, span.end)), batches)
            if start == floor(start, HOUR):
                passed((start - span.start) // HOUR, (span.end - span.start) // HOUR)

    def _spend(self, step: Span, batches: list[Batch]) -> None:
        self._let_in(step, batches)
        self._look(step.end, {batch.persona_id for batch in batches})

    def _let_in(self, step: Span, batches: list[Batch]) -> None:
        self.budgets.move(step.start)
        for batch in batches:
            account = self.accounts[batch.persona_id]
            account.spent += batch.amount
            account.calls += batch.events
        held = {batch.persona_id for batch in batches if self.breakers.is_acting(batch.persona_id)}
        held |= self.budgets.tight(batches)
        for batch in batches:
            if batch.persona_id not in held:
                self._let_through(batch)
        for call in spending.calls(step, held) if held else ():
            self._decide(call)

    def _decide(self, call: Call) -> None:
        persona = call.persona_id
        state, rules = self.breakers.state(persona), self.breakers.rules(persona)
        decided = decide(call, state, rules, self._rates[persona], self.budgets, self.cheaper)
        if decided.made:
            self._let_through(decided.made)
        if decided.verdict is not Verdict.MADE:
            self.accounts[persona].cut(call, decided)

    def _let_through(self, cost: Batch | Call) -> None:
        self.budgets.add(cost)
        if watch := self.watches.get(cost.persona_id):
            watch.take(cost)

    def _look(self, at: datetime, spending_now: set[str]) -> None:
        """At whoever spent or is held back; at everybody on the hour, when returns are read."""
        if at == floor(at, HOUR):
            looked = set(self.watches)
        else:
            looked = (spending_now | self.breakers.open()) & self.watches.keys()
        for persona in sorted(looked):
            state, rules = self.breakers.state(persona), self.breakers.rules(persona)
            self.breakers.look(persona, self.watches[persona].readings(at, state, rules), at)


def _each_step(span: Span) -> Iterator[datetime]:
    """Their starts; the span begins with a full hour."""
    return (span.start + STEP * number for number in range(-(-(span.end - span.start) // STEP)))
