"""PagerDuty holds one incident for everything that is said about one, and its errors are understood."""

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from alerts import http
from alerts.channels import TRANSPORTS
from alerts.channels.base import Event, Notice, TransportError
from alerts.channels.pagerduty import PagerDuty
from alerts.signal import Severity
from tests.alerts import vendors
from tests.alerts.notices import notice
from tests.alerts.vendors import PagerDutyServer, Reply


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[PagerDutyServer]:
    with vendors.pagerduty() as it:
        settings.ALERT_TEST_ENDPOINTS = [it.origin]
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0.001)
        yield it


def send(server: PagerDutyServer, said: Notice | None = None, **more: Any) -> str:
    return PagerDuty().send(said or notice(), {"routing_key": PagerDutyServer.ROUTING_KEY, "url": server.url, **more})


class TestOneIncident:
    def test_is_triggered_acknowledged_and_resolved_under_one_key(self, server: PagerDutyServer) -> None:
        states = []
        for event in (Event.OPENED, Event.ESCALATED, Event.REPEATED, Event.ACKNOWLEDGED, Event.RESOLVED):
            receipt = send(server, notice(event))
            states.append(server.incidents[receipt])

        assert states == ["triggered", "triggered", "triggered", "acknowledged", "resolved"]
        assert list(server.incidents) == ["group-17"]

    def test_carries_what_a_person_on_call_needs(self, server: PagerDutyServer) -> None:
        send(server, notice(facts={"current": Decimal("0.067"), "multiplier": "3.35"}))

        (event,) = server.events
        assert event["payload"] == {
            "summary": "🚨 Cost spike detected: ai_jesus - $0.067 (3.4x baseline)",
            "source": "finops-engine",
            "severity": "critical",
            "timestamp": "2026-11-23T12:00:00+00:00",
            "component": "ai_jesus",
            "group": "costs",
            "class": "cost_spike",
            "custom_details": {"current": "0.067", "multiplier": "3.35", "title": "Cost spike: ai_jesus"},
        }
        assert event["links"] == [
            {"href": "https://finops.example/admin/anomalies/anomaly/1/change/", "text": "Open in the FinOps engine"}
        ]

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (Severity.CRITICAL, "critical"),
            (Severity.HIGH, "error"),
            (Severity.MEDIUM, "warning"),
            (Severity.LOW, "info"),
        ],
    )
    def test_has_a_severity_that_pagerduty_knows(self, server: PagerDutyServer, ours: Severity, theirs: str) -> None:
        send(server, notice(severity=ours))

        assert server.events[0]["payload"]["severity"] == theirs

    def test_of_a_digest_is_one_of_its_own(self, server: PagerDutyServer) -> None:
        send(server, notice(Event.DIGEST, dedup_key="digest-1", title="12 alerts in a minute", lines=("a", "b")))

        assert server.incidents == {"digest-1": "triggered"}
        assert server.events[0]["payload"]["summary"] == "12 alerts in a minute"
        assert server.events[0]["payload"]["custom_details"]["lines"] == ["a", "b"]

    def test_of_a_test_is_not_left_open(self, server: PagerDutyServer) -> None:
        assert send(server, notice(Event.TEST, dedup_key="test-1")) == "test-1"

        assert [event["event_action"] for event in server.events] == ["trigger", "resolve"]
        assert server.incidents == {"test-1": "resolved"}

    @pytest.mark.parametrize("letter", ["x", "🚨", '"'])
    def test_is_cut_where_pagerduty_would_refuse_it(self, server: PagerDutyServer, letter: str) -> None:
        long = letter * 100_000
        facts = {f"{number}{long}": long for number in range(500)}

        send(server, notice(title=long, rule=long, persona_id=long, facts=facts, lines=(long,) * 5_000, others=12))

        assert len(server.got[0].body) < 512 * 1024
        assert server.events[0]["payload"]["summary"].endswith("… (and 12 more)")

    @pytest.mark.parametrize(("length", "is_kept"), [(255, True), (256, False)])
    def test_keeps_its_key_up_to_255_characters(self, server: PagerDutyServer, length: int, is_kept: bool) -> None:
        key = "k" * length
        opened = send(server, notice(dedup_key=key))
        resolved = send(server, notice(Event.RESOLVED, dedup_key=key))

        assert opened == resolved
        assert (opened == key) is is_kept
        assert len(server.incidents) == 1


