"""Slack gets one message that a person understands at once, and its errors are understood."""

import logging
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from alerts import http
from alerts.channels import TRANSPORTS, slack
from alerts.channels.base import Event, Notice, TransportError
from alerts.channels.slack import Slack
from alerts.signal import Severity
from tests.alerts import vendors
from tests.alerts.notices import notice
from tests.alerts.vendors import Reply, SlackServer

SAMPLE = """🚨 COST ANOMALY DETECTED
Type: cost_spike
Severity: CRITICAL
Persona: ai_jesus
Current cost: $0.067
Multiplier: 3.35x baseline"""


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackServer]:
    with vendors.slack() as it:
        settings.ALERT_TEST_ENDPOINTS = [it.origin]
        monkeypatch.setattr(http, "BACK_OFF_SECONDS", 0.001)
        yield it


def send(server: SlackServer, said: Notice | None = None, **more: Any) -> dict[str, Any]:
    """Send it, and return the message that Slack got."""
    Slack().send(said or notice(), {"url": server.url, **more})
    message: dict[str, Any] = server.messages[-1]
    return message


def every_text(message: dict[str, Any]) -> str:
    texts = [message["text"]]
    for block in message["blocks"]:
        parts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
        texts += [part["text"] for part in parts if part]
    return "\n".join(texts)


class TestTheMessage:
    def test_is_the_specified_one_byte_for_byte(self, server: SlackServer) -> None:
        message = send(server)

        assert message["text"].encode() == SAMPLE.encode()
        assert message["channel"] == "#finops-alerts"
        assert message["username"] == "FinOps Engine"
        assert message["icon_emoji"] == ":money_with_wings:"

    def test_stays_the_specified_one_when_more_is_known(self, server: SlackServer) -> None:
        facts = {"current": "0.067", "baseline": "0.02", "multiplier": "3.35", "driven_by": "gpt-4o, hook: 80 % of it"}

        message = send(server, notice(facts=facts))

        assert message["text"] == SAMPLE
        assert "*Baseline*\n$0.020" in every_text(message)
        assert "gpt-4o, hook: 80 % of it" in every_text(message)

    def test_has_no_line_for_what_is_not_known(self, server: SlackServer) -> None:
        message = send(server, notice(persona_id="", facts={}, title="Cost spike: all"))

        assert message["text"] == "🚨 COST ANOMALY DETECTED\nType: cost_spike\nSeverity: CRITICAL"

    @pytest.mark.parametrize(
        ("facts", "lines"),
        [
            ({"current": Decimal("0.0674999"), "multiplier": Decimal("3.3749")}, ["$0.067", "3.37x baseline"]),
            ({"current": 12, "multiplier": 300}, ["$12.000", "300.00x baseline"]),
            ({"current": "0.0000004"}, ["$0.0000004"]),
            ({"current": "0"}, ["$0.000"]),
            ({"current": "unknown", "multiplier": "NaN"}, ["Current cost: unknown", "Multiplier: NaN"]),
            ({"current": "1e999999"}, ["Current cost: 1e999999"]),
        ],
    )
    def test_prints_numbers_as_the_specification_does(
        self, server: SlackServer, facts: dict[str, Any], lines: list[str]
    ) -> None:
        text = send(server, notice(facts=facts))["text"]

        assert all(line in text for line in lines)

    @pytest.mark.parametrize(
        ("rule", "facts", "line"),
        [
            ("cost_threshold", {"current": "0.05", "baseline": "0.04"}, "Threshold: $0.040"),
            ("budget_overrun", {"current": "9", "baseline": "10", "used_percent": "90"}, "Spent: $9.000"),
            ("budget_overrun", {"current": "9", "baseline": "10", "used_percent": "90"}, "Used: 90 %"),
            ("negative_roi", {"current": "-60"}, "Return: -60 %"),
            ("efficiency_drop", {"current": "1.5", "baseline": "3"}, "Outcomes per dollar: 1.5"),
            ("unpriced", {"current": "7"}, "Lines without a price: 7"),
            ("brand_new", {"saved_usd": "3", "number_of_posts": 4}, "Saved: $3.000"),
            ("brand_new", {"saved_usd": "3", "number_of_posts": 4}, "Number of posts: 4"),
            ("brand_new", {"window": {"start": "a", "end": "b"}, "models": ["x", "y"]}, "Window: start a, end b"),
        ],
    )
    def test_names_the_facts_of_every_rule_with_their_units(
        self, server: SlackServer, rule: str, facts: dict[str, Any], line: str
    ) -> None:
        assert line in send(server, notice(rule=rule, facts=facts))["text"].splitlines()

    @pytest.mark.parametrize("event", list(Event))
    def test_says_why_it_comes_in_its_first_line(self, server: SlackServer, event: Event) -> None:
        message = send(server, notice(event))

        first = message["text"].splitlines()[0]
        assert message["blocks"][0]["text"]["text"] == first
        assert (first == "🚨 COST ANOMALY DETECTED") == (event is Event.OPENED)

    def test_says_the_sentence_of_the_template(self, server: SlackServer) -> None:
        message = send(server)

        assert message["blocks"][1]["text"]["text"] == "🚨 Cost spike detected: ai_jesus - $0.067 (3.4x baseline)"

    def test_says_the_sentence_of_the_operators_own_template(self, server: SlackServer) -> None:
        message = send(server, templates={"cost_spike": "${persona_id} burns $$${cost:.2f} <!channel>"})

        assert message["blocks"][1]["text"]["text"] == "ai_jesus burns $0.07 &lt;!channel&gt;"

    @pytest.mark.parametrize("template", ["${gone}", "$", "${threshold:.3f}"])
    def test_is_sent_even_if_the_template_is_broken(self, server: SlackServer, template: str) -> None:
        message = send(server, templates={"cost_spike": template})

        assert message["blocks"][1]["text"]["text"] == "Cost spike: ai_jesus"

    def test_takes_the_threshold_of_a_post_from_its_baseline(self, server: SlackServer) -> None:
        said = notice(rule="cost_threshold", facts={"current": "0.05", "baseline": "0.04"})

        assert send(server, said)["blocks"][1]["text"]["text"] == "💰 Cost threshold breach: $0.050 &gt; $0.040"

    def test_says_of_any_other_rule_what_its_title_says(self, server: SlackServer) -> None:
        said = notice(rule="budget_overrun", title="95 % of a budget used: all", facts={"current": "9.5"})

        text = send(server, said)["blocks"][1]["text"]["text"]
        assert text == "⚠️ Cost anomaly: budget_overrun - Severity: CRITICAL - 95 % of a budget used: all"

    def test_of_a_resolved_incident_does_not_cry_again(self, server: SlackServer) -> None:
        message = send(server, notice(Event.RESOLVED))

        assert message["text"].startswith("✅ COST ANOMALY RESOLVED\n")
        assert "🚨" not in every_text(message)

    def test_leads_to_the_page_and_tells_the_time(self, server: SlackServer) -> None:
        context = send(server)["blocks"][-1]["elements"][0]["text"]

        assert "<https://finops.example/admin/anomalies/anomaly/1/change/|Open in the FinOps engine>" in context
        assert "<!date^1795435200^" in context
        assert "2026-11-23 12:00:00 UTC" in context

    @pytest.mark.parametrize("url", ["", "/admin/1/", "javascript:alert(1)", "https://x|y>", "https://a b", "http://["])
    def test_has_no_link_where_there_is_no_page(self, server: SlackServer, url: str) -> None:
        assert "Open in" not in every_text(send(server, notice(url=url))) or url == "http://["

    def test_of_many_counts_the_others(self, server: SlackServer) -> None:
        assert "Others: 9999 more of the same kind" in send(server, notice(rule="learned", others=9999))["text"]

    def test_of_a_digest_lists_its_lines(self, server: SlackServer) -> None:
        lines = ("cost_spike: a", "learned: b")

        message = send(server, notice(Event.DIGEST, title="12 alerts in a minute", lines=lines, facts={}))

        assert message["text"].splitlines()[:2] == ["📋 COST ALERT DIGEST", "12 alerts in a minute"]
        assert "• cost_spike: a\n• learned: b" in every_text(message)


