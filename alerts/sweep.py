"""What no signal announces: waits, silences and intervals that end, messages that were not rung or not finished.

One bounded pass, every two seconds. Two at once share the work: each locks what it takes and skips what is locked.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from alerts import announce, doorbell
from alerts.models import AlertGroup, Delivery

MOST = 100


@dataclass(frozen=True, slots=True)
class Swept:
    groups: int
    deliveries: int


def sweep(*, at: datetime) -> Swept:
    """Look at the groups that are due and ring for the channels where something is."""
    with transaction.atomic():
        groups = _due_groups(at)
        announce.look(groups, {}, at=at)
    # One each: who answers goes on with what else is due on the channel.
    due = list(Delivery.objects.due(at).first_of_each_channel().values_list("pk", flat=True))
    doorbell.ring(due)
    return Swept(len(groups), len(due))


def _due_groups(at: datetime) -> list[AlertGroup]:
    ids = list(AlertGroup.objects.due(at).values_list("pk", flat=True)[:MOST])
    locked = AlertGroup.objects.filter(pk__in=ids).select_for_update(skip_locked=True, no_key=True)
    # Another sweep may have looked at it between the two statements.
    return [group for group in locked.order_by("persona_id", "rule") if group.due_at and group.due_at <= at]
