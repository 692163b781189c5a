"""Tasks of the controls. Messages are doorbells: the step that is wanted stands in the row, and is taken once."""

from celery import shared_task
from django.utils.timezone import now

from controls import breaker, holds, savings
from controls import sweep as swept


@shared_task
def apply_throttle(persona_id: str, version: int) -> None:
    breaker.take(persona_id, version, at=now())


@shared_task
def switch_model(persona_id: str, version: int) -> None:
    breaker.take(persona_id, version, at=now())


@shared_task
def pause_persona(persona_id: str, version: int) -> None:
    breaker.take(persona_id, version, at=now())


@shared_task
def resume_persona(persona_id: str, version: int) -> None:
    breaker.take(persona_id, version, at=now())


@shared_task
def sweep() -> None:
    """What no ring announces: what runs out, and what a lost ring left behind."""
    swept.sweep(now())


@shared_task
def forget() -> None:
    """Old rows that nobody asks for any more."""
    holds.forget(now())


@shared_task
def measure_savings() -> None:
    savings.publish(now())
