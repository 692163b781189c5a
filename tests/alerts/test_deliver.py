"""A message reaches its receiver once, or is tried until it does, or is given to somebody else; nothing is lost."""

import logging
from datetime import timedelta

import pytest
from celery import current_app
from django.db import connections, transaction
from kombu.exceptions import OperationalError

from alerts import tasks
from alerts.acknowledge import acknowledge
from alerts.channels.base import Event, TransportError
from alerts.deliver import attempt, attempt_due, back_off, switch_on, work_off
from alerts.fire import fire
from alerts.models import Alert, Channel, Delivery, State
from alerts.models.deliveries import LEASE
from alerts.signal import Severity, Status
from alerts.sweep import sweep
from tests.alerts.conftest import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    TEMPORARY,
    Desk,
    Receiver,
    reasons,
    seed,
    signal,
    the_group,
    together,
)

LOW, MEDIUM, HIGH = Severity.LOW, Severity.MEDIUM, Severity.HIGH
DAY = 24 * HOUR
REFUSED = TransportError("Slack answered 400: invalid_payload.", permanent=True)
GONE = TransportError("Slack answered 404: no_service.", permanent=True, channel_broken=True)


def states(**fields: object) -> list[tuple[str, str]]:
    rows = Delivery.objects.filter(**fields).order_by("pk")
    return list(rows.values_list("channel__name", "state"))


