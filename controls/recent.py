"""What decisions read of rows that rarely change: at most a second old, in each process."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

# Budgets, overrides, breaker state and keys decide about money: nothing of theirs may be older.
LONGEST = timedelta(seconds=1)


class Recent(Generic[T]):
    """The answer of `read`, kept for a second of the clock that askers bring along; a clock set back reads anew."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        # One tuple, so that no thread ever sees an old answer under a new time.
        self._held: tuple[datetime, T] | None = None

    def at(self, at: datetime) -> T:
        held = self._held
        if held and held[0] <= at < held[0] + LONGEST:
            return held[1]
        answer = self._read()
        self._held = at, answer
        return answer

    def forget(self) -> None:
        """For whoever has just changed what is read, and for tests, whose clocks stand still."""
        self._held = None
