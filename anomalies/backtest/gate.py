"""What a decision would have said to a call: through, on a cheaper model, later, or no. Pure.

A call is taken at what it came to, where a decision knows only its estimate. A throttled call waits for its turn inside
its half minute; what is beyond the rate of that half minute is taken as not made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from anomalies.backtest.money import Budgets
from anomalies.backtest.spending import STEP, Call
from controls.ladder import Level, Rules, State
from controls.switches import Target

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
STEPS_OF_A_MINUTE = timedelta(minutes=1) // STEP
# The levels at which dear models are switched: each level keeps what the ones before it do.
SWITCHING = (Level.SWITCH, Level.HALF_OPEN)


class Verdict(StrEnum):
    """What became of a call."""

    MADE = "made"
    SWITCHED = "switched"
    THROTTLED = "throttled"
    PAUSED = "paused"
    OVER_BUDGET = "over_budget"


class Decided(NamedTuple):
    """`made` is the call as it is then made, on whatever model; None: it is not."""

    verdict: Verdict
    made: Call | None = None


# The cheaper model that stands in for this call; None: none serves.
Cheaper = Callable[[Call], Target | None]


@dataclass(slots=True)
class Rate:
    """How many calls of one persona were let through in the step that runs."""

    step: int = -1
    passed: int = 0

    def has_room(self, at: datetime, per_minute: int) -> bool:
        number = (at - EPOCH) // STEP
        if number != self.step:
            self.step, self.passed = number, 0
        return self.passed < allowance(number, per_minute)


def allowance(step: int, per_minute: int) -> int:
    """Calls of this step, so that those of every minute are exactly `per_minute`."""
    return (step + 1) * per_minute // STEPS_OF_A_MINUTE - step * per_minute // STEPS_OF_A_MINUTE


def decide(call: Call, state: State, rules: Rules, rate: Rate, budgets: Budgets, cheaper: Cheaper) -> Decided:
    """In the order of a decision: the breaker's level, the model, the budgets, and the rate last.

    So a call that no budget lets in takes no place of another one.
    """
    level = Level.CLOSED if rules.is_observing else state.level
    if not call.asks:
        return Decided(Verdict.MADE, call)
    if level is Level.PAUSE:
        return Decided(Verdict.PAUSED)
    verdict, made = _with_model(call, level, rules, cheaper)
    if budgets.full_for(made):
        return Decided(Verdict.OVER_BUDGET)
    if level is not Level.CLOSED and state.per_minute is not None:
        if not rate.has_room(call.at, state.per_minute):
            return Decided(Verdict.THROTTLED)
        rate.passed += 1
    return Decided(verdict, made)


def _with_model(call: Call, level: Level, rules: Rules, cheaper: Cheaper) -> tuple[Verdict, Call]:
    if level in SWITCHING and rules.disable_expensive_models and (target := cheaper(call)):
        switched = call._replace(
            model=target.model, cost_type=target.cost_type, provider=target.provider or "", amount=target.amount
        )
        return Verdict.SWITCHED, switched
    return Verdict.MADE, call
