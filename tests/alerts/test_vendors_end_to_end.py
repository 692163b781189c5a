"""From a signal to the receivers over real sockets, through a broken one and back."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pytest_django import Settings

from alerts.deliver import attempt_due
from alerts.fire import fire
from alerts.models import Channel, Delivery
from alerts.signal import Severity, Status
from alerts.sweep import sweep
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, seed, signal
from tests.alerts.vendors import MailServer, PagerDutyServer, Reply, SlackServer, pagerduty, slack, smtp

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Vendors:
    slack: SlackServer
    pagerduty: PagerDutyServer
    mail: MailServer


@pytest.fixture
def vendors(settings: Settings) -> Iterator[Vendors]:
    seed()
    with slack() as chat, pagerduty() as pager, smtp() as mail:
        settings.ALERT_TEST_ENDPOINTS = [chat.origin, pager.origin]
        settings.FINOPS_SLACK_WEBHOOK_URL = chat.url
        settings.FINOPS_PAGERDUTY_ROUTING_KEY = pager.ROUTING_KEY
        settings.FINOPS_PAGERDUTY_URL = pager.origin
        settings.FINOPS_ALERT_EMAIL_TO = ["finops@example.com"]
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = mail.host, mail.port
        yield Vendors(chat, pager, mail)


def test_ten_thousand_in_a_minute_are_one_message_for_each_receiver(vendors: Vendors) -> None:
    for batch in range(10):
        at = NOON + 6 * batch * SECOND
        fire(
            *[signal(f"post-{batch}-{n}", facts={"current": "0.067", "multiplier": "3.35"}) for n in range(1000)], at=at
        )
        sweep(at=at)
        attempt_due(at=at)

    assert (len(vendors.slack.got), len(vendors.pagerduty.got), len(vendors.mail.mails)) == (1, 1, 1)
    assert vendors.slack.messages[0]["text"].startswith("🚨 COST ANOMALY DETECTED\nType: cost_spike\n")
    assert list(vendors.pagerduty.incidents.values()) == ["triggered"]


def test_the_end_resolves_the_same_incident_at_the_pager(vendors: Vendors) -> None:
    fire(signal(severity=Severity.HIGH), at=NOON)
    attempt_due(at=NOON)
    fire(signal(severity=Severity.HIGH, status=Status.RESOLVED), at=NOON + MINUTE)
    attempt_due(at=NOON + MINUTE)

    assert list(vendors.pagerduty.incidents.values()) == ["resolved"]
    assert len(vendors.slack.got) == 2


def test_a_slack_that_wants_a_pause_gets_it_and_then_the_message(vendors: Vendors) -> None:
    vendors.slack.answers.append(Reply(429, "rate_limited", retry_after=30))
    fire(signal(severity=Severity.MEDIUM), at=NOON)
    attempt_due(at=NOON)
    attempt_due(at=NOON + 29 * SECOND)
    assert len(vendors.slack.got) == 1

    attempt_due(at=NOON + 40 * SECOND)

    assert Delivery.objects.get().state == "sent"


def test_a_slack_that_is_gone_is_switched_off_and_mail_takes_over(vendors: Vendors) -> None:
    vendors.slack.answers.append(Reply(404, "no_service"))
    fire(signal(severity=Severity.MEDIUM), at=NOON)
    for second in (0, 2, 4):
        attempt_due(at=NOON + second * SECOND)

    assert not Channel.objects.get(name="slack").enabled
    assert sorted(mail["Subject"] for mail in vendors.mail.mails) == [
        "[FinOps] MEDIUM channel_broken: The alert channel slack is broken and switched off",
        "[FinOps] MEDIUM cost_spike: ai_jesus",
    ]


def test_a_mail_server_that_was_away_for_an_hour_gets_everything(vendors: Vendors) -> None:
    vendors.mail.answers["CONNECT"] = "421 away"
    for n in range(5):
        fire(signal(f"a-{n}", persona=f"p-{n}", severity=Severity.LOW), at=NOON)
    for minute in range(0, 55, 5):
        attempt_due(at=NOON + minute * MINUTE)
    assert vendors.mail.mails == []

    del vendors.mail.answers["CONNECT"]
    attempt_due(at=NOON + HOUR + 20 * MINUTE)

    assert len({mail["Subject"] for mail in vendors.mail.mails}) == 5


def test_no_secret_is_kept_in_what_can_be_read(vendors: Vendors) -> None:
    vendors.slack.answers.append(Reply(404, "no_service"))
    fire(signal(), at=NOON)
    attempt_due(at=NOON)

    rows = list(Delivery.objects.values()) + list(Channel.objects.values())
    assert "canary" not in repr(rows)
