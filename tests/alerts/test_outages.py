"""A receiver that is away costs its own messages time and nothing else; once it is back, everything reaches it."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from pytest_django import Settings

from alerts import deliver, doorbell
from alerts.channels.base import Event, TransportError
from alerts.deliver import attempt, send_test, work_off
from alerts.fire import fire
from alerts.models import Channel, Delivery, Route, State
from alerts.models.deliveries import LEASE
from alerts.signal import Severity
from alerts.sweep import sweep
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, TEMPORARY, Desk, Receiver, seed, signal, together

LOW, MEDIUM, HIGH, CRITICAL = Severity
DAY = 24 * HOUR


class Bells:
    """What was rung and is answered by workers, one after the other, as the tasks do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rung: list[int] = []
        monkeypatch.setattr(doorbell, "ring", lambda ids: self.rung.extend(list(ids)))

    def work(self, *, at: datetime) -> None:
        sweep(at=at)
        rung, self.rung = self.rung, []
        for delivery_id in rung:
            work_off(delivery_id, at=at, seconds=3)

    def wait(self, start: datetime, end: datetime) -> None:
        at = start
        while (at := at + 20 * SECOND) <= end:
            self.work(at=at)


@pytest.fixture
def bells(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Bells:
    return Bells(monkeypatch)


def storm(count: int, severity: Severity = HIGH, *, at: datetime = NOON) -> None:
    fire(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=severity) for n in range(count)], at=at)


def channel(name: str) -> Channel:
    return Channel.objects.get(name=name)


def rests(name: str, start: datetime) -> float:
    until = channel(name).paused_until
    assert until
    return (until - start).total_seconds()


class TestManyMessages:
    def test_what_waits_behind_others_takes_no_place_in_front_of_them(
        self, desk: Desk, bells: Bells, settings: Settings
    ) -> None:
        settings.FINOPS_ALERT_ESCALATE_SECONDS = 900
        desk.pagerduty.always = TEMPORARY
        storm(101)
        bells.wait(NOON, NOON + 16 * MINUTE)
        assert Delivery.objects.unsent().filter(channel__name="pagerduty", event=Event.UNACKNOWLEDGED).count() == 101

        desk.pagerduty.always = None
        bells.wait(NOON + 16 * MINUTE, NOON + 36 * MINUTE)

        assert desk.pagerduty.events.count(Event.OPENED) == desk.pagerduty.events.count(Event.UNACKNOWLEDGED) == 101
        assert Delivery.objects.unsent().count() == 0

    def test_what_is_due_can_be_claimed(self, desk: Desk) -> None:
        storm(3)
        fire(*[signal(f"a-{n:03}", persona=f"p-{n:03}", severity=CRITICAL) for n in range(3)], at=NOON + SECOND)
        due = list(Delivery.objects.due(NOON + SECOND).filter(channel__name="pagerduty"))

        assert [delivery.event for delivery in due] == [Event.OPENED] * 3
        assert Delivery.objects.claim(due[-1].pk, NOON + SECOND)

    def test_a_channel_with_a_thousand_waiting_does_not_keep_another_from_its_place(self, desk: Desk) -> None:
        storm(120)
        fire(signal("low", persona="zen", severity=LOW), at=NOON + SECOND)

        due = Delivery.objects.due(NOON + SECOND).first_of_each_channel()

        assert [(delivery.channel.name, delivery.urgency) for delivery in due] == [
            ("slack", HIGH.rank),
            ("pagerduty", HIGH.rank),
            ("email", LOW.rank),
        ]


