"""How long the machine let this process stand still: what no promise about seconds can be held to.

with Stalls() as stalls:
    answers = ask_for(4.0, client)
assert slowest(answers) < LONGEST_SECONDS + stalls.longest
"""

import threading
import time
from typing import Self

LOOK_SECONDS = 0.01


class Stalls:
    """Sleeps again and again, and keeps by how many seconds it woke up late at most."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(LOOK_SECONDS):
            woke = time.monotonic()
            self.longest = max(self.longest, woke - before - LOOK_SECONDS)
            before = woke
