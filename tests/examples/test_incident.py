"""What the demo makes of the messages in the receivers: how they are read, judged and told."""

import json
from collections.abc import Callable, Iterable, Mapping
from email import message_from_bytes, policy
from typing import Any

import pytest

from alerts.channels import email, pagerduty, slack
from alerts.channels.base import Event, Notice
from alerts.signal import Severity
from examples.content_pipeline.incident import Incident, summary
from examples.content_pipeline.receivers import Receivers, about, told
from finops_project.local.receivers import vendors
from finops_project.local.receivers.book import Book
from finops_project.local.receivers.mail import TAKEN
from finops_project.local.receivers.mail import told as told_mail
from finops_project.local.stand_ins import ROUTING_KEY
from tests.alerts.notices import notice

SPIKE = {"current": "0.117", "multiplier": "5.85"}
MAIL = {"to": ["oncall@localhost"]}


class Kept(Receivers):
    """Receivers that were told these notices; `channels` says what which channel makes of one."""

    def __init__(self, notices: Iterable[Notice]) -> None:
        super().__init__("http://127.0.0.1:1")
        book = Book()
        for each in notices:
            book.keep("slack", *vendors.slack(json.dumps(slack.message(each, {})).encode()))
            action = {"resolved": "resolve"}.get(each.event, "trigger")
            page = {"routing_key": ROUTING_KEY, **pagerduty.event(each, action)}
            book.keep("pagerduty", *vendors.pagerduty(json.dumps(page).encode()))
            mail = message_from_bytes(email.compose(each, MAIL).message().as_bytes(), policy=policy.default)
            book.keep("email", TAKEN, told_mail(mail, MAIL["to"]))
        object.__setattr__(self, "book", book)

    def _read(self) -> Any:
        book: Book = self.book  # type: ignore[attr-defined]
        return {"messages": [each.to_json() for each in book.messages()], "incidents": book.incidents()}


def spike(event: Event = Event.OPENED, *, facts: Mapping[str, Any] = SPIKE, **fields: Any) -> Notice:
    return notice(event, facts=facts, **{"persona_id": "night_owl-run1", **fields})


def incident(*notices: Notice) -> Incident:
    return Incident(Kept(notices), "night_owl-run1", after=0)


def page_that_answers(status: int) -> Callable[[str], int]:
    return lambda url: status


class TestAMessage:
    def test_of_any_channel_tells_the_same_facts(self) -> None:
        for message in Kept([spike()]).messages():
            assert (message.rule, message.persona_id, message.is_end) == ("cost_spike", "night_owl-run1", False)
            assert message.facts["Severity"] == "CRITICAL"
            assert message.facts["Current cost"] == "$0.117"
            assert message.facts["Multiplier"].startswith("5.85x")
            assert message.url == "https://finops.example/admin/anomalies/anomaly/1/change/"

    def test_that_ends_an_incident_is_told_with_what_it_ends(self) -> None:
        messages = Kept([spike(), spike(Event.RESOLVED)]).messages()

        ended = about(messages, "night_owl-run1", "cost_spike", ends=True)
        assert [len(found) for found in ended.values()] == [1, 1, 1]

    def test_that_was_refused_is_none(self) -> None:
        refused = {"number": 1, "channel": "slack", "accepted": False, "content": {}}

        assert list(told([refused])) == []

    def test_that_stood_there_before_is_not_looked_at(self) -> None:
        assert Kept([spike()]).messages(after=2)[0].channel == "email"


class TestTheChecks:
    def test_hold_when_everybody_heard_once_of_the_spike_and_of_its_end(self) -> None:
        found = incident(spike(), spike(Event.RESOLVED))

        found.check_begun(page_that_answers(200))
        found.check_ended()

        assert found.wrong == []
        assert found.checked == 24

    def test_find_a_message_that_came_twice(self) -> None:
        found = incident(spike(), spike())

        found.check_begun(page_that_answers(200))

        assert "Slack has 2 messages of the spike instead of one" in found.wrong

    def test_find_that_nobody_heard(self) -> None:
        found = incident()

        found.check_begun(page_that_answers(200))

        assert found.wrong == [
            f"{who} has 0 messages of the spike instead of one" for who in ("Slack", "PagerDuty", "mail")
        ]

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (spike(severity=Severity.HIGH), "mail says the severity HIGH"),
            (spike(facts={"current": "0.117", "multiplier": "4.99"}), "mail says 4.99 times the baseline"),
            (spike(url=""), "PagerDuty has no link to the anomaly"),
        ],
    )
    def test_find_wrong_words(self, wrong: Notice, sentence: str) -> None:
        found = incident(wrong)

        found.check_begun(page_that_answers(200))

        assert sentence in found.wrong

    def test_find_a_link_that_leads_nowhere(self) -> None:
        found = incident(spike())

        found.check_begun(page_that_answers(404))

        assert found.wrong == [
            "https://finops.example/admin/anomalies/anomaly/1/change/ answers 404 to somebody who is logged in"
        ]


def test_what_else_is_told_of_the_run_is_said_and_what_is_not_of_it_is_not() -> None:
    threshold = spike(rule="cost_threshold", severity=Severity.MEDIUM, facts={"current": "0.117"}, dedup_key="group-18")
    other_run = spike(persona_id="night_owl-run0", dedup_key="group-19")
    found = incident(spike(), threshold, other_run)

    said = "\n".join(summary(found, "run1"))

    assert "told besides of this run's personas: 3" in said
    assert "Slack: 🚨 COST ANOMALY DETECTED: cost_threshold of night_owl-run1" in said
    assert "run0" not in said
