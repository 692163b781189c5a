"""Somebody takes an incident: it is not repeated, not escalated, and the pager stops."""

from datetime import datetime

from django.db import transaction

from alerts import announce
from alerts.channels.base import Event
from alerts.models import AlertGroup


def acknowledge(group_id: int, *, by: str, at: datetime) -> bool:
    """Take it as severe as it is now; whether it was open and not taken yet. If it gets worse, it is said again."""
    with transaction.atomic():
        group = AlertGroup.objects.open().filter(pk=group_id).lock().first()
        if group is None or group.incident().is_acknowledged:
            return False
        group.acknowledged_at, group.acknowledged_by, group.acknowledged_severity = at, by[:150], group.severity
        group.escalates_at = group.due_at = None
        announce.say(group, Event.ACKNOWLEDGED, at=at)
    return True
