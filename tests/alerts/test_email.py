"""Mails hang together and cannot be forged by what they tell of; a mail server's errors are understood."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from pytest_django import Settings

from alerts.channels import TRANSPORTS, email
from alerts.channels.base import Event, Notice, TransportError
from alerts.channels.email import Email, compose, subject
from alerts.signal import Severity
from tests.alerts import vendors
from tests.alerts.notices import NOON, notice
from tests.alerts.vendors import MailServer

TO = ["oncall@finops.example", "finance@finops.example"]


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    with vendors.smtp() as it:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = it.host, it.port
        settings.DEFAULT_FROM_EMAIL = "finops@finops.example"
        yield it


def send(said: Notice | None = None, *, sender: str = "") -> str:
    return Email().send(said or notice(), {"to": TO, "from": sender})


def html_of(said: Notice) -> str:
    content, kind = compose(said, {"to": TO}).alternatives[0]
    assert kind == "text/html"
    return str(content)


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


class TestTheMail:
    def test_goes_to_everybody_with_text_and_html(self, server: MailServer) -> None:
        receipt = send()

        (mail,) = server.mails
        assert server.recipients == [TO]
        assert mail["Subject"] == "[FinOps] CRITICAL cost_spike: ai_jesus"
        assert mail["From"] == "finops@finops.example"
        assert mail["Message-ID"] == receipt
        assert "Current cost: $0.067\nMultiplier: 3.35x baseline" in part(mail, "plain").replace("\r", "")
        assert "3.35x baseline</td>" in part(mail, "html")
        for kind in ("plain", "html"):
            assert "https://finops.example/admin/anomalies/anomaly/1/change/" in part(mail, kind)

    def test_comes_from_the_channels_own_sender(self, server: MailServer) -> None:
        send(sender="FinOps <costs@finops.example>")

        assert server.mails[0]["From"] == "FinOps <costs@finops.example>"

    @pytest.mark.parametrize(
        ("event", "said"),
        [
            (Event.OPENED, "[FinOps] CRITICAL cost_spike: ai_jesus"),
            (Event.ESCALATED, "[FinOps] CRITICAL cost_spike: ai_jesus"),
            (Event.ACKNOWLEDGED, "[FinOps] ACKNOWLEDGED cost_spike: ai_jesus"),
            (Event.RESOLVED, "[FinOps] RESOLVED cost_spike: ai_jesus"),
            (Event.DIGEST, "[FinOps] Digest: Cost spike: ai_jesus"),
            (Event.TEST, "[FinOps] Test of this channel"),
        ],
    )
    def test_says_in_its_subject_what_it_is(self, event: Event, said: str) -> None:
        assert subject(notice(event)) == said

    def test_of_the_whole_installation_names_its_title(self) -> None:
        assert subject(notice(persona_id="", title="Budget: all")) == "[FinOps] CRITICAL cost_spike: Budget: all"

    def test_of_what_was_done_says_the_effect(self) -> None:
        said = notice(rule="emergency_override", title="Override: nothing is let through for ghost")

        assert subject(said) == "[FinOps] CRITICAL: Override: nothing is let through for ghost"

    def test_hangs_together_with_all_others_of_its_incident(self, server: MailServer) -> None:
        send()
        send(notice(Event.RESOLVED, at=NOON + timedelta(minutes=5)))
        send(notice(dedup_key="group-18"))

        opened, resolved, other = server.mails
        assert opened["References"] == resolved["References"] == resolved["In-Reply-To"] != other["References"]
        assert len({mail["Message-ID"] for mail in server.mails}) == 3

    def test_has_the_same_id_when_it_is_sent_again(self, server: MailServer) -> None:
        assert send() == send()

    def test_of_a_digest_is_a_table(self, server: MailServer) -> None:
        send(notice(Event.DIGEST, title="3 open incidents", lines=("cost_spike: a", "learned: <b>"), facts={}))

        html = part(server.mails[0], "html")
        assert html.count("<tr><td") == 2
        assert "learned: &lt;b&gt;" in html
        assert "- learned: <b>" in part(server.mails[0], "plain")

    def test_is_written_for_light_and_dark_without_a_word_from_elsewhere(self) -> None:
        html = html_of(notice())

        assert 'name="color-scheme" content="light dark"' in html
        assert not [word for word in ("<style", "<script", "<img", "@import", "url(") if word in html]

    @pytest.mark.parametrize("event", list(Event))
    @pytest.mark.parametrize("severity", list(Severity))
    def test_can_be_written_for_everything_that_happens(self, event: Event, severity: Severity) -> None:
        assert compose(notice(event, severity=severity), {"to": TO}).alternatives


class TestStrangersText:
    EVIL = "a\r\nBcc: all@evil.example\r\n\r\n<script>alert(1)</script>\u202e"

    def test_cannot_add_a_header_or_a_script(self, server: MailServer) -> None:
        said = notice(
            persona_id=self.EVIL, rule=self.EVIL, title=self.EVIL, facts={self.EVIL: self.EVIL}, dedup_key=self.EVIL
        )

        send(said)

        (mail,) = server.mails
        assert server.recipients == [TO]
        assert mail["Bcc"] is None
        assert "<script" not in part(mail, "html")
        assert not [line for line in part(mail, "plain").splitlines() if line.startswith("Bcc")]

    def test_cannot_make_a_subject_of_any_length(self) -> None:
        assert len(subject(notice(persona_id="x" * 100_000))) == 200

    @pytest.mark.parametrize("url", ["javascript:alert(1)", 'https://x/"onclick="', "/admin/1/"])
    def test_cannot_make_a_link(self, url: str) -> None:
        html = html_of(notice(url=url))

        assert "<a " not in html


class TestErrors:
    @pytest.mark.parametrize(
        ("command", "said", "permanent"),
        [
            ("CONNECT", "421 come back later", False),
            ("CONNECT", "554 no service here", True),
            ("MAIL", "451 try again", False),
            ("MAIL", "550 sender refused", True),
            ("RCPT", "450 greylisted", False),
            ("RCPT", "550 5.1.1 no such user", True),
            ("DATA", "452 disk full", False),
            ("END", "451 try again", False),
            ("END", "554 looks like spam", True),
        ],
    )
    def test_mean_what_their_code_means(self, server: MailServer, command: str, said: str, permanent: bool) -> None:
        server.answers[command] = said

        with pytest.raises(TransportError, match=f"The mail server answered {said[:3]}: ") as error:
            send()
        assert error.value.permanent is permanent
        assert not error.value.channel_broken

    def test_of_all_recipients_are_temporary_if_one_may_pass_later(self, server: MailServer) -> None:
        server.answers.update({f"RCPT {TO[0]}": "550 no such user", f"RCPT {TO[1]}": "450 greylisted"})

        with pytest.raises(TransportError) as error:
            send()
        assert not error.value.permanent

    def test_of_one_recipient_do_not_keep_the_mail_from_the_others(self, server: MailServer) -> None:
        server.answers[f"RCPT {TO[0]}"] = "550 no such user"

        assert send()
        assert len(server.mails) == 1

    @pytest.mark.parametrize(("said", "broken"), [("535 wrong password", True), ("454 try again", False)])
    def test_of_the_login_break_the_channel_if_they_last(
        self, server: MailServer, settings: Settings, said: str, broken: bool
    ) -> None:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "finops", "canary-password"
        server.answers["AUTH"] = said

        with pytest.raises(TransportError, match="refused the login") as error:
            send()
        assert error.value.permanent is broken
        assert error.value.channel_broken is broken

    def test_of_settings_that_the_server_cannot_fulfil_break_the_channel(
        self, server: MailServer, settings: Settings
    ) -> None:
        settings.EMAIL_USE_TLS = True

        with pytest.raises(TransportError, match="such as TLS") as error:
            send()
        assert error.value.channel_broken

    def test_of_a_server_that_is_away_pass(self, server: MailServer, settings: Settings) -> None:
        settings.EMAIL_PORT = 1

        with pytest.raises(TransportError, match="cannot be reached: ConnectionRefusedError") as error:
            send()
        assert not error.value.permanent

    def test_of_a_server_that_hangs_pass(self, server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(email, "TIMEOUT_SECONDS", 0.2)
        server.silent = True

        with pytest.raises(TransportError, match="cannot be reached") as error:
            send()
        assert not error.value.permanent

    def test_and_logs_never_show_the_password(
        self, server: MailServer, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "finops", "canary-password"
        told = []
        for command, said in {"AUTH": "535 canary-password is wrong", "MAIL": "550 canary-password"}.items():
            server.answers = {command: said}
            with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as error:
                send()
            told.append(str(error.value))
        assert "canary" not in f"{told}{caplog.text}"


class TestSettings:
    @pytest.mark.parametrize("more", [{}, {"from": "costs@finops.example"}, {"from": "FinOps <costs@finops.example>"}])
    def test_that_work_pass(self, more: dict[str, Any]) -> None:
        TRANSPORTS["email"].check({"to": TO, **more})

    @pytest.mark.parametrize(
        ("settings", "why"),
        [
            ({}, "list"),
            ({"to": []}, "list"),
            ({"to": "a@b.example"}, "list"),
            ({"to": ["nobody"]}, "nobody is not a mail address"),
            ({"to": ["a@b.example\nBcc: c@d.example"]}, "not a mail address"),
            ({"to": [None]}, "not a mail address"),
            ({"to": TO, "from": "nobody"}, "not a mail address"),
            ({"to": TO, "from": "x\r\nBcc: c@d.example <a@b.example>"}, "not"),
        ],
    )
    def test_that_cannot_work_are_refused_with_a_sentence(self, settings: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            TRANSPORTS["email"].check(settings)
        with pytest.raises(TransportError) as error:
            Email().send(notice(), settings)
        assert error.value.channel_broken
