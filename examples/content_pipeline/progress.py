"""What the demo says while it works: numbered steps for everyone, bars for terminals."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

BAR_WIDTH = 30
EVERY_SECONDS = 0.1

_numbers = count(1)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce the next step, and how long it took when it is through."""
    print(f"{next(_numbers)}. {text}", flush=True)
    started = time.monotonic()
    yield
    print(f"   done in {time.monotonic() - started:.1f} s", flush=True)


def bar(total: int, unit: str = "") -> Callable[[int], None]:
    """Takes how many are done, or how many seconds have passed; draws on the standard error, and only on a terminal."""
    shown = 0.0

    def show(done: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and (done >= total or time.monotonic() - shown > EVERY_SECONDS):
            shown = time.monotonic()
            filled = "#" * (BAR_WIDTH * min(done, total) // max(total, 1))
            sys.stderr.write(f"\r   [{filled:<{BAR_WIDTH}}] {done:,} of {total:,} {unit}" + "\n" * (done >= total))

    return show
