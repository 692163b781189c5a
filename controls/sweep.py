"""What time brings about and no message announces, once a second: levels, overrides and holds that run out, lost rings.

Two sweeps at once share the work; one part that fails holds up no other.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from controls import breaker, holds, overrides

log = logging.getLogger(__name__)

PARTS: tuple[Callable[[datetime], object], ...] = (breaker.sweep, overrides.sweep, holds.expire)


def sweep(at: datetime) -> None:
    for part in PARTS:
        try:
            part(at)
        except Exception:
            log.exception("the sweep's part %s failed", part.__module__)
