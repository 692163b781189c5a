"""Send the messages of a trace through `track_cost.delay()`, as their producer would have done at the time."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from costs.tasks import track_cost
from examples.content_pipeline.readback import PATIENCE_SECONDS, Ledger
from examples.content_pipeline.trace import Message, posts_of

SENDERS = 4


def send(found: Iterable[Message], run: str, progress: Callable[[int], None]) -> None:
    """Track every message at its own time; every call has been committed when this returns."""
    with ThreadPoolExecutor(SENDERS) as senders:
        for number, _ in enumerate(senders.map(lambda message: track_cost.delay(**message.event(run)), found)):
            progress(number + 1)


def wait(found: Sequence[Message], run: str, ledger: Ledger, progress: Callable[[int], None]) -> None:
    """Wait until the drain has booked the messages, or has stood still for a minute."""
    best, moved = -1, time.monotonic()
    while time.monotonic() - moved < PATIENCE_SECONDS:
        booked = sum(_lines_of(ledger, post) for post in posts_of(found, run))
        progress(booked)
        if booked >= len(found):
            return
        if booked > best:
            best, moved = booked, time.monotonic()
        time.sleep(0.5)


def _lines_of(ledger: Ledger, post: str) -> int:
    status, body = ledger.post(post)
    return int(body["accuracy_details"]["total_events"]) if status == 200 else 0
