"""One replay of the controls from its question to its result, over stored costs."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from anomalies.backtest import terms
from anomalies.backtest.breakers import Breakers, Moved
from anomalies.backtest.gate import Cheaper
from anomalies.backtest.money import Budgets
from anomalies.backtest.period import hourly_costs, stream
from anomalies.backtest.replay_outcomes import hourly_outcomes
from anomalies.backtest.replay_policy import Account, Replay
from anomalies.backtest.replay_spending import POSTS, WINDOWS, Cost
from anomalies.backtest.series import UnusableSeries
from anomalies.backtest.spending import Call
from anomalies.backtest.watch import RULES, Returns, Watch
from anomalies.hourly import WEEK
from anomalies.outcome_readings import DAY, LONGEST_WAIT, REVENUE
from anomalies.readings import TRAILING, active_personas
from anomalies.rules import Rules
from controls import switches
from controls.breaker import BLAST_SHARE, KNOWN_FOR
from controls.switches import Target
from costs import attribution
from costs.periods import Span
from costs.prices import current_book

ZERO = Decimal(0)
# Of a month of 30 days.
MONTH = DAY * 30


@dataclass(frozen=True, slots=True)
class Trial:
    """What the controls would have done: `accounts` by persona ('' is nobody), `moved` in the order of time."""

    span: Span
    about: str
    changes: Mapping[str, Any]
    accounts: Mapping[str, Account]
    moved: Sequence[Moved]
    personas: int
    budgets: int
    observing: int

    @property
    def spent(self) -> Decimal:
        """What the ledger has: with the controls off."""
        return sum((account.spent for account in self.accounts.values()), ZERO)

    @property
    def saved(self) -> Decimal:
        return sum((account.saved for account in self.accounts.values()), ZERO)

    @property
    def percent(self) -> Decimal | None:
        return self.saved / self.spent * 100 if self.spent else None

    @property
    def a_month(self) -> Decimal:
        """What 30 days like these would save: extrapolated."""
        return self.saved * Decimal(MONTH / (self.span.end - self.span.start))


def over_policy(
    changes: Mapping[str, Any],
    span: Span,
    personas: Sequence[str],
    *,
    at: datetime,
    passed: Callable[[int, int], None] = lambda done, total: None,
) -> Trial:
    """Replay the stored costs of these personas (none named: of all). Raises UnusableSeries and UnusablePolicy."""
    policies = terms.tried(changes)
    known = active_personas(span.start - WEEK, span.end)
    if unknown := sorted(set(personas) - set(known)):
        raise UnusableSeries(f"{', '.join(unknown)} had no costs in this period, nor in the week before it.")
    whose = list(personas) or known
    budgets = Budgets.stored(whose, span.start, whole=not personas)
    replay = Replay(
        _watches(span, whose, budgets), Breakers(policies, _may_be_paused), budgets, _cheaper(at), whose, not personas
    )
    replay.run(span, passed)
    return Trial(
        span,
        ", ".join(personas) if personas else f"all {len(whose):,} personas",
        changes,
        replay.accounts,
        replay.breakers.moved,
        personas=len(whose),
        budgets=len(budgets),
        observing=sum(policies.of(persona).is_observing for persona in whose),
    )


def _may_be_paused(at: datetime) -> int:
    return max(1, int(len(active_personas(at - KNOWN_FOR, at)) * BLAST_SHARE))


def _cheaper(at: datetime) -> Cheaper:
    lists, prices = switches.stored(at), current_book()

    def cheaper(call: Call) -> Target | None:
        if call.usage is None:
            return None
        targets = switches.targets_of(
            call.model,
            cost_type=call.cost_type,
            provider=call.provider or None,
            usage=call.usage,
            at=call.at,
            prices=prices,
            among=lists,
            # What it really came to, not what the list says.
            asked_amount=call.amount,
        )
        return targets[0] if targets else None

    return cheaper


def _watches(span: Span, personas: Sequence[str], budgets: Budgets) -> dict[str, Watch]:
    rules, target = Rules.stored(), attribution.Target.configured()
    costs = hourly_costs(Span(span.start - DAY - LONGEST_WAIT, span.start), personas)
    outcomes = hourly_outcomes(Span(span.start - WEEK - DAY - LONGEST_WAIT, span.end), personas)
    posts, windows = (_before(statement, span.start, personas) for statement in (POSTS, WINDOWS))
    watches = {}
    for persona in personas:
        returns = Returns(persona, defaultdict(Decimal, costs[persona]), outcomes.get((persona, REVENUE), {}))
        watches[persona] = Watch(
            persona,
            per_post=target.per_post,
            detectors={rule: rules.of(rule, persona) for rule in RULES},
            budgets=budgets,
            returns=returns,
        )
        watches[persona].learn(posts.get(persona, ()), windows.get(persona, ()))
    return watches


def _before(statement: str, start: datetime, personas: Sequence[str]) -> dict[str, list[Cost]]:
    """What the week before the replay teaches."""
    rows = stream(statement, since=start - TRAILING, end=start, personas=list(personas), least=ZERO)
    return {
        persona: [Cost(at, amount, int(events), began, name) for _, name, amount, events, at, began in found]
        for persona, found in groupby(rows, key=lambda row: str(row[0]))
    }
