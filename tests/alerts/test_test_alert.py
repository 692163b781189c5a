"""`manage.py test_alert` says a test now and tells how it went, by its words and its exit code."""

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from alerts.channels.base import Event, TransportError
from alerts.models import Channel, Delivery
from tests.alerts.conftest import Desk, seed
from tests.alerts.vendors import pagerduty, slack, smtp


def test_a_test_that_arrives_prints_its_receipt(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("test_alert", "slack")

    assert desk.said == [("slack", Event.TEST)]
    assert capsys.readouterr().out == "slack: delivered, receipt receipt-1\n"
    delivery = Delivery.objects.get()
    assert (delivery.event, delivery.state, delivery.group, delivery.receipt) == ("test", "sent", None, "receipt-1")


def test_one_that_does_not_arrive_says_why_and_fails(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.slack.always = TransportError("Slack answered 404: no_service.", permanent=True, channel_broken=True)

    with pytest.raises(CommandError, match=r"Not delivered: slack\."):
        call_command("test_alert", "slack")

    assert "slack: Slack answered 404: no_service." in capsys.readouterr().err
    assert Delivery.objects.get().state == "dead"
    # A test finds out what is wrong, it does not switch off.
    assert Channel.objects.get(name="slack").enabled
    assert desk.email.got == []


def test_all_tries_each_that_is_switched_on(desk: Desk, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.FINOPS_PAGERDUTY_ROUTING_KEY = ""
    Channel.objects.filter(name="email").update(enabled=False)

    with pytest.raises(CommandError, match=r"Not delivered: pagerduty\."):
        call_command("test_alert", "--all")

    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "slack: delivered, receipt receipt-1\n",
        "pagerduty: pagerduty has no address or key.\n",
    )


def test_a_channel_that_does_not_exist_is_answered_with_those_that_do(desk: Desk) -> None:
    with pytest.raises(CommandError, match=r"no channel pigeon\. There are: slack, pagerduty, email\."):
        call_command("test_alert", "pigeon")


@pytest.mark.django_db
def test_the_real_transports_reach_their_receivers(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    seed()
    with slack() as chat, pagerduty() as pager, smtp() as mail:
        settings.ALERT_TEST_ENDPOINTS = [chat.origin, pager.origin]
        settings.FINOPS_SLACK_WEBHOOK_URL = chat.url
        settings.FINOPS_PAGERDUTY_ROUTING_KEY = pager.ROUTING_KEY
        settings.FINOPS_PAGERDUTY_URL = pager.origin
        settings.FINOPS_ALERT_EMAIL_TO = ["finops@example.com"]
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = mail.host, mail.port

        call_command("test_alert", "--all")

        assert (len(chat.messages), len(pager.events), len(mail.mails)) == (1, 2, 1)
        assert set(pager.incidents.values()) == {"resolved"}
    printed = capsys.readouterr().out
    assert printed.count("delivered, receipt") == 3
    assert "canary" not in printed