class TestTemporaryFailures:
    def test_it_is_tried_later_each_time_until_it_is_said(self, desk: Desk) -> None:
        desk.slack.failures.extend([TEMPORARY] * 3)
        desk.hear(signal(severity=MEDIUM))
        first = Delivery.objects.get()
        assert (first.state, first.error, first.attempts) == (State.PENDING, "It did not answer.", 1)
        assert NOON + 10 * SECOND <= first.due_at <= NOON + 12 * SECOND

        desk.wait(NOON, NOON + 4 * MINUTE, 2 * SECOND)

        sent = Delivery.objects.get()
        assert (sent.state, sent.attempts, sent.receipt, sent.error) == (State.SENT, 4, "receipt-1", "")
        assert sent.sent_at
        assert NOON + 100 * SECOND <= sent.sent_at <= NOON + 122 * SECOND

    @pytest.mark.parametrize(
        ("attempts", "seconds"), [(1, 10), (2, 30), (3, 60), (4, 120), (5, 300), (6, 600), (7, 900), (100, 900)]
    )
    def test_the_waits_grow_to_a_quarter_of_an_hour_and_are_spread(self, attempts: int, seconds: int) -> None:
        waits = {back_off(attempts, row) for row in range(1000)}

        assert min(waits) >= timedelta(seconds=seconds)
        assert max(waits) <= timedelta(seconds=seconds * 1.2)
        assert len(waits) > 500

    def test_the_wish_of_the_receiver_counts_and_the_whole_channel_waits(self, desk: Desk) -> None:
        desk.slack.failures.append(TransportError("429", permanent=False, retry_after=timedelta(seconds=30)))
        desk.hear(signal(severity=MEDIUM))
        desk.hear(signal("b", persona="zen", severity=MEDIUM), at=NOON + SECOND)

        desk.wait(NOON + SECOND, NOON + 29 * SECOND, SECOND)
        assert (desk.slack.got, sum(Delivery.objects.values_list("attempts", flat=True))) == ([], 1)
        desk.wait(NOON + 29 * SECOND, NOON + 36 * SECOND, SECOND)

        assert desk.slack.events == [Event.OPENED, Event.OPENED]

    def test_a_mail_server_that_is_away_for_an_hour_loses_nothing(self, desk: Desk) -> None:
        desk.email.always = TEMPORARY
        for number in range(20):
            desk.hear(signal(f"a-{number}", persona=f"p-{number}", severity=LOW), at=NOON + number * MINUTE)
        desk.wait(NOON + 19 * MINUTE, NOON + HOUR, MINUTE)

        desk.email.always = None
        desk.wait(NOON + HOUR, NOON + HOUR + 18 * MINUTE, MINUTE)

        opened = [notice.persona_id for notice in desk.email.got if notice.event is Event.OPENED]
        assert sorted(opened) == sorted(f"p-{number}" for number in range(20))

    def test_what_is_not_delivered_yet_is_not_repeated(self, desk: Desk) -> None:
        desk.slack.always = TEMPORARY
        desk.hear(signal(severity=MEDIUM))
        desk.wait(NOON, NOON + 3 * HOUR, 5 * MINUTE)

        assert states() == [("slack", "pending")]
        assert reasons()["underway"] == 3

    def test_after_a_day_it_is_given_up_and_told_elsewhere(self, desk: Desk) -> None:
        desk.email.always = TEMPORARY
        desk.hear(signal(severity=LOW))
        acknowledge(the_group().pk, by="anna", at=NOON)

        desk.wait(NOON, NOON + DAY - MINUTE, 10 * MINUTE)
        assert states() == [("email", "pending")]
        desk.wait(NOON + DAY - MINUTE, NOON + DAY + 20 * MINUTE, MINUTE)

        assert states() == [("email", "dead"), ("slack", "sent")]

    def test_a_transport_that_breaks_down_is_a_temporary_failure_and_tells_no_secret(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.slack.failures.append(KeyError("https://hooks.slack.com/services/T/B/secret"))
        desk.hear(signal(severity=MEDIUM))

        assert Delivery.objects.get().error == "KeyError in the transport"
        assert "secret" not in caplog.text
        desk.wait(NOON, NOON + 20 * SECOND)
        assert desk.slack.events == [Event.OPENED]


class TestPermanentFailures:
    def test_a_message_that_can_never_be_said_there_goes_to_the_fallback(self, desk: Desk) -> None:
        desk.slack.failures.append(REFUSED)
        desk.hear(signal(severity=MEDIUM))
        desk.end(at=NOON + MINUTE)

        assert desk.email.events == [Event.OPENED, Event.RESOLVED]
        assert desk.slack.events == []
        assert (Channel.objects.get(name="slack").enabled, states()[0]) == (True, ("slack", "dead"))

    def test_one_that_the_fallback_was_told_anyway_is_not_told_it_twice(self, desk: Desk) -> None:
        desk.slack.failures.append(REFUSED)
        desk.hear(signal())

        assert sorted(desk.said) == [("email", Event.OPENED), ("pagerduty", Event.OPENED)]

    def test_channels_that_fall_back_on_each_other_end_it(self, desk: Desk) -> None:
        desk.slack.always = desk.email.always = REFUSED
        desk.hear(signal(severity=MEDIUM))
        desk.wait(NOON, NOON + 5 * MINUTE, MINUTE)

        assert states() == [("slack", "dead"), ("email", "dead")]

    def test_a_broken_channel_is_switched_off_and_everything_goes_to_its_fallback(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk.slack.failures.append(TEMPORARY)
        desk.hear(signal("waits", severity=MEDIUM))
        desk.slack.always = GONE
        desk.hear(signal("finds out", persona="zen", severity=MEDIUM), at=NOON + 15 * SECOND)
        desk.hear(signal("comes later", persona="tao", severity=MEDIUM), at=NOON + 16 * SECOND)

        slack = Channel.objects.get(name="slack")
        assert (slack.enabled, slack.disabled_at, slack.disabled_reason) == (False, NOON + 15 * SECOND, str(GONE))
        assert {notice.persona_id for notice in desk.email.got} == {"ai_jesus", "zen", "tao", ""}
        assert "the channel slack is switched off" in caplog.text

    def test_that_it_is_broken_is_an_alert_that_ends_when_it_is_mended(self, desk: Desk) -> None:
        desk.slack.always = GONE
        desk.hear(signal(severity=MEDIUM))
        alert = Alert.objects.get(rule="channel_broken")
        assert (alert.status, alert.title) == ("firing", "The alert channel slack is broken and switched off")

        desk.slack.always = None
        switch_on(Channel.objects.get(name="slack"), at=NOON + MINUTE)
        desk.hear(signal("b", persona="zen", severity=MEDIUM), at=NOON + MINUTE)

        assert Alert.objects.get(rule="channel_broken").status == "resolved"
        assert [notice.persona_id for notice in desk.slack.got] == ["zen"]

    def test_all_channels_broken_leave_a_trace_of_everything(self, desk: Desk) -> None:
        for receiver in desk.receivers.values():
            receiver.always = GONE
        desk.hear(signal())
        desk.wait(NOON, NOON + HOUR, MINUTE)

        assert Channel.objects.filter(enabled=True).count() == 0
        assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}
        assert reasons(group__rule="cost_spike")["nowhere to say it"] >= 1


class TestWorkers:
    def test_a_receiver_that_hangs_holds_two_workers_and_no_more(self, desk: Desk) -> None:
        fire(*[signal(f"a-{n}", persona=f"p-{n}", severity=MEDIUM) for n in range(4)], at=NOON)

        claimed = [Delivery.objects.claim(delivery.pk, NOON) for delivery in Delivery.objects.all()]
        assert [bool(claim) for claim in claimed] == [True, True, False, False]
        desk.hear(signal("low", severity=LOW, persona="zen"), at=NOON + SECOND)

        assert desk.said == [("email", Event.OPENED)]

    def test_who_has_sent_one_goes_on_with_what_waits_for_the_same_channel(self, desk: Desk) -> None:
        fire(*[signal(f"a-{n}", persona=f"p-{n}", severity=MEDIUM) for n in range(4)], at=NOON)
        first = Delivery.objects.earliest("pk")

        assert (work_off(first.pk, at=NOON, seconds=3), work_off(first.pk, at=NOON, seconds=3)) == (4, 0)
        assert desk.slack.events == [Event.OPENED] * 4


class TestReplaying:
    def test_the_dead_can_be_tried_again(self, desk: Desk) -> None:
        Channel.objects.update(fallback=None)
        desk.slack.failures.append(REFUSED)
        desk.hear(signal(severity=MEDIUM))

        assert len(Delivery.objects.replay(NOON + 2 * DAY)) == 1
        attempt_due(at=NOON + 2 * DAY)

        assert (states(), Delivery.objects.replay(NOON)) == ([("slack", "sent")], [])

    def test_the_beginning_of_what_is_over_is_not_said_for_its_end_would_never_follow(self, desk: Desk) -> None:
        desk.pagerduty.failures.append(REFUSED)
        desk.hear(signal(severity=HIGH))
        desk.end(severity=HIGH, at=NOON + MINUTE)
        assert Delivery.objects.dead().get().channel.name == "pagerduty"

        assert Delivery.objects.replay(NOON + 2 * HOUR) == []
        desk.work(at=NOON + 2 * HOUR)

        assert desk.pagerduty.events == []

    def test_the_end_of_what_is_over_is_said_for_the_pager_still_rings(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))
        desk.pagerduty.failures.append(REFUSED)
        desk.end(severity=HIGH, at=NOON + MINUTE)

        assert len(Delivery.objects.replay(NOON + 2 * HOUR)) == 1
        desk.work(at=NOON + 2 * HOUR)

        assert desk.pagerduty.events == [Event.OPENED, Event.RESOLVED]

    def test_what_has_a_successor_on_its_channel_is_not_said_after_it(self, desk: Desk) -> None:
        desk.pagerduty.failures.append(REFUSED)
        desk.hear(signal(severity=HIGH))
        desk.hear(signal(severity=Severity.CRITICAL), at=NOON + MINUTE)

        assert Delivery.objects.replay(NOON + 2 * MINUTE) == []
        assert desk.pagerduty.events == [Event.ESCALATED]

    def test_a_line_of_a_dead_digest_is_said_by_itself(self, desk: Desk) -> None:
        Channel.objects.update(fallback=None)
        desk.hear(*[signal(f"a-{n:02}", persona=f"p-{n:02}", severity=MEDIUM) for n in range(11)])
        desk.slack.failures.append(REFUSED)
        desk.work(at=NOON + MINUTE)

        Delivery.objects.exclude(event=Event.DIGEST).replay(NOON + 2 * MINUTE)
        desk.work(at=NOON + 2 * MINUTE)

        assert desk.slack.events == [Event.OPENED] * 11
        assert desk.slack.got[-1].persona_id == "p-10"