class TestStrangersText:
    EVIL = "<!channel> <https://evil.example|click> &amp; *bold*\nSeverity: LOW\u202e\x00"

    def test_can_neither_shout_nor_link_nor_fake_a_line(self, server: SlackServer) -> None:
        said = notice(
            persona_id=self.EVIL, title=self.EVIL, facts={self.EVIL: self.EVIL}, lines=(self.EVIL,), rule=self.EVIL
        )

        message = send(server, said)

        text = every_text(message)
        assert "<!channel" not in text
        assert "<https://evil" not in text
        assert "&amp;amp;" in text
        assert not {"\u202e", "\x00"} & set(text)
        assert "Severity: LOW" not in message["text"].splitlines()

    def test_is_no_link_by_looking_like_one(self, server: SlackServer) -> None:
        message = send(server, notice(persona_id="https://evil.example @here #general"))

        parts = [part for block in message["blocks"] for part in [block.get("text"), *block.get("fields", [])] if part]
        assert all(part["verbatim"] for part in parts if part["type"] == "mrkdwn")

    @pytest.mark.parametrize("letter", ["x", "&", "🚨"])
    def test_is_cut_where_slack_would_refuse_it(self, server: SlackServer, letter: str) -> None:
        long = letter * 10_000
        facts = {f"fact {number}": long for number in range(30)}

        message = send(server, notice(rule=long, persona_id=long, title=long, facts=facts, lines=(long,) * 2_000))

        assert len(message["text"]) <= 4_000
        assert "&am…" not in every_text(message)
        assert "more" in message["blocks"][-2]["text"]["text"]

    def test_of_a_digest_is_packed_into_few_sections(self, server: SlackServer) -> None:
        lines = tuple(f"cost_spike: persona {number}" for number in range(100))

        assert "persona 99" in every_text(send(server, notice(Event.DIGEST, lines=lines)))


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "word", "broken"),
        [
            (400, "invalid_payload", False),
            (403, "action_prohibited", True),
            (404, "channel_not_found", True),
            (404, "no_service", True),
            (410, "channel_is_archived", True),
        ],
    )
    def test_that_last_are_told_with_slacks_own_word(
        self, server: SlackServer, status: int, word: str, broken: bool
    ) -> None:
        server.answers.append(Reply(status, word))

        with pytest.raises(TransportError, match=f"Slack answered {status} {word}") as error:
            send(server)
        assert error.value.permanent
        assert error.value.channel_broken is broken
        assert len(server.got) == 1

    def test_of_a_rate_limit_carry_slacks_wish(self, server: SlackServer) -> None:
        server.answers.append(Reply(429, "rate_limited", retry_after=30))

        with pytest.raises(TransportError) as error:
            send(server)
        assert not error.value.permanent
        assert error.value.retry_after is not None
        assert error.value.retry_after.total_seconds() == 30

    def test_of_its_limit_of_one_message_a_second_pass(self, server: SlackServer) -> None:
        server.seconds_between = 1
        send(server)

        with pytest.raises(TransportError) as error:
            send(server)
        assert error.value.retry_after is not None
        time.sleep(error.value.retry_after.total_seconds())
        send(server)

    def test_of_the_server_are_tried_again_at_once(self, server: SlackServer) -> None:
        server.answers.extend([Reply(500, "rollup_error")] * 3)

        assert Slack().send(notice(), {"url": server.url}) == "ok"
        assert len(server.got) == 4

    def test_that_go_on_are_left_to_the_outbox(self, server: SlackServer) -> None:
        server.answers.extend([Reply(500, "rollup_error")] * 4)

        with pytest.raises(TransportError, match="500") as error:
            send(server)
        assert not error.value.permanent

    def test_of_a_slack_that_hangs_are_temporary(self, server: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "READ_SECONDS", 0.1)
        server.answers.append(Reply(200, delay=5))

        with pytest.raises(TransportError, match="in time") as error:
            send(server)
        assert not error.value.permanent

    def test_of_a_redirect_last(self, server: SlackServer) -> None:
        server.answers.append(Reply(302, location="https://evil.example/"))

        with pytest.raises(TransportError, match="302") as error:
            send(server)
        assert error.value.permanent
        assert not error.value.channel_broken

    @pytest.mark.parametrize("url", ["", "https://evil.example/services/x", "http://hooks.slack.com/services/x", None])
    def test_of_a_wrong_address_break_the_channel(self, url: str | None) -> None:
        with pytest.raises(TransportError, match="address") as error:
            Slack().send(notice(), {"url": url})
        assert error.value.channel_broken

    @pytest.mark.parametrize("reply", [Reply(403, "word {url}"), Reply(500), Reply(429), Reply(200, delay=5)])
    def test_and_logs_never_show_the_webhooks_address(
        self,
        server: SlackServer,
        reply: Reply,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(http, "READ_SECONDS", 0.1)
        server.answers.extend([Reply(reply.status, reply.body.format(url=server.url), delay=reply.delay)] * 4)

        with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as error:
            send(server)
        assert "canary" not in str(error.value)
        assert error.value.__cause__ is None
        assert "canary" not in caplog.text


class TestSettings:
    @pytest.mark.parametrize(
        "more", [{}, {"templates": {}}, {"templates": {"anomaly": "${title}"}}, {"channel": "#elsewhere"}]
    )
    def test_that_work_pass(self, more: dict[str, Any]) -> None:
        TRANSPORTS["slack"].check({"url": "https://hooks.slack.com/services/T/B/x", **more})

    @pytest.mark.parametrize(
        ("settings", "why"),
        [
            ({}, "address"),
            ({"url": "https://hooks.slack.com/"}, "longer"),
            ({"url": "https://example.com/services/x"}, r"https://hooks\.slack\.com"),
            ({"url": "https://hooks.slack.com/s", "templates": {"other": "x"}}, "no template other"),
            ({"url": "https://hooks.slack.com/s", "templates": {"anomaly": "${cost}"}}, "There is no"),
            ({"url": "https://hooks.slack.com/s", "templates": "x"}, "object"),
        ],
    )
    def test_that_cannot_work_are_refused_with_a_sentence(self, settings: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            TRANSPORTS["slack"].check(settings)


def test_the_severity_is_told_as_it_is(server: SlackServer) -> None:
    texts = [send(server, notice(severity=severity))["text"] for severity in Severity]

    assert [text.splitlines()[2] for text in texts] == [
        "Severity: LOW",
        "Severity: MEDIUM",
        "Severity: HIGH",
        "Severity: CRITICAL",
    ]


def test_an_escaped_text_never_ends_in_half_an_entity() -> None:
    for longest in range(2, 30):
        cut = slack.escaped("a&b<c>d&&&&&", longest)

        assert len(cut) <= longest
        assert cut.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0
