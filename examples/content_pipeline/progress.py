"""What the demo says while it works: numbered steps for everyone, bars for terminals."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BAR_WIDTH = 30
EVERY_SECONDS = 0.1


@contextmanager
def step(number: int, text: str) -> Iterator[None]:
    """Announce a step, and how long it took when it is through."""
    print(f"{number}. {text}", flush=True)
    started = time.monotonic()
    yield
    print(f"   done in {time.monotonic() - started:.1f} s", flush=True)


def bar(total: int) -> Callable[[int], None]:
    """Takes how many are done; draws on the standard error, and only on a terminal."""
    shown = 0.0

    def show(done: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and (done >= total or time.monotonic() - shown > EVERY_SECONDS):
            shown = time.monotonic()
            filled = "#" * (BAR_WIDTH * min(done, total) // max(total, 1))
            sys.stderr.write(f"\r   [{filled:<{BAR_WIDTH}}] {done:,} of {total:,}" + "\n" * (done >= total))

    return show
