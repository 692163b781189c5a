"""Tasks of the ledger. Messages are doorbells: the inbox row is the work, and losing a message loses nothing."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task, shared_task
from celery.result import AsyncResult
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils.timezone import now

from costs import drain, ingest, metric_gauges, metric_totals, outcomes, partitions, reprice, verify

log = logging.getLogger(__name__)


class DurableTask(Task):  # type: ignore[misc]  # Celery has no types
    """`delay()` and `apply_async()` return after the event is committed in Postgres; the broker is not needed."""

    # What accepts the keyword arguments and returns the id, and what one of them is.
    accept = staticmethod(ingest.track)
    noun = "cost"

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        eta: object = None,
        countdown: object = None,
        **options: Any,
    ) -> AsyncResult:
        """Accept one event; the result's id is the event's. Raises InvalidEvent for one that is refused."""
        name = f"track_{self.noun}"
        if eta is not None or countdown is not None:
            raise ValueError(f"{name} takes no eta and no countdown: {self.noun}s are facts, their time is `timestamp`")
        if args:
            raise TypeError(f"{name} takes keyword arguments only: {name}.delay(**fields)")
        return self.AsyncResult(self.accept(dict(kwargs or {}), at=now()))


class DurableOutcome(DurableTask):
    """The same for outcomes."""

    accept = staticmethod(outcomes.track)
    noun = "outcome"


@shared_task(base=DurableTask, bind=True, name="costs.tasks.track_cost")
def track_cost(self: DurableTask, *, nudge: bool = False, **event: Any) -> None:
    """A nudge drains the inbox. Sent by name through the broker an event arrives here: best effort, not durable."""
    if event:
        # A message is delivered again when its worker dies.
        event["event_id"] = event.get("event_id") or self.request.id
        ingest.track(event, at=now())
    _drain()


@shared_task(base=DurableOutcome, bind=True, name="costs.tasks.track_outcome")
def track_outcome(self: DurableOutcome, **outcome: Any) -> None:
    """Runs only for an outcome that was sent by name through the broker: best effort, not durable."""
    # A message is delivered again when its worker dies.
    outcome["event_id"] = outcome.get("event_id") or self.request.id
    outcomes.track(outcome, at=now())


@shared_task
def sweep_inbox() -> None:
    """Find what a lost nudge left behind."""
    _drain()


@shared_task
def ensure_partitions() -> None:
    partitions.ensure(now())


@shared_task
def reprice_unpriced() -> None:
    reprice.reprice_unpriced(at=now())


@shared_task
def refresh_metrics() -> None:
    metric_totals.roll_up()
    metric_gauges.refresh(now())


# The whole ledger is read: that may take longer than any other task, and a second one at the same time leaves it alone.
# Some two billion lines can be read so long.
@shared_task(soft_time_limit=20_000, time_limit=20_300)
def verify_ledger() -> None:
    verify.publish(now())


def _drain() -> None:
    try:
        # It ends by itself well before Celery would interrupt it.
        drain.drain(at=now(), seconds=settings.CELERY_TASK_SOFT_TIME_LIMIT * 2 / 3)
    except (OperationalError, InterfaceError) as error:
        log.warning("the drain stops until the next nudge: %s", error)
