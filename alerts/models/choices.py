"""Choices from callables: a new kind makes no migration."""

from alerts.channels.base import Event
from alerts.decide import Reason
from alerts.signal import Severity, Status


def severities() -> list[tuple[str, str]]:
    return [(each, each) for each in Severity]


def statuses() -> list[tuple[str, str]]:
    return [(each, each) for each in (Status.FIRING, Status.RESOLVED)]


def events() -> list[tuple[str, str]]:
    return [(each, each) for each in Event]


def reasons() -> list[tuple[str, str]]:
    return [(each, each) for each in Reason]
