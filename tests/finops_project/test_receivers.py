"""The receivers of `make up`, told by the real channels: what they accept, keep, refuse and show."""

import json
import smtplib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from socketserver import BaseServer
from typing import Any

import pytest
from pytest_django import Settings

from alerts import http
from alerts.channels.base import Event, Notice, TransportError
from alerts.channels.email import Email
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from finops_project.local.receivers.book import MOST, Answer, Book
from finops_project.local.receivers.mail import MailServer
from finops_project.local.receivers.web import WebServer
from finops_project.local.stand_ins import ROUTING_KEY, StandIns, channels_without_receiver
from tests.alerts.notices import notice


class Receivers:
    """Both servers on free ports, in threads of this process."""

    def __init__(self) -> None:
        self.book = Book()
        self.web = WebServer(0, self.book, ["slack", "pagerduty", "email"])
        self.mail = MailServer(0, self.book)
        self.url = f"http://127.0.0.1:{self.web.server_port}"
        self.mail_port = int(self.mail.server_address[1])

    def tell(self, *notices: Notice) -> None:
        """Each of them through every channel, as the application is told to by `make up`."""
        for each in notices:
            Slack().send(each, {"url": f"{self.url}/slack"})
            PagerDuty().send(each, {"routing_key": ROUTING_KEY, "url": self.url})
            Email().send(each, {"to": ["oncall@localhost"]})

    @property
    def document(self) -> Any:
        return json.loads(self.get("/messages.json"))

    def get(self, path: str, host: str = "", method: str = "GET") -> str:
        headers = {"Host": host} if host else {}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return str(answer.read().decode())

    def post(self, path: str, body: object) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receivers(settings: Settings) -> Iterator[Receivers]:
    made = Receivers()
    settings.ALERT_TEST_ENDPOINTS = [made.url]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", made.mail_port
    with serving(made.web), serving(made.mail):
        yield made
        # Kept connections would be warned of when they are collected.
        http.close()


class TestWhatTheChannelsTell:
    def test_everything_stands_in_the_document_in_its_order(self, receivers: Receivers) -> None:
        receivers.tell(notice())

        slack, pagerduty, mail = receivers.document["messages"]
        assert [slack["channel"], pagerduty["channel"], mail["channel"]] == ["slack", "pagerduty", "email"]
        assert slack["content"]["text"].startswith("🚨 COST ANOMALY DETECTED\nType: cost_spike\nSeverity: CRITICAL\n")
        assert pagerduty["content"]["payload"]["component"] == "ai_jesus"
        assert mail["content"]["subject"] == "[FinOps] CRITICAL cost_spike: ai_jesus"
        assert mail["content"]["to"] == ["oncall@localhost"]
        assert "Multiplier: 3.35x baseline" in mail["content"]["text"]
        assert all(message["accepted"] for message in (slack, pagerduty, mail))

    def test_an_incident_is_triggered_acknowledged_and_resolved(self, receivers: Receivers) -> None:
        states = []
        for event in (Event.OPENED, Event.ACKNOWLEDGED, Event.RESOLVED):
            receivers.tell(notice(event))
            states.append(receivers.document["incidents"])

        assert states == [{"group-17": "triggered"}, {"group-17": "acknowledged"}, {"group-17": "resolved"}]

    def test_an_end_of_what_never_began_opens_nothing(self, receivers: Receivers) -> None:
        receivers.tell(notice(Event.RESOLVED))

        assert receivers.document["incidents"] == {}

    def test_the_routing_key_is_kept_nowhere(self, receivers: Receivers) -> None:
        receivers.tell(notice())

        assert ROUTING_KEY not in receivers.get("/messages.json") + receivers.get("/")

    def test_deleting_the_document_empties_it(self, receivers: Receivers) -> None:
        receivers.tell(notice())

        receivers.get("/messages.json", method="DELETE")

        assert (receivers.document["messages"], receivers.document["incidents"]) == ([], {})

    def test_a_digest_is_taken_too(self, receivers: Receivers) -> None:
        receivers.tell(notice(Event.DIGEST, title="12 more", lines=tuple(f"line {number}" for number in range(12))))

        assert all(message["accepted"] for message in receivers.document["messages"])


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"text": "hello", "blocks": [{"type": "marquee"}]},
            {"text": "hello", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]},
            {"text": "hello", "blocks": [{"type": "section", "text": {"text": "x"}}] * 51},
            {"text": "hello", "blocks": [7]},
            ["text"],
        ],
    )
    def test_by_slack(self, receivers: Receivers, body: object) -> None:
        status, said = receivers.post("/slack", body)

        assert status == 400
        assert said in {"no_text", "invalid_blocks"}

    def test_by_pagerduty_with_sentences(self, receivers: Receivers) -> None:
        status, said = receivers.post("/v2/enqueue", {"routing_key": "short", "event_action": "trigger"})

        assert status == 400
        assert "Length of 'routing_key' is incorrect (should be 32 characters)" in json.loads(said)["errors"]

    def test_it_is_shown_as_refused(self, receivers: Receivers) -> None:
        receivers.post("/slack", {})

        (message,) = receivers.document["messages"]
        assert (message["accepted"], message["answer"]) == (False, "400 no_text")
        assert "refused: no_text" in receivers.get("/")

    def test_an_unknown_address_is_no_service(self, receivers: Receivers) -> None:
        with pytest.raises(TransportError, match="Slack answered 404 no_service") as refusal:
            Slack().send(notice(), {"url": f"{receivers.url}/services/T/B/x"})

        assert refusal.value.channel_broken

    def test_a_page_under_another_name_reads_nothing(self, receivers: Receivers) -> None:
        with pytest.raises(urllib.error.HTTPError, match="421") as refused:
            receivers.get("/messages.json", host="evil.example")
        refused.value.close()


