"""Posts in one line, and the ledger to write them to."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tests.costs.conftest import Ledger, amount_event, ledger

__all__ = ["NOON", "Ledger", "Posts", "ledger"]

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
_numbers: Iterator[int] = count()


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


class Posts:
    """Writes posts of a known cost, each with one event."""

    def __init__(self, ledger: Ledger, persona_id: str = "ai_jesus") -> None:
        self.ledger = ledger
        self.persona_id = persona_id

    def write(self, *amounts: str, at: datetime = NOON, every: timedelta = timedelta(0), **fields: Any) -> list[str]:
        """One post for each amount, booked at `at`; the first is the newest, each next one `every` older."""
        named = [(f"post-{next(_numbers)}", amount) for amount in amounts]
        events = [
            amount_event(
                amount,
                event_id=f"event-of-{post}",
                post_id=post,
                persona_id=self.persona_id,
                timestamp=(at - every * place).isoformat(),
                **fields,
            )
            for place, (post, amount) in enumerate(named)
        ]
        for start in range(0, len(events), 1000):
            self.ledger.record(events[start : start + 1000], at=at)
        return [post for post, _ in named]

    def write_history(self, amount: str = "0.02", *, posts: int = 30, before: datetime = NOON) -> None:
        """Posts of one cost, one an hour, the newest an hour ago."""
        self.write(*[amount] * posts, at=before - minutes(60), every=minutes(60))
