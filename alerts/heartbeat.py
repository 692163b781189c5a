"""A dead man's switch: somebody outside hears from us as long as detection makes progress, and worries when not."""

import logging
from datetime import datetime, timedelta

from django.conf import settings

from alerts import http
from alerts.channels.base import TransportError
from alerts.models import Progress

log = logging.getLogger(__name__)

DETECTION = "detection"
# Three sweeps of detection.
LATEST = timedelta(seconds=90)


def progressed(*, at: datetime) -> None:
    """Detection has looked at everything up to now."""
    Progress.objects.update_or_create(name=DETECTION, defaults={"at": at})


def send(*, at: datetime) -> bool:
    """Tell FINOPS_HEARTBEAT_URL that we are well, if we are; whether it was told."""
    url = settings.FINOPS_HEARTBEAT_URL
    if not url:
        return False
    last = Progress.objects.filter(name=DETECTION).first()
    if last is None or at - last.at > LATEST:
        log.error("no heartbeat: detection has made no progress since %s", last.at if last else "the beginning")
        return False
    try:
        answer = http.get(url)
    except TransportError as error:
        log.warning("the heartbeat was not delivered: %s", error)
        return False
    if not answer.is_ok:
        log.warning("the heartbeat was answered with %d", answer.status)
    return answer.is_ok
