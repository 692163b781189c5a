"""The nudge that wakes a drain: coalesced, never waited for, allowed to fail.

A thread of its own publishes, so that a broker that hangs costs a producer nothing; a ring that is lost is found by
the beat sweep a second later.
"""

import logging
import os
import threading
from collections.abc import Callable

from celery import current_app

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.2
# Older nudges pile up behind a busy worker and have nothing left to say.
EXPIRES_SECONDS = 10


class Doorbell:
    """Publish at most once every 200 ms and process, however often it is rung."""

    def __init__(self, publish: Callable[[], object]) -> None:
        self._publish = publish
        self._rung = threading.Event()
        self._owner = 0
        self._starting = threading.Lock()

    def ring(self) -> None:
        # A prefork child inherits the object but not the thread.
        if self._owner != os.getpid():
            self._start()
        self._rung.set()

    def _start(self) -> None:
        with self._starting:
            if self._owner == os.getpid():
                return
            self._rung = threading.Event()
            threading.Thread(target=self._work, name="doorbell", daemon=True).start()
            self._owner = os.getpid()

    def _work(self) -> None:
        pause = threading.Event()
        while self._rung.wait():
            self._rung.clear()
            try:
                self._publish()
            except Exception as error:
                log.warning("nudge not delivered, the sweep will find the work: %s", error)
            pause.wait(COALESCE_SECONDS)


def _publish() -> None:
    # By name: the task module imports ingest, which rings.
    current_app.send_task(
        "costs.tasks.track_cost", kwargs={"nudge": True}, retry=False, ignore_result=True, expires=EXPIRES_SECONDS
    )


_bell = Doorbell(_publish)
ring = _bell.ring