class TestThePage:
    def test_it_shows_every_channel_and_where_the_incident_stands(self, receivers: Receivers) -> None:
        receivers.tell(notice(), notice(Event.RESOLVED))

        page = receivers.get("/")
        assert page.count("<article") == 6
        assert "<dd>$0.067</dd>" in page
        assert "<dt>It is now</dt><dd>resolved</dd>" in page
        assert '<a href="https://finops.example/admin/anomalies/anomaly/1/change/"' in page

    def test_nothing_in_a_message_becomes_a_part_of_it(self, receivers: Receivers) -> None:
        receivers.tell(notice(persona_id="<script>alert(1)</script>", title="<img src=x onerror=alert(1)>"))
        receivers.post("/slack", {"text": "<javascript:alert(1)|here> <b>"})

        page = receivers.get("/")
        assert "<script" not in page
        assert "<img" not in page
        assert 'href="javascript:' not in page

    def test_a_mail_can_be_seen_as_html(self, receivers: Receivers) -> None:
        receivers.tell(notice())

        assert '<a href="/mail/3">' in receivers.get("/")
        assert "COST ANOMALY DETECTED" in receivers.get("/mail/3")


class TestTheMailServer:
    def test_it_takes_lines_that_begin_with_a_dot(self, receivers: Receivers) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@localhost", "b@localhost", "dots"
        mail.set_content("first\n.\n..second\n")

        with smtplib.SMTP("127.0.0.1", receivers.mail_port, timeout=5) as client:
            client.send_message(mail)

        assert receivers.document["messages"][0]["content"]["text"] == "first\n.\n..second\n"

    def test_two_mails_of_one_session_have_their_own_receivers(self, receivers: Receivers) -> None:
        with smtplib.SMTP("127.0.0.1", receivers.mail_port, timeout=5) as client:
            client.sendmail("a@localhost", ["b@localhost", "c@localhost"], "Subject: one\n\n")
            client.sendmail("a@localhost", ["d@localhost"], "Subject: two\n\n")

        assert [message["content"]["to"] for message in receivers.document["messages"]] == [
            ["b@localhost", "c@localhost"],
            ["d@localhost"],
        ]


def test_only_the_latest_are_kept() -> None:
    book = Book()

    for number in range(MOST + 5):
        event = {"dedup_key": str(number), "event_action": "trigger"}
        book.keep("pagerduty", Answer(202, ""), event)

    assert len(book.messages()) == len(book.incidents()) == MOST
    assert book.messages()[-1].number == MOST + 5


class TestWhoStandsIn:
    def test_a_channel_with_a_receiver_of_its_own_is_left_alone(self) -> None:
        given = {"FINOPS_SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/x"}

        told = StandIns(1, 2, channels_without_receiver(given)).settings(given)

        assert "FINOPS_SLACK_WEBHOOK_URL" not in told
        assert told["FINOPS_PAGERDUTY_URL"] == told["FINOPS_ALERT_TEST_ENDPOINTS"] == "http://127.0.0.1:1"
        assert (told["FINOPS_SMTP_HOST"], told["FINOPS_SMTP_PORT"]) == ("127.0.0.1", "2")

    def test_where_all_have_their_own_there_is_none(self) -> None:
        given = dict.fromkeys(
            ("FINOPS_SLACK_WEBHOOK_URL", "FINOPS_PAGERDUTY_ROUTING_KEY", "FINOPS_ALERT_EMAIL_TO"), "x"
        )

        nobody = StandIns(0, 0, channels_without_receiver(given))

        assert (nobody.url, nobody.settings(given)) == ("", {})

    def test_nor_in_production(self) -> None:
        assert channels_without_receiver({"FINOPS_ENV": "production"}) == ()

    def test_test_endpoints_of_ones_own_stay(self) -> None:
        given = {"FINOPS_ALERT_TEST_ENDPOINTS": "http://127.0.0.1:9"}

        told = StandIns(1, 2, ("slack",)).settings(given)

        assert told["FINOPS_ALERT_TEST_ENDPOINTS"] == "http://127.0.0.1:9,http://127.0.0.1:1"
