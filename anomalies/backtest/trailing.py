"""The values of the last days, sorted and summed as they come and go. Pure."""

from bisect import bisect_left, insort
from collections import Counter, deque
from datetime import date, datetime, timedelta
from decimal import Decimal

TRAILING = timedelta(days=7)


class Trailing:
    """Values of the last `span`; `forget` moves its end, in the order of time."""

    def __init__(self, span: timedelta = TRAILING) -> None:
        self._span = span
        self._by_time: deque[tuple[datetime, Decimal]] = deque()
        self._sorted: list[Decimal] = []
        self._sum = Decimal(0)
        self._per_day: Counter[date] = Counter()

    def __len__(self) -> int:
        return len(self._by_time)

    def add(self, at: datetime, value: Decimal) -> None:
        self._by_time.append((at, value))
        insort(self._sorted, value)
        self._sum += value
        self._per_day[at.date()] += 1

    def forget(self, at: datetime) -> None:
        """Drop what is older than the span at `at`."""
        while self._by_time and self._by_time[0][0] < at - self._span:
            when, value = self._by_time.popleft()
            del self._sorted[bisect_left(self._sorted, value)]
            self._sum -= value
            self._per_day[when.date()] -= 1
            if not self._per_day[when.date()]:
                del self._per_day[when.date()]

    @property
    def median(self) -> Decimal:
        """The lower one of two middle values, as Postgres' percentile_disc(0.5)."""
        return self._sorted[(len(self._sorted) - 1) // 2]

    @property
    def mean(self) -> Decimal:
        return self._sum / len(self._by_time)

    @property
    def days(self) -> int:
        """On how many UTC days the values lie."""
        return len(self._per_day)
