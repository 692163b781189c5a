"""Somebody takes an anomaly: the incident that people were told about is theirs, and the anomaly's history says so."""

from datetime import datetime

from django.db import transaction

from alerts.acknowledge import acknowledge as take
from alerts.models import Alert, AlertGroup
from anomalies.lifecycle import Change
from anomalies.models import Anomaly, Transition


def incident_of(anomaly: Anomaly) -> AlertGroup | None:
    """The incident in which alerts hold this anomaly: one rule's anomalies of one persona are told as one."""
    alert = Alert.objects.filter(fingerprint=anomaly.fingerprint).select_related("group").first()
    return alert.group if alert else None


def acknowledge(anomaly: Anomaly, *, by: str, note: str = "", at: datetime) -> bool:
    """Take the incident as severe as it is now; False when it is over. Twice is harmless; each note is kept."""
    with transaction.atomic():
        group = incident_of(anomaly) if anomaly.is_open else None
        if group is None or not group.is_open:
            return False
        is_news = take(group.pk, by=by, at=at)
        if is_news or note:
            Transition.objects.create(
                anomaly=anomaly,
                at=at,
                change=Change.ACKNOWLEDGED,
                severity=anomaly.severity,
                current=anomaly.current,
                actor=by[:150],
                reason=note,
            )
    return True
