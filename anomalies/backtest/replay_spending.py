"""Cost per post and spend rate of a stored period: looks when costs came, and at every sweep that could tell more."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby, islice
from typing import Protocol

from anomalies.backtest.judge import Look
from anomalies.backtest.period import Period, stream
from anomalies.backtest.trailing import Trailing
from anomalies.detectors.base import Detector, Window
from anomalies.detectors.cost_spike import COST_PER_POST, SPEND_RATE, CostReading
from anomalies.detectors.cost_threshold import PostReading
from anomalies.readings import (
    FIVE_MINUTES,
    LATEST_POSTS,
    LEAST_POSTS,
    LEAST_WINDOWS,
    LINES_OF_AN_HOUR,
    RECENT,
    TRAILING,
)
from costs.periods import HOUR, floor

SWEEP = timedelta(seconds=30)
SLOTS_OF_DAY = timedelta(days=1) // FIVE_MINUTES
SLOTS_AROUND = HOUR // FIVE_MINUTES
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """A post by its last cost, or five minutes by their end: when it is known, and since when it counts."""

    at: datetime
    amount: Decimal
    events: int
    started_at: datetime
    name: str = ""

    def plus(self, part: "Cost") -> "Cost":
        """The same with a part that came later."""
        return replace(part, amount=self.amount + part.amount, events=self.events + part.events)


class Source(Protocol):
    """The past of one persona as one of the two readings sees it."""

    scope: dict[str, str]

    def take(self, cost: Cost) -> None: ...
    def reading(self, at: datetime) -> CostReading | None: ...
    def changes_at(self) -> datetime | None:
        """When the oldest of what a reading looks at falls out of it; None: it looks at nothing."""


class LatestPosts:
    """The mean of the latest ten posts of a quarter of an hour, against the median of seven days before it.

    A post may come whole or in parts.
    """

    def __init__(self, persona: str, target: Decimal) -> None:
        self.scope = {"persona_id": persona, "reading": COST_PER_POST}
        self._persona, self._target = persona, target
        # By name, the one with the newest part last; what is no longer recent may go on.
        self._recent: dict[str, Cost] = {}
        self._older: dict[str, Cost] = {}
        self._before = Trailing(TRAILING)
        self._hour: tuple[datetime | None, int] = (None, 0)

    def take(self, cost: Cost) -> None:
        before = self._recent.pop(cost.name, None) or self._older.pop(cost.name, None)
        self._recent[cost.name] = before.plus(cost) if before else cost

    def reading(self, at: datetime) -> CostReading | None:
        self.move(at)
        latest = list(islice(reversed(self._recent.values()), LATEST_POSTS))[::-1]
        if not latest:
            return None
        amount = sum((post.amount for post in latest), ZERO)
        has_baseline = len(self._before) >= LEAST_POSTS
        return CostReading(
            self._persona,
            COST_PER_POST,
            current=amount / len(latest),
            baseline=self._before.median if has_baseline else self._target,
            amount=amount,
            events=sum(post.events for post in latest),
            window=Window(latest[0].at, latest[-1].at),
            baseline_source="median" if has_baseline else "target",
            samples=len(self._before),
        )

    def changes_at(self) -> datetime | None:
        return next(iter(self._recent.values())).at + RECENT if self._recent else None

    def move(self, at: datetime) -> None:
        while self._recent and (post := next(iter(self._recent.values()))).at <= at - RECENT:
            self._older[post.name] = self._recent.pop(post.name)
            hour = floor(post.at, HOUR)
            count = self._hour[1] if self._hour[0] == hour else 0
            # As live, some posts of each hour stand for all of them.
            if post.amount > 0 and count < LINES_OF_AN_HOUR:
                self._before.add(post.at, post.amount)
            self._hour = (hour, count + 1)
        while self._older and (post := next(iter(self._older.values()))).at < at - TRAILING:
            del self._older[post.name]
        self._before.forget(at)


class Pulse:
    """Five minutes, against the larger of two medians of seven days: of all of them, and at this time of the day.

    They may come whole or in parts.
    """

    def __init__(self, persona: str) -> None:
        self.scope = {"persona_id": persona, "reading": SPEND_RATE}
        self._persona = persona
        self._recent: deque[Cost] = deque()
        self._waiting: deque[Cost] = deque()
        self._before = Trailing(TRAILING)
        self._at_slot: list[deque[Cost]] = [deque(maxlen=7) for _ in range(SLOTS_OF_DAY)]

    def take(self, cost: Cost) -> None:
        if self._recent and self._recent[-1].started_at == cost.started_at:
            cost = self._recent.pop().plus(cost)
        if self._waiting and self._waiting[-1].started_at == cost.started_at:
            self._waiting.pop()
        self._recent.append(cost)
        if cost.amount > 0:
            self._waiting.append(cost)

    def reading(self, at: datetime) -> CostReading | None:
        self.move(at)
        if not self._recent or len(self._before) < LEAST_WINDOWS:
            return None
        dearest = max(self._recent, key=lambda cost: cost.amount)
        normal = self._before.median
        if dearest.amount > normal:
            normal = max(normal, self._at_this_time(at))
        return CostReading(
            self._persona,
            SPEND_RATE,
            current=dearest.amount,
            baseline=normal,
            amount=dearest.amount,
            events=dearest.events,
            window=Window(dearest.started_at, dearest.at),
            baseline_source="median",
            samples=len(self._before),
        )

    def changes_at(self) -> datetime | None:
        return self._recent[0].started_at + 2 * FIVE_MINUTES if self._recent else None

    def move(self, at: datetime) -> None:
        while self._recent and self._recent[0].started_at <= at - 2 * FIVE_MINUTES:
            self._recent.popleft()
        while self._waiting and self._waiting[0].started_at < at - RECENT:
            cost = self._waiting.popleft()
            self._before.add(cost.started_at, cost.amount)
            self._at_slot[_slot(cost.started_at)].append(cost)
        self._before.forget(at)

    def _at_this_time(self, at: datetime) -> Decimal:
        here, oldest = _slot(at), at - TRAILING
        around = (self._at_slot[(here + offset) % SLOTS_OF_DAY] for offset in range(1 - SLOTS_AROUND, SLOTS_AROUND))
        dearest: dict[int, Decimal] = {}
        for cost in (cost for slot in around for cost in slot if cost.started_at >= oldest):
            day = (at + timedelta(hours=1) - cost.started_at) // timedelta(days=1)
            dearest[day] = max(dearest.get(day, ZERO), cost.amount)
        found = sorted(dearest.values())
        return found[(len(found) - 1) // 2] if found else ZERO


def _slot(at: datetime) -> int:
    return (at.hour * 60 + at.minute) // 5


# A post whole, when its last cost came. Posts of other times are passed over before they are added up.
POSTS = """
SELECT persona_id, post_id, sum(amount), sum(events)::bigint, max(last_at), min(last_at) FROM costs_postcost
WHERE post_id IN (SELECT post_id FROM costs_postcost WHERE last_at >= %(since)s AND last_at < %(end)s)
  AND persona_id = ANY(%(personas)s)
