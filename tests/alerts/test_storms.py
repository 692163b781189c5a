"""However much happens, people hear it once, and what is urgent is not kept waiting by what is not."""

from datetime import timedelta

import pytest

from alerts.channels.base import Event, TransportError
from alerts.deliver import attempt_due
from alerts.fire import fire
from alerts.models import Alert, Delivery, Route
from alerts.signal import Severity, Status
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, Desk, reasons, signal, the_group

MEDIUM, CRITICAL, HIGH = Severity.MEDIUM, Severity.CRITICAL, Severity.HIGH


class TestTenThousand:
    def test_in_one_minute_of_one_persona_and_type_are_one_message_for_each_channel(self, desk: Desk) -> None:
        for batch in range(10):
            at = NOON + batch * 6 * SECOND
            posts = range(1000 * batch, 1000 * batch + 1000)
            desk.hear(*[signal(f"post-{post}", title=f"Post {post} is dear") for post in posts], at=at)
            if batch == 5:
                desk.hear(signal("other", persona="zen"), at=at + SECOND)
                assert [notice.persona_id for notice in desk.slack.got] == ["ai_jesus", "zen"]

        assert Alert.objects.firing().count() == 10_001
        assert sorted(desk.said) == sorted(
            (kind, Event.OPENED) for kind in ("slack", "pagerduty", "email") for _ in range(2)
        )
        assert reasons(group__persona_id="ai_jesus") == {"grouped": 9_999}
        assert the_group(persona_id="ai_jesus").firing == 10_000

        everything = [signal(f"post-{post}", status=Status.RESOLVED) for post in range(10_000)]
        desk.hear(*everything, at=NOON + 2 * MINUTE)

        ended = [notice for notice in desk.slack.got if notice.event is Event.RESOLVED]
        assert [notice.others for notice in ended] == [9_999]


class TestTooManyPersonas:
    def test_what_is_above_the_rate_becomes_one_digest_and_the_urgent_do_not_wait(self, desk: Desk) -> None:
        storm = [signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM, title=f"Spike {n:03}") for n in range(500)]
        desk.hear(*storm)
        assert len(desk.slack.got) == 10
        assert reasons(group__persona_id="p-499") == {"digested": 1}

        desk.hear(*[signal(f"c-{n:03}", persona=f"c-{n:03}") for n in range(20)], at=NOON + 10 * SECOND)
        assert [notice.severity for notice in desk.slack.got[10:]] == [CRITICAL] * 20
        desk.wait(NOON + 10 * SECOND, NOON + 2 * MINUTE)

        (digest,) = desk.slack.got[30:]
        assert (digest.event, digest.title, digest.at) == (
            Event.DIGEST,
            "490 more messages in one minute",
            NOON + MINUTE,
        )
        assert digest.lines[0] == "Opened, medium: Spike 010 (p-010)"
        assert (len(digest.lines), digest.lines[-1]) == (51, "… and 440 more.")
        assert Delivery.objects.unsent().count() == 0

    def test_what_ends_before_the_digest_is_in_no_digest(self, desk: Desk) -> None:
        storm = [signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(12)]
        desk.hear(*storm)
        desk.end("a-011", persona="p-011", severity=MEDIUM, at=NOON + 5 * SECOND)
        desk.work(at=NOON + MINUTE)

        assert (len(desk.slack.got), len(desk.slack.got[-1].lines)) == (11, 1)
        assert Event.RESOLVED not in desk.slack.events

    def test_a_digest_of_nothing_is_not_sent(self, desk: Desk) -> None:
        desk.hear(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(11)])
        desk.end("a-010", persona="p-010", severity=MEDIUM, at=NOON + 5 * SECOND)
        desk.work(at=NOON + MINUTE)

        assert len(desk.slack.got) == 10
        assert Delivery.objects.get(event=Event.DIGEST).state == "dropped"

    def test_what_was_told_in_a_digest_is_ended_and_the_ends_keep_the_rate_as_well(self, desk: Desk) -> None:
        desk.hear(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(30)])
        desk.work(at=NOON + MINUTE)
        ends = [signal(f"a-{n:03}", persona=f"p-{n:03}", status=Status.RESOLVED, severity=MEDIUM) for n in range(30)]
        desk.hear(*ends, at=NOON + 5 * MINUTE)
        desk.work(at=NOON + 6 * MINUTE)

        assert desk.slack.events.count(Event.RESOLVED) == 10
        assert len(desk.slack.got[-1].lines) == 20
        assert desk.slack.got[-1].lines[0].startswith("Resolved, medium")

    def test_a_digest_that_fails_is_tried_again_and_then_goes_elsewhere(self, desk: Desk) -> None:
        desk.hear(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(15)])
        desk.slack.failures.append(RuntimeError())
        desk.work(at=NOON + MINUTE)
        desk.slack.failures.append(TransportError("gone", permanent=True))
        desk.wait(NOON + MINUTE, NOON + 2 * MINUTE)

        (digest,) = desk.email.got
        assert (digest.event, len(digest.lines)) == (Event.DIGEST, 5)
        assert set(Delivery.objects.filter(digest__isnull=False).values_list("state", "channel__name")) == {
            ("sent", "email")
        }

    def test_the_next_minute_starts_anew(self, desk: Desk) -> None:
        for minute in range(3):
            signals = [signal(f"{minute}-{n}", persona=f"{minute}-{n}", severity=MEDIUM) for n in range(10)]
            desk.hear(*signals, at=NOON + minute * MINUTE)

        assert desk.slack.events == [Event.OPENED] * 30

    def test_the_pager_gets_each_by_itself(self, desk: Desk) -> None:
        Route.objects.filter(severity=MEDIUM).update(channels=["pagerduty"])
        desk.hear(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(15)])

        assert desk.pagerduty.events == [Event.OPENED] * 15

    def test_the_urgent_leave_first_from_a_backlog(self, desk: Desk) -> None:
        fire(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=MEDIUM) for n in range(9)], at=NOON)
        fire(signal(), at=NOON + SECOND)

        attempt_due(at=NOON + SECOND, most=3)

        assert [notice.severity for kind in desk.receivers for notice in desk.receivers[kind].got] == [CRITICAL] * 3


