"""A webhook of a customer's gets the whole notice, signed so that the receiver knows who sent it and when."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from alerts import http
from alerts.channels import TRANSPORTS
from alerts.channels.base import Event, Notice, TransportError
from alerts.channels.webhook import SignatureError, Webhook, sign, verify
from tests.alerts import vendors
from tests.alerts.notices import NOON, notice
from tests.alerts.vendors import Reply, Vendor

SECRET = "canary-secret-of-the-webhook"


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    with vendors.webhook() as it:
        settings.ALERT_TEST_ENDPOINTS = [it.origin]
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0.001)
        yield it


def send(server: Vendor, said: Notice | None = None) -> str:
    return Webhook().send(said or notice(), {"url": f"{server.url}/canary-hook", "secret": SECRET})


class TestTheMessage:
    def test_is_the_whole_notice(self, server: Vendor) -> None:
        send(server, notice(facts={"current": Decimal("0.0670"), "multiplier": "3.35"}, others=2, lines=("a", "b")))

        (request,) = server.got
        assert request.headers["Content-Type"] == "application/json"
        assert request.json == {
            "event": "opened",
            "dedup_key": "group-17",
            "rule": "cost_spike",
            "severity": "critical",
            "persona_id": "ai_jesus",
            "title": "Cost spike: ai_jesus",
            "at": "2026-11-23T12:00:00Z",
            "facts": {"current": "0.0670", "multiplier": "3.35"},
            "url": "https://finops.example/admin/anomalies/anomaly/1/change/",
            "others": 2,
            "lines": ["a", "b"],
        }

    def test_is_signed_now_with_the_shared_secret(self, server: Vendor) -> None:
        # Noon is long ago, or still to come: a notice may wait in the outbox for a day.
        send(server, notice(at=NOON - timedelta(days=300)))

        (request,) = server.got
        verify(SECRET, request.headers["X-FinOps-Signature"], request.body, datetime.now(UTC))

    def test_has_one_id_however_often_it_is_sent(self, server: Vendor) -> None:
        said = [notice(), notice(), notice(Event.RESOLVED), notice(at=NOON + timedelta(hours=1))]

        receipts = [send(server, one) for one in said]

        assert receipts == [request.headers["X-FinOps-Delivery"] for request in server.got]
        assert receipts[0] == receipts[1] == "group-17:opened:1795435200"
        assert len(set(receipts)) == 3

    def test_has_an_id_that_fits_into_a_header(self, server: Vendor) -> None:
        assert send(server, notice(dedup_key="ä\r\nX-Evil: 1")).startswith("%C3%A4%0D%0AX-Evil:%201:opened")


class TestTheSignature:
    BODY = b'{"event": "opened"}'
    AT = 1_795_435_200
    HEADER = sign(SECRET, BODY, AT)

    @pytest.mark.parametrize("seconds", [-300, 0, 300])
    def test_is_good_for_five_minutes_both_ways(self, seconds: int) -> None:
        verify(SECRET, self.HEADER, self.BODY, NOON + timedelta(seconds=seconds))

    @pytest.mark.parametrize("seconds", [-301, 301])
    def test_is_too_old_after_that(self, seconds: int) -> None:
        with pytest.raises(SignatureError, match="too long ago"):
            verify(SECRET, self.HEADER, self.BODY, NOON + timedelta(seconds=seconds))

    def test_may_stand_beside_one_with_an_older_secret(self) -> None:
        old = sign("the secret of last year", self.BODY, self.AT).partition(",")[2]

        verify(SECRET, f"{self.HEADER.partition(',')[0]},{old},{self.HEADER.partition(',')[2]}", self.BODY, NOON)

    @pytest.mark.parametrize(
        ("header", "why"),
        [
            ("", "no time"),
            ("v1=abc", "no time"),
            ("t=soon,v1=abc", "no time"),
            ("t=1795435200,t=1,v1=abc", "no time"),
            ("t=1795435200", "not ours"),
            ("t=1795435200,v1=", "not ours"),
            ("t=1795435200,v1=ä", "not ours"),
            (HEADER[:-1] + ("0" if HEADER[-1] != "0" else "1"), "not ours"),
            (HEADER.replace("t=1795435200", "t=1795435201"), "not ours"),
        ],
    )
    def test_that_is_not_ours_is_refused(self, header: str, why: str) -> None:
        with pytest.raises(SignatureError, match=why):
            verify(SECRET, header, self.BODY, NOON)

    def test_covers_every_byte_of_the_body(self) -> None:
        with pytest.raises(SignatureError, match="not ours"):
            verify(SECRET, self.HEADER, self.BODY + b" ", NOON)
        with pytest.raises(SignatureError, match="not ours"):
            verify("another secret of a webhook", self.HEADER, self.BODY, NOON)


class TestErrors:
    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    def test_are_none_of_2xx(self, server: Vendor, status: int) -> None:
        server.answers.append(Reply(status))

        assert send(server)

    @pytest.mark.parametrize(("status", "broken"), [(400, False), (404, False), (410, True), (301, False)])
    def test_that_last(self, server: Vendor, status: int, broken: bool) -> None:
        server.answers.append(Reply(status, "some words", location="http://127.0.0.1/"))

        with pytest.raises(TransportError, match=f"The webhook answered {status}") as error:
            send(server)
        assert error.value.permanent
        assert error.value.channel_broken is broken
        assert len(server.got) == 1

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_that_pass(self, server: Vendor, status: int) -> None:
        server.answers.extend([Reply(status, retry_after=9)] * 4)

        with pytest.raises(TransportError, match=str(status)) as error:
            send(server)
        assert not error.value.permanent
        assert error.value.retry_after == timedelta(seconds=9)

    def test_of_a_receiver_that_hangs_pass(self, server: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "READ_SECONDS", 0.1)
        server.answers.append(Reply(200, delay=5))

        with pytest.raises(TransportError, match="in time") as error:
            send(server)
        assert not error.value.permanent

    def test_and_logs_and_receipts_show_neither_secret_nor_address(
        self, server: Vendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.answers.extend([Reply(400, f"{SECRET} {server.url}/canary-hook"), *[Reply(500)] * 4, Reply(200)])

        with caplog.at_level(logging.DEBUG):
            with pytest.raises(TransportError) as permanent:
                send(server)
            with pytest.raises(TransportError) as temporary:
                send(server)
            receipt = send(server)
        assert "canary" not in f"{permanent.value}{temporary.value}{receipt}{caplog.text}"
        assert all("canary-secret" not in str(request) for request in server.got)


class TestSettings:
    def test_that_work_pass(self) -> None:
        TRANSPORTS["webhook"].check({"url": "https://example.com/hook", "secret": "s" * 16})

    @pytest.mark.parametrize(
        ("settings", "why"),
        [
            ({"secret": "s" * 16}, "address"),
            ({"url": "http://example.com/", "secret": "s" * 16}, "https://"),
            ({"url": "https://10.0.0.1/", "secret": "s" * 16}, "private"),
            ({"url": "https://example.com/", "secret": "s" * 15}, "16 characters"),
            ({"url": "https://example.com/"}, "16 characters"),
        ],
    )
    def test_that_cannot_work_are_refused_with_a_sentence(self, settings: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            TRANSPORTS["webhook"].check(settings)