class TestOrder:
    def test_an_end_never_overtakes_its_beginning(self, desk: Desk) -> None:
        desk.slack.failures.extend([TEMPORARY] * 4)
        desk.hear(signal(severity=HIGH))
        desk.end(at=NOON + SECOND)
        last = Delivery.objects.filter(channel__name="slack").latest("pk")
        assert attempt(last.pk, at=NOON + SECOND) is None

        desk.wait(NOON + SECOND, NOON + 5 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]

    def test_what_is_given_up_blocks_nothing(self, desk: Desk) -> None:
        Channel.objects.update(fallback=None)
        desk.slack.failures.append(REFUSED)
        desk.hear(signal(severity=MEDIUM))
        desk.hear(signal(severity=HIGH), at=NOON + SECOND)

        assert desk.slack.events == [Event.ESCALATED]

    def test_what_is_over_before_it_was_said_is_not_said(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        desk.end(at=NOON + SECOND)

        assert desk.said == []
        assert (states(), reasons()) == ([("slack", "dropped")], {"superseded": 1})

    def test_an_urgent_one_is_said_even_when_it_is_over(self, desk: Desk) -> None:
        fire(signal(severity=HIGH), at=NOON)
        desk.end(at=NOON + SECOND)

        assert desk.slack.events == desk.pagerduty.events == [Event.OPENED, Event.RESOLVED]

    def test_what_a_receiver_may_have_got_is_ended_there_too(self, desk: Desk) -> None:
        desk.slack.failures.append(TEMPORARY)
        desk.hear(signal(severity=MEDIUM))
        desk.end(at=NOON + SECOND)
        desk.wait(NOON + SECOND, NOON + MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]


class TestCrashes:
    def test_who_dies_while_sending_is_taken_over_when_the_lease_ends(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        waiting = Delivery.objects.get()
        assert Delivery.objects.claim(waiting.pk, NOON)

        desk.wait(NOON, NOON + LEASE - SECOND, SECOND)
        assert desk.said == []
        desk.work(at=NOON + LEASE)

        assert (desk.slack.events, Delivery.objects.get().attempts) == ([Event.OPENED], 2)

    def test_who_was_only_slow_does_not_overwrite_what_came_after(self, desk: Desk) -> None:
        fire(signal(severity=MEDIUM), at=NOON)
        slow = Delivery.objects.claim(Delivery.objects.get().pk, NOON)
        desk.work(at=NOON + LEASE)

        assert slow
        assert not slow.mark(State.DEAD, error="too late")
        assert Delivery.objects.get().state == State.SENT

    def test_a_lost_doorbell_is_found_by_the_sweep(self, desk: Desk) -> None:
        fire(signal(), at=NOON)

        assert sweep(at=NOON + 2 * SECOND).deliveries == 3

    @pytest.mark.django_db(transaction=True)
    def test_the_commit_rings_for_each_message_the_urgent_first(
        self, receivers: dict[str, Receiver], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[tuple[str, int]] = []
        seed()
        monkeypatch.setattr(current_app, "send_task", lambda name, args, **_: rung.append((name, args[0])))

        with transaction.atomic():
            fire(signal("a", persona="zen", severity=LOW), signal("b", severity=HIGH), at=NOON)
            assert rung == []

        urgencies = [Delivery.objects.get(pk=delivery_id).urgency for _, delivery_id in rung]
        assert urgencies == [HIGH.rank, HIGH.rank, LOW.rank]
        assert {name for name, _ in rung} == {tasks.deliver.name}

    @pytest.mark.django_db(transaction=True)
    def test_a_broker_that_is_away_does_not_disturb_who_fires(
        self, receivers: dict[str, Receiver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise OperationalError("redis://:password@localhost is away")

        seed()
        monkeypatch.setattr(current_app, "send_task", away)

        fire(signal(), at=NOON)

        assert Delivery.objects.unsent().count() == 3
        assert "3 messages wait for the sweep" in caplog.text
        assert "password" not in caplog.text


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_two_workers_say_it_once(self, receivers: dict[str, Receiver]) -> None:
        seed()
        fire(signal(severity=MEDIUM), at=NOON)
        (delivery,) = Delivery.objects.all()

        together(lambda _: attempt(delivery.pk, at=NOON))

        assert (receivers["slack"].events, Delivery.objects.get().attempts) == ([Event.OPENED], 1)

    def test_two_sweeps_at_once_double_nothing(self, receivers: dict[str, Receiver]) -> None:
        seed()
        fire(*[signal(f"a-{n}", persona=f"p-{n}", severity=MEDIUM) for n in range(60)], at=NOON)

        together(lambda _: sweep(at=NOON + HOUR))

        repeated = Delivery.objects.filter(event=Event.REPEATED)
        underway = reasons(group__persona_id="p-0")["underway"]
        assert (repeated.count(), underway) == (0, 1)

    def test_no_lock_and_no_transaction_is_held_while_it_is_sent(
        self, receivers: dict[str, Receiver], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seed()
        fire(signal(severity=MEDIUM), at=NOON)
        seen: list[bool] = []

        def send(*_: object) -> str:
            seen.append(connections["default"].in_atomic_block)
            fire(signal(status=Status.RESOLVED), at=NOON + SECOND)
            return "ok"

        monkeypatch.setattr(receivers["slack"], "send", send)
        attempt_due(at=NOON)

        assert seen == [False]
        assert list(Delivery.objects.order_by("pk").values_list("event", "state")) == [
            ("opened", "sent"),
            ("resolved", "pending"),
        ]


@pytest.fixture(autouse=True)
def _hear_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "alerts")