class TestFlapping:
    @pytest.mark.parametrize(
        ("period", "severity", "is_same"),
        [
            (timedelta(seconds=30), MEDIUM, True),
            (timedelta(seconds=30), CRITICAL, False),
            (timedelta(minutes=5), MEDIUM, False),
            (timedelta(minutes=5), CRITICAL, True),
            (timedelta(minutes=40), MEDIUM, True),
            (timedelta(minutes=40), CRITICAL, False),
        ],
    )
    def test_for_an_hour_it_is_said_twice_at_most(
        self, desk: Desk, period: timedelta, severity: Severity, is_same: bool
    ) -> None:
        at, turn = NOON, 0
        while at < NOON + HOUR:
            name = "same" if is_same else f"anomaly-{turn}"
            desk.hear(signal(name, severity=severity), at=at)
            if at + period / 2 < NOON + HOUR:
                desk.end(name, at=at + period / 2, severity=severity)
            at, turn = at + period, turn + 1

        told = [event for event in desk.slack.events if event is not Event.UNACKNOWLEDGED]
        assert told == [Event.OPENED, Event.RESOLVED]
        assert len({notice.dedup_key for notice in desk.slack.got}) == 1
        assert reasons()["flapping"] >= 1

    def test_what_fires_when_the_hour_is_over_is_said_then(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.end(at=NOON + MINUTE)
        desk.hear(signal(severity=MEDIUM), at=NOON + 2 * MINUTE)

        desk.wait(NOON + 2 * MINUTE, NOON + HOUR - SECOND, MINUTE)
        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]
        desk.work(at=NOON + HOUR)
        desk.end(at=NOON + HOUR + MINUTE)

        assert desk.slack.events[2:] == [Event.REPEATED, Event.RESOLVED]

    def test_what_comes_back_worse_is_said_at_once(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.end(at=NOON + MINUTE)
        desk.hear(signal(severity=HIGH), at=NOON + 2 * MINUTE)
        desk.end(at=NOON + 3 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED, Event.ESCALATED, Event.RESOLVED]