class TestResting:
    def test_one_message_finds_out_and_the_others_wait_with_it(self, desk: Desk) -> None:
        desk.slack.always = TEMPORARY
        storm(40, MEDIUM)
        desk.work(at=NOON)

        tried = Delivery.objects.filter(channel__name="slack", attempts__gt=0)
        assert (tried.count(), rests("slack", NOON)) == (1, 10)
        desk.wait(NOON, NOON + 9 * SECOND, SECOND)
        assert tried.count() == 1

    def test_it_rests_longer_each_time_but_never_long_and_a_success_ends_that(self, desk: Desk) -> None:
        desk.slack.always = TEMPORARY
        storm(40, CRITICAL)
        at, seen = NOON, list[float]()
        for _ in range(5):
            desk.work(at=at)
            seen.append(rests("slack", at))
            at = at + seen[-1] * SECOND

        desk.slack.always = None
        desk.work(at=at)

        assert seen == [10, 30, 60, 60, 60]
        assert (channel("slack").failures, channel("slack").paused_until) == (0, None)
        assert len(desk.slack.got) >= 35

    def test_a_test_that_works_ends_it(self, desk: Desk) -> None:
        desk.slack.failures.append(TEMPORARY)
        desk.hear(signal(severity=MEDIUM))

        send_test(channel("slack"), at=NOON + SECOND)

        assert (channel("slack").failures, channel("slack").paused_until) == (0, None)

    def test_the_rest_begins_when_the_attempt_ends(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter((0.0, 25.0))
        monkeypatch.setattr(deliver, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        desk.slack.failures.append(TEMPORARY)
        fire(signal(severity=MEDIUM), at=NOON)

        attempt(Delivery.objects.get().pk, at=NOON)

        assert rests("slack", NOON) == 35
        assert Delivery.objects.get().due_at >= NOON + 35 * SECOND

    def test_a_channel_that_failed_gets_one_at_a_time(self, desk: Desk) -> None:
        storm(3, MEDIUM)
        Channel.objects.filter(name="slack").update(failures=1)

        claims = [Delivery.objects.claim(delivery.pk, NOON) for delivery in Delivery.objects.all()]

        assert [bool(claim) for claim in claims] == [True, False, False]

    def test_however_many_channels_failed_they_are_probed_one_after_the_other(self, desk: Desk) -> None:
        fire(signal(), at=NOON)
        Channel.objects.exclude(name="email").update(failures=1)

        claims = {row.channel.name: bool(Delivery.objects.claim(row.pk, NOON)) for row in Delivery.objects.all()}

        assert sorted(claims.values()) == [False, True, True]
        assert claims["email"]
        assert Delivery.objects.due(NOON + LEASE - SECOND).count() == 0
        assert Delivery.objects.due(NOON + LEASE).count() == 3


class TestUrgency:
    def test_a_critical_message_does_not_wait_for_the_back_off_of_an_earlier_one(self, desk: Desk) -> None:
        desk.pagerduty.always = TEMPORARY
        desk.hear(signal(severity=HIGH))
        desk.wait(NOON, NOON + 50 * MINUTE)
        desk.pagerduty.always = None
        start = NOON + 50 * MINUTE
        assert Delivery.objects.unsent().earliest("sequence").due_at > start + MINUTE

        desk.hear(signal(severity=CRITICAL), at=start)
        desk.wait(start, start + MINUTE)

        assert desk.pagerduty.events[0] is Event.OPENED
        assert desk.pagerduty.events[-1] is Event.ESCALATED

    def test_one_that_can_wait_hurries_nobody(self, desk: Desk) -> None:
        Route.objects.filter(severity=LOW).update(channels=["slack"])
        fire(signal(severity=LOW), at=NOON)
        Delivery.objects.update(due_at=NOON + HOUR)

        fire(signal(severity=MEDIUM), at=NOON + SECOND)

        assert Delivery.objects.earliest("pk").due_at == NOON + HOUR


class TestNeverSaid:
    def test_what_was_dropped_unsaid_does_not_make_the_next_one_flap(self, desk: Desk) -> None:
        channel("slack").pause(NOON + 2 * MINUTE)
        desk.hear(signal("a", severity=MEDIUM))
        desk.end("a", severity=MEDIUM, at=NOON + MINUTE)
        assert desk.said == []

        desk.hear(signal("b", severity=MEDIUM), at=NOON + 3 * MINUTE)

        assert desk.slack.events == [Event.OPENED]

    def test_what_one_channel_was_told_was_said(self, desk: Desk) -> None:
        channel("email").pause(NOON + 2 * MINUTE)
        Route.objects.filter(severity=MEDIUM).update(channels=["slack", "email"])
        desk.hear(signal("a", severity=MEDIUM))
        desk.end("a", severity=MEDIUM, at=NOON + MINUTE)

        desk.hear(signal("b", severity=MEDIUM), at=NOON + 3 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]
        assert desk.email.events == []


class TestBrokenMessages:
    def spoil(self) -> Delivery:
        delivery = Delivery.objects.get(channel__name="slack")
        delivery.stored_notice["severity"] = "dire"
        delivery.save()
        return delivery

    def test_one_that_nobody_can_read_is_given_up_after_a_day_with_the_reason(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        broken = self.spoil()

        desk.wait(NOON, NOON + DAY - HOUR, 10 * MINUTE)
        broken.refresh_from_db()
        assert (broken.state, broken.error) == (State.PENDING, "ValueError in the message")
        desk.wait(NOON + DAY - HOUR, NOON + DAY + 20 * MINUTE, MINUTE)

        broken.refresh_from_db()
        assert (broken.state, broken.error) == (State.DEAD, "ValueError in the message")
        assert broken.attempts < 110

    def test_it_is_no_fault_of_its_channel(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        self.spoil()

        desk.hear(signal("b", persona="zen", severity=MEDIUM), at=NOON + SECOND)

        assert [notice.persona_id for notice in desk.slack.got] == ["zen"]
        assert channel("slack").failures == 0

    def test_one_that_kills_whoever_tries_it_is_given_up_after_a_day(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        deadly = Delivery.objects.get()
        at = NOON
        while at < NOON + DAY:
            assert Delivery.objects.claim(deadly.pk, at)
            at += LEASE

        assert attempt(deadly.pk, at=at) is State.DEAD

        deadly.refresh_from_db()
        assert (deadly.state, deadly.error, desk.slack.got) == (State.DEAD, "Whoever tried it came to no end.", [])

    def test_one_that_was_never_tried_is_tried_however_late(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)

        assert attempt(Delivery.objects.get().pk, at=NOON + 2 * DAY) is State.SENT

    def test_a_digest_that_no_channel_takes_leaves_no_line_on_its_way(self, desk: Desk) -> None:
        desk.slack.always = desk.email.always = TransportError("gone", permanent=True)
        storm(15, MEDIUM)
        desk.wait(NOON, NOON + 3 * MINUTE)

        assert Delivery.objects.unsent().count() == 0


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_of_many_workers_with_the_same_backlog_nobody_says_anything_twice(
        self, receivers: dict[str, Receiver]
    ) -> None:
        seed()
        storm(60)
        first = Delivery.objects.earliest("pk")

        together(lambda _: work_off(first.pk, at=NOON, seconds=20), threads=4)

        said = [notice.persona_id for notice in receivers["slack"].got]
        assert sorted(said) == sorted(f"p-{n:03}" for n in range(60))
        assert set(Delivery.objects.filter(channel__name="slack").values_list("attempts", flat=True)) == {1}