class TestErrors:
    def test_of_a_bad_event_last_but_the_channel_lives(self, server: PagerDutyServer) -> None:
        told = {"status": "invalid event", "message": "Event object is invalid", "errors": ["'payload' is missing"]}
        server.answers.append(Reply(400, json.dumps(told)))

        with pytest.raises(TransportError, match="Event object is invalid 'payload' is missing") as error:
            send(server)
        assert error.value.permanent
        assert not error.value.channel_broken
        assert len(server.got) == 1

    @pytest.mark.parametrize("key", ["unknown0unknown0unknown0unknown0", "short"])
    def test_of_a_wrong_routing_key_break_the_channel(self, server: PagerDutyServer, key: str) -> None:
        with pytest.raises(TransportError, match="PagerDuty answered 400") as error:
            send(server, routing_key=key)
        assert error.value.permanent
        assert error.value.channel_broken

    @pytest.mark.parametrize("body", ["", "not json", "[]", "null", '{"errors": 3}', "<html>"])
    def test_that_say_nothing_last_but_the_channel_lives(self, server: PagerDutyServer, body: str) -> None:
        server.answers.append(Reply(400, body))

        with pytest.raises(TransportError, match="400: nothing more") as error:
            send(server)
        assert error.value.permanent
        assert not error.value.channel_broken

    def test_of_a_rate_limit_are_temporary(self, server: PagerDutyServer) -> None:
        server.answers.append(Reply(429, retry_after=60))

        with pytest.raises(TransportError, match="429") as error:
            send(server)
        assert not error.value.permanent
        assert error.value.retry_after is not None
        assert error.value.retry_after.total_seconds() == 60

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_of_the_server_are_temporary(self, server: PagerDutyServer, status: int) -> None:
        server.answers.extend([Reply(status)] * 4)

        with pytest.raises(TransportError, match=str(status)) as error:
            send(server)
        assert not error.value.permanent

    def test_of_a_pagerduty_that_hangs_are_temporary_and_harmless(
        self, server: PagerDutyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "READ_SECONDS", 0.1)
        server.answers.append(Reply(202, delay=5))

        with pytest.raises(TransportError, match="in time") as error:
            send(server)
        send(server)

        assert not error.value.permanent
        assert list(server.incidents) == ["group-17"]

    def test_and_logs_and_receipts_never_show_the_routing_key(
        self, server: PagerDutyServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        quoting = json.dumps({"message": f"{PagerDutyServer.ROUTING_KEY} is bad"})
        server.answers.extend([Reply(400, quoting), Reply(202, quoting)])

        with caplog.at_level(logging.DEBUG):
            with pytest.raises(TransportError, match="… is bad") as error:
                send(server)
            receipt = send(server)
        assert "canary" not in f"{error.value}{receipt}{caplog.text}"


class TestSettings:
    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"url": ""},
            {"url": "https://events.pagerduty.com"},
            {"url": "https://events.eu.pagerduty.com/"},
            {"url": "https://events.eu.pagerduty.com/v2/enqueue"},
        ],
    )
    def test_that_work_pass(self, more: dict[str, Any]) -> None:
        TRANSPORTS["pagerduty"].check({"routing_key": "a" * 32, **more})

    @pytest.mark.parametrize(
        ("settings", "why"),
        [
            ({}, "32 letters"),
            ({"routing_key": "a" * 31}, "32 letters"),
            ({"routing_key": "a" * 31 + "\n"}, "32 letters"),
            ({"routing_key": "a" * 32, "url": "https://events.pagerduty.com.evil.example"}, "https://events"),
            ({"routing_key": "a" * 32, "url": "http://events.pagerduty.com"}, "https://"),
        ],
    )
    def test_that_cannot_work_are_refused_with_a_sentence(self, settings: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            TRANSPORTS["pagerduty"].check(settings)
