"""What to look at: noted in the transaction that books or takes in outcomes, so that no crash can lose it.

After the commit a doorbell wakes detection; if that ring is lost, the sweep finds the notes half a minute later.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from celery import current_app
from django.conf import settings

from anomalies.models import Touch
from anomalies.readings import NEWS
from costs.booking import Line
from costs.doorbell import Doorbell
from costs.ingest import INBOX

EXPIRES_SECONDS = 10
# A look at many batches takes little longer than a look at one. The first after a pause rings at once; beside a steady
# load the two processes that book ring once a second between them.
COALESCE_SECONDS = 2.0


def note_lines(lines: Sequence[Line], at: datetime, **_: Any) -> None:
    """Receives costs.signals.lines_recorded: one row for the batch."""
    if not settings.FINOPS_ANOMALY_DETECTION_ENABLED:
        return
    # Older lines are history: an import must not wake anybody for a post of last month.
    news = [line for line in lines if line.timestamp >= at - NEWS]
    unpriced = any(line.unpriced for line in lines)
    if news or unpriced:
        Touch.objects.create(
            at=at,
            newest=max((line.timestamp for line in news), default=at),
            personas=_names(line.persona_id for line in news),
            posts=_names(line.post_id for line in news),
            unpriced=unpriced,
        )


def note_outcomes(touched: Iterable[tuple[str, datetime]], at: datetime, **_: Any) -> None:
    """Receives costs.signals.outcomes_recorded, after its commit: if this is lost, the sweep looks all the same."""
    if settings.FINOPS_ANOMALY_DETECTION_ENABLED:
        personas = _names(persona for persona, _ in touched)
        # Committed at once, like the outcomes: the caller may be inside a transaction that rolls back.
        Touch.objects.using(INBOX).create(at=at, newest=at, outcomes=personas, personas=[], posts=[])
        _bell.ring()


def _names(given: Iterable[str | None]) -> list[str]:
    return sorted({name for name in given if name})


def wake(**_: Any) -> None:
    """Receives costs.signals.events_recorded."""
    if settings.FINOPS_ANOMALY_DETECTION_ENABLED:
        _bell.ring()


def _publish() -> None:
    # By name: the task module imports detection, which imports this.
    current_app.send_task("anomalies.tasks.check", retry=False, ignore_result=True, expires=EXPIRES_SECONDS)


_bell = Doorbell(_publish, seconds=COALESCE_SECONDS)
