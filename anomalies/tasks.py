"""Tasks of detection. Messages are doorbells: notes and watermarks say what there is to do."""

from celery import shared_task
from django.utils.timezone import now

from anomalies import budget_check, detect


@shared_task
def check() -> None:
    """Look at what the last batches touched."""
    detect.check_touched(now())


@shared_task
def sweep() -> None:
    detect.sweep(now())


@shared_task
def check_budgets() -> None:
    budget_check.check(now())
