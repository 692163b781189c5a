"""A producer as a process of its own: `python -m tests.end_to_end.producer_process COUNT [THREADS]`.

It prints one line for each acceptance: the id, the amount, and how long the call took.
"""

import json
import random
import sys
import time
from collections.abc import Sequence

import django

django.setup()

from costs.tasks import track_cost  # noqa: E402  (needs Django)
from tests.end_to_end.account import Sent, random_events  # noqa: E402
from tests.end_to_end.producers import in_threads, shares  # noqa: E402


def main(count: int, threads: int = 1) -> None:
    in_threads(produce, shares(list(random_events(count, random.Random(5), prefix="elsewhere")), threads))


def produce(events: Sequence[Sent]) -> None:
    for sent in events:
        started = time.monotonic()
        result = track_cost.delay(**sent.fields)
        seconds = time.monotonic() - started
        told = json.dumps({"event_id": result.id, "amount": str(sent.amount), "seconds": seconds})
        # With its end in one piece: threads write at the same time.
        print(f"{told}\n", end="", flush=True)
        # Long enough in all that many nudges are tried.
        time.sleep(0.01)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
