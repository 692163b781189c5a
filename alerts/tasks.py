"""Tasks of alerts. A message is a doorbell: the row is the work, and losing a message loses nothing."""

from celery import shared_task
from django.utils.timezone import now

from alerts import deliver as delivering
from alerts import digest, heartbeat
from alerts import sweep as sweeping


@shared_task
def deliver(delivery_id: int) -> None:
    # An attempt may take 25 seconds; the task must end before Celery interrupts it.
    delivering.work_off(delivery_id, at=now(), seconds=3)


@shared_task
def sweep() -> None:
    """Find what is due and what a lost doorbell left behind."""
    sweeping.sweep(at=now())


@shared_task
def daily_digest() -> None:
    digest.send_daily(at=now())


@shared_task(name="alerts.tasks.heartbeat")
def send_heartbeat() -> None:
    heartbeat.send(at=now())