GROUP BY 1, 2 HAVING max(last_at) >= %(since)s AND max(last_at) < %(end)s AND sum(amount) >= %(least)s
ORDER BY 1, 5, 2
"""
WINDOWS = """
SELECT persona_id, '', amount, events, starts_at + interval '5 minutes', starts_at FROM costs_fiveminutecost
WHERE starts_at >= %(since)s AND starts_at < %(end)s AND persona_id = ANY(%(personas)s) ORDER BY 1, starts_at
"""


def cost_spike(period: Period) -> Iterator[Look]:
    kinds: tuple[tuple[str, Callable[[str], Source]], ...] = (
        (POSTS, lambda persona: LatestPosts(persona, period.target.per_post)),
        (WINDOWS, Pulse),
    )
    total = len(kinds) * len(period.personas)
    for number, (statement, source) in enumerate(kinds):
        rows = stream(
            statement,
            since=period.span.start - TRAILING,
            end=period.span.end,
            personas=list(period.personas),
            least=ZERO,
        )
        for place, (persona, found) in enumerate(groupby(rows, key=lambda row: str(row[0])), start=1):
            # Five minutes that are not over are known as far as they go.
            costs = (
                Cost(min(at, period.span.end), amount, int(events), began, name)
                for _, name, amount, events, at, began in found
            )
            yield from _watched(source(persona), costs, period, period.detector("cost_spike", persona))
            period.passed(number * len(period.personas) + place, total)


def _watched(source: Source, costs: Iterable[Cost], period: Period, detector: Detector) -> Iterator[Look]:
    """A look at every cost as it comes; between them at the sweeps, while an incident is open or a reading changes."""
    span, at = period.span, period.span.start
    for cost in costs:
        if cost.at < span.start:
            source.take(cost)
            source.reading(cost.at)
            continue
        for sweep in _sweeps(source, period, at, cost.at):
            yield Look(sweep, detector, source.scope, source.reading(sweep), ZERO)
        source.take(cost)
        at = cost.at
        reading = source.reading(at)
        yield Look(at, detector, source.scope, reading, cost.amount - reading.baseline if reading else ZERO)
    for sweep in _sweeps(source, period, at, span.end):
        yield Look(sweep, detector, source.scope, source.reading(sweep), ZERO)


def _sweeps(source: Source, period: Period, since: datetime, until: datetime) -> Iterator[datetime]:
    """The sweeps after `since` and before `until` that can tell something new."""
    at = since
    while True:
        changes = at + SWEEP if period.is_open(source.scope) else source.changes_at()
        if changes is None:
            return
        at = max(_sweep_from(changes), _sweep_from(at + timedelta(microseconds=1)))
        if at >= until:
            return
        yield at


def _sweep_from(at: datetime) -> datetime:
    """The first sweep that is not before `at`."""
    begun = (at - datetime(2000, 1, 1, tzinfo=UTC)) % SWEEP
    return at if not begun else at - begun + SWEEP


def dear_posts(period: Period) -> Iterator[Look]:
    """A post is known whole only: it opens when its last cost came, and ends when nothing has come since."""
    threshold = period.target.per_post * period.target.alert_multiplier
    detectors = {persona: period.detector("cost_threshold", persona) for persona in period.personas}
    least = min([threshold, *(entry for each in detectors.values() if (entry := each.levels.entry) is not None)])
    rows = stream(POSTS, since=period.span.start, end=period.span.end, personas=list(period.personas), least=least)
    for persona, post, amount, _, last, first in rows:
        detector = detectors[persona]
        reading = PostReading(persona, post, cost=amount, threshold=threshold, window=Window(first, last))
        allowed = threshold if detector.levels.entry is None else detector.levels.entry
        yield Look(last, detector, reading.scope, reading, ZERO)
        # It was over the threshold from the moment it reached it: all beyond that was spent after the alert.
        yield Look(last, detector, reading.scope, reading, amount - allowed)
        if period.is_open(reading.scope):
            yield Look(last, detector, reading.scope, None)
            yield Look(last + detector.calm_for, detector, reading.scope, None)
