"""A desk that hears signals and receivers that write down what they are told. Time is an argument: tests move it."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from pytest_django import Settings

from alerts.channels import TRANSPORTS
from alerts.channels.base import Event, Notice, TransportError
from alerts.deliver import attempt_due
from alerts.fire import fire
from alerts.models import AlertGroup, Decision
from alerts.signal import Severity, Signal, Status
from alerts.sweep import sweep

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TEMPORARY = TransportError("It did not answer.", permanent=False)


def signal(
    fingerprint: str = "anomaly-1",
    *,
    rule: str = "cost_spike",
    persona: str = "ai_jesus",
    severity: Severity = Severity.CRITICAL,
    status: Status = Status.FIRING,
    title: str = "Cost spike",
    facts: Mapping[str, Any] | None = None,
    at: datetime | None = None,
) -> Signal:
    scope = {"persona_id": persona} if persona else {}
    return Signal(fingerprint, rule, scope, severity, status, title, facts or {"current": "0.067"}, "/x/", at)


class Receiver:
    """A transport that keeps what it is told, or raises the failures that it was given, in turn."""

    def __init__(self) -> None:
        self.got: list[Notice] = []
        self.settings: list[Mapping[str, Any]] = []
        self.failures: deque[Exception] = deque()
        self.always: Exception | None = None

    def check(self, settings: Mapping[str, Any]) -> None:
        """Everything is fine with it."""

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        failure = self.failures.popleft() if self.failures else self.always
        if failure:
            raise failure
        self.got.append(notice)
        self.settings.append(settings)
        return f"receipt-{len(self.got)}"

    @property
    def events(self) -> list[Event]:
        return [notice.event for notice in self.got]


class Desk:
    """The alerts app with a worker that never sleeps."""

    def __init__(self, receivers: dict[str, Receiver]) -> None:
        self.receivers = receivers
        self.slack, self.pagerduty, self.email = (receivers[kind] for kind in ("slack", "pagerduty", "email"))

    def hear(self, *signals: Signal, at: datetime = NOON) -> None:
        fire(*signals, at=at)
        self.work(at=at)

    def end(self, fingerprint: str = "anomaly-1", *, at: datetime, **fields: Any) -> None:
        self.hear(signal(fingerprint, status=Status.RESOLVED, **fields), at=at)

    def work(self, *, at: datetime) -> None:
        """What the beat and the workers do."""
        sweep(at=at)
        while attempt_due(at=at):
            pass

    def wait(self, start: datetime, end: datetime, step: timedelta = 10 * SECOND) -> None:
        """Sweep and work from after the start up to and including the end."""
        at = start + step
        while at <= end:
            self.work(at=at)
            at += step

    @property
    def said(self) -> list[tuple[str, Event]]:
        return [(kind, event) for kind, receiver in self.receivers.items() for event in receiver.events]


def seed() -> None:
    """The channels and routes that ship; tests with committed data empty their tables."""
    import_module("alerts.migrations.0002_default_routes").add(apps, None)


def configure(settings: Settings) -> None:
    settings.FINOPS_SLACK_WEBHOOK_URL = "https://hooks.slack.com/services/T/B/secret"
    settings.FINOPS_ALERT_ESCALATE_SECONDS = 900
    settings.FINOPS_PAGERDUTY_ROUTING_KEY = "0123456789abcdef0123456789abcdef"
    settings.FINOPS_ALERT_EMAIL_TO = "finops@example.com, lead@example.com"


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, Receiver]:
    configure(settings)
    made = {kind: Receiver() for kind in ("slack", "pagerduty", "email")}
    for kind, receiver in made.items():
        monkeypatch.setitem(TRANSPORTS, kind, receiver)
    return made


@pytest.fixture
def desk(db: None, receivers: dict[str, Receiver]) -> Desk:
    seed()
    return Desk(receivers)


def the_group(**fields: Any) -> AlertGroup:
    return AlertGroup.objects.get(**fields)


def reasons(**fields: Any) -> dict[str, int]:
    return dict(Decision.objects.filter(**fields).values_list("reason", "count"))


def together(work: Callable[[int], object], *, threads: int = 4) -> None:
    """Run in real threads with connections of their own, started at the same moment; none of them may fail."""
    barrier = threading.Barrier(threads)
    failures: list[Exception] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures
