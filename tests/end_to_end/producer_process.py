"""A producer as a process of its own: `python -m tests.end_to_end.producer_process COUNT`.

It prints one line for each acceptance: the id, the amount, and how long the call took.
"""

import json
import random
import sys
import time

import django

django.setup()

from costs.tasks import track_cost  # noqa: E402  (needs Django)
from tests.end_to_end.account import random_events  # noqa: E402


def main(count: int) -> None:
    for sent in random_events(count, random.Random(5), prefix="elsewhere"):
        started = time.monotonic()
        result = track_cost.delay(**sent.fields)
        seconds = time.monotonic() - started
        print(json.dumps({"event_id": result.id, "amount": str(sent.amount), "seconds": seconds}), flush=True)
        # Long enough in all that many nudges are tried.
        time.sleep(0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]))
