"""What the breaker would have read of one persona at any moment of a replay, from what was let through. Pure."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from anomalies import looks, triggers
from anomalies.backtest.money import Budgets
from anomalies.backtest.replay_spending import Cost, LatestPosts, Pulse
from anomalies.backtest.spending import Batch, Call
from anomalies.detectors import Detector, Reading
from anomalies.detectors.base import Window
from anomalies.detectors.cost_spike import CostReading, CostSpike
from anomalies.detectors.negative_roi import ReturnReading
from anomalies.fresh import SHORTEST, Fresh
from anomalies.incidents import Look
from anomalies.outcome_readings import DAY, DAYS_BEFORE, LONGEST_WAIT
from anomalies.readings import FIVE_MINUTES, LATEST_POSTS, RECENT
from controls import ladder
from controls.ladder import Level, Rules, State
from costs.periods import HOUR, floor

RULES = ("cost_spike", "negative_roi", "budget_overrun")
TOLD_WITHIN = DAY * (DAYS_BEFORE + 1) + LONGEST_WAIT
ZERO = Decimal(0)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Returns:
    """Revenue as it was told, against the cost of what was let through; read at full hours.

    By the start of the hour; `events` are counted from the start of the replay on.
    """

    persona_id: str
    costs: defaultdict[datetime, Decimal]
    revenue: Mapping[datetime, Decimal]
    events: Counter[datetime] = field(default_factory=Counter)
    latest: ReturnReading | None = None

    def take(self, cost: Batch | Call) -> None:
        hour = floor(cost.at, HOUR)
        self.costs[hour] += cost.amount
        self.events[hour] += cost.events

    def reading(self, at: datetime) -> ReturnReading | None:
        """As of the last full hour; None: no revenue is told any more, or never was."""
        if self.revenue and at == floor(at, HOUR):
            self.latest = self._read(at)
        return self.latest

    def behind(self, window: Window) -> int:
        return sum(self.events[hour] for hour in _hours(window.end, DAY))

    def _read(self, at: datetime) -> ReturnReading | None:
        told = next((hour for hour in _hours(at, TOLD_WITHIN) if hour in self.revenue), None)
        if told is None:
            return None
        until = max(told + HOUR, at - LONGEST_WAIT)
        revenue = sum((self.revenue.get(hour, ZERO) for hour in _hours(until, DAY)), ZERO)
        cost = sum((self.costs[hour] for hour in _hours(until, DAY)), ZERO)
        return ReturnReading(self.persona_id, revenue, cost, Window(until - DAY, until))


def _hours(end: datetime, span: timedelta) -> Iterator[datetime]:
    """The starts of the full hours before `end`, the newest first."""
    return (end - HOUR * number for number in range(1, span // HOUR + 1))


class Watch:
    """Its latest posts, its pulse, its return and its budgets; a rule that is switched off has no detector."""

    def __init__(
        self,
        persona_id: str,
        *,
        per_post: Decimal,
        detectors: Mapping[str, Detector | None],
        budgets: Budgets,
        returns: Returns,
    ) -> None:
        self._persona_id, self._detectors = persona_id, detectors
        self._budgets, self._returns = budgets, returns
        self._posts, self._pulse = LatestPosts(persona_id, per_post), Pulse(persona_id)
        self._lately: deque[Batch | Call] = deque()

    def learn(self, posts: Iterable[Cost], windows: Iterable[Cost]) -> None:
        """What was spent before the replay begins."""
        for source, costs in ((self._posts, posts), (self._pulse, windows)):
            for cost in costs:
                source.take(cost)
                source.move(cost.at)

    def take(self, cost: Batch | Call) -> None:
        """Something was let through."""
        if cost.post_id:
            self._posts.take(Cost(cost.at, cost.amount, cost.events, cost.at, cost.post_id))
        began = cost.at - (cost.at - EPOCH) % FIVE_MINUTES
        self._pulse.take(Cost(began + FIVE_MINUTES, cost.amount, cost.events, began))
        self._returns.take(cost)
        self._lately.append(cost)

    def readings(self, at: datetime, state: State, rules: Rules) -> list[ladder.Reading]:
        """Of every trigger the worst."""
        while self._lately and self._lately[0].at <= at - RECENT:
            self._lately.popleft()
        worst: dict[str, ladder.Reading] = {}
        for look in self._looks(at):
            for reading in triggers.readings(look, rules):
                if reading.trigger not in worst or reading.excess > worst[reading.trigger].excess:
                    worst[reading.trigger] = self._weighed(look, reading, at, state, rules)
        return list(worst.values())

    def _looks(self, at: datetime) -> Iterator[Look]:
        found: list[tuple[str, Reading | None]] = [
            ("cost_spike", self._posts.reading(at)),
            ("cost_spike", self._pulse.reading(at)),
            ("negative_roi", self._returns.reading(at)),
            *(("budget_overrun", looks.budget_reading(each.usage)) for each in self._budgets.of(self._persona_id)),
        ]
        for rule, reading in found:
            detector = self._detectors[rule]
            if reading and detector and not _is_too_little(detector, reading):
                yield Look(rule, detector, reading.scope, detector.inspect(reading), reading=reading)

    def _weighed(self, look: Look, reading: ladder.Reading, at: datetime, state: State, rules: Rules) -> ladder.Reading:
        """With what stands behind it, and what of it came since the level began."""
        read = look.reading
        if not reading.is_triggered:
            return reading
        if isinstance(read, ReturnReading):
            return replace(reading, events=self._returns.behind(read.window), amount=read.cost)
        if isinstance(read, CostReading):
            return self._afresh(read, reading, at, state, rules)
        budget = next(each for each in self._budgets.of(self._persona_id) if each.scope == look.scope)
        return replace(reading, events=budget.events, amount=budget.spent)

    def _afresh(
        self, read: CostReading, reading: ladder.Reading, at: datetime, state: State, rules: Rules
    ) -> ladder.Reading:
        if state.level is Level.CLOSED or state.since is None:
            return reading
        found = spent_since(state.since, self._lately, at)
        value = found.value(read.kind)
        if value is None or found.behind(read.kind) < rules.minimum_amount:
            return reading
        return replace(reading, fresh=reading.excess * value / read.current)


def _is_too_little(detector: Detector, reading: Reading) -> bool:
    """Nothing is read of it; most are, so it saves most of the time to know that before they are judged."""
    return isinstance(detector, CostSpike) and isinstance(reading, CostReading) and not detector.is_enough(reading)


def spent_since(since: datetime, costs: Iterable[Batch | Call], at: datetime) -> Fresh:
    """As anomalies.fresh reads it from the ledger; `costs` are those of the last quarter of an hour."""
    came = [cost for cost in costs if cost.at > since]
    posts: dict[str, Decimal] = {}
    for cost in came:
        if cost.post_id:
            # The post with the newest cost last.
            posts[cost.post_id] = posts.pop(cost.post_id, ZERO) + cost.amount
    latest = list(posts.values())[-LATEST_POSTS:]
    lately = sum((cost.amount for cost in came if cost.at > at - FIVE_MINUTES), ZERO)
    pace = Decimal(FIVE_MINUTES / max(at - max(since, at - FIVE_MINUTES), SHORTEST))
    return Fresh(
        amount=sum((cost.amount for cost in came), ZERO),
        per_post=sum(latest, ZERO) / len(latest) if latest else None,
        lately=lately,
        per_five_minutes=lately * pace,
    )
