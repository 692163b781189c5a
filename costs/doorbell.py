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

# A batch has its own price, whatever is in it: rung twice as often, workers and Postgres are busy half as much again.
COALESCE_SECONDS = 0.4
# Older nudges pile up behind a busy worker and have nothing left to say.
EXPIRES_SECONDS = 10


class Doorbell:
    """Publish at once, but no oftener than every so many seconds and process, however often it is rung."""

    def __init__(self, publish: Callable[[], object], *, seconds: float = COALESCE_SECONDS) -> None:
        self._publish, self._seconds = publish, seconds
        self._begin_anew()
        # A forked child inherits the object, but neither the thread nor locks that somebody will ever release.
        os.register_at_fork(after_in_child=self._begin_anew)

    def ring(self) -> None:
        """Never raises: the event is committed already."""
        if not self._is_started:
            self._start()
        self._rung.set()

    def _begin_anew(self) -> None:
        self._rung = threading.Event()
        self._starting = threading.Lock()
        self._is_started = False

    def _start(self) -> None:
        with self._starting:
            if self._is_started:
                return
            try:
                threading.Thread(target=self._work, name="doorbell", daemon=True).start()
            except RuntimeError as error:
                # Too many threads, or a process that is ending.
                log.warning("no nudge from this process, the sweep will find the work: %s", error)
                return
            self._is_started = True

    def _work(self) -> None:
        pause, was_delivered = threading.Event(), True
        while self._rung.wait():
            self._rung.clear()
            was_delivered = self._deliver(complain=was_delivered)
            pause.wait(self._seconds)

    def _deliver(self, *, complain: bool) -> bool:
        try:
            self._publish()
        except Exception as error:
            # Once for each outage: every process tries several times a second.
            if complain:
                log.warning("nudges are not delivered, the sweep will find the work: %s", error)
            return False
        return True


def _publish() -> None:
    # By name: the task module imports ingest, which rings.
    current_app.send_task(
        "costs.tasks.track_cost", kwargs={"nudge": True}, retry=False, ignore_result=True, expires=EXPIRES_SECONDS
    )


_bell = Doorbell(_publish)
ring = _bell.ring
