"""Signals become incidents, incidents become messages: one when it opens, gets worse, ends."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from alerts.acknowledge import acknowledge
from alerts.channels.base import Event
from alerts.fire import fire
from alerts.models import Alert, AlertGroup, Channel, Delivery, Route
from alerts.signal import Severity, Status
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, Desk, Receiver, reasons, seed, signal, the_group, together

HIGH, MEDIUM, LOW, CRITICAL = Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.CRITICAL


class TestOneIncident:
    def test_a_critical_one_is_said_once_on_each_of_its_channels(self, desk: Desk) -> None:
        desk.hear(signal(title="Cost spike: 3.35x", facts={"current": "0.067", "multiplier": "3.35"}))

        assert desk.said == [("slack", Event.OPENED), ("pagerduty", Event.OPENED), ("email", Event.OPENED)]
        (notice,) = desk.slack.got
        assert (notice.rule, notice.persona_id, notice.title) == ("cost_spike", "ai_jesus", "Cost spike: 3.35x")
        assert list(notice.facts.items()) == [("current", "0.067"), ("multiplier", "3.35")]
        assert (notice.at, notice.others, notice.url) == (NOON, 0, "/x/")

    @pytest.mark.parametrize(
        ("severity", "channels"),
        [
            (CRITICAL, ["slack", "pagerduty", "email"]),
            (HIGH, ["slack", "pagerduty"]),
            (MEDIUM, ["slack"]),
            (LOW, ["email"]),
        ],
    )
    def test_the_severity_chooses_the_channels(self, desk: Desk, severity: Severity, channels: list[str]) -> None:
        desk.hear(signal(severity=severity))

        assert [kind for kind, _ in desk.said] == channels

    def test_the_same_signal_again_says_nothing(self, desk: Desk) -> None:
        for second in range(0, 600, 30):
            desk.hear(signal(), at=NOON + second * SECOND)

        assert len(desk.said) == 3
        assert reasons() == {}

    def test_more_of_the_same_kind_is_counted_and_not_said(self, desk: Desk) -> None:
        desk.hear(signal("a"))
        desk.hear(signal("b"), signal("c"), at=NOON + SECOND)

        assert desk.slack.events == [Event.OPENED]
        assert (the_group().firing, reasons()) == (3, {"grouped": 2})

    def test_what_fires_together_is_one_message_about_the_worst(self, desk: Desk) -> None:
        desk.hear(
            signal("a", severity=LOW, title="low"), signal("b", severity=HIGH, title="high"), signal("c", severity=LOW)
        )

        (notice,) = desk.slack.got
        assert (notice.title, notice.others, notice.severity) == ("high", 2, HIGH)

    def test_a_higher_severity_is_said_a_lower_one_is_not(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.hear(signal(severity=HIGH), at=NOON + SECOND)
        desk.hear(signal(severity=MEDIUM), at=NOON + 2 * SECOND)
        desk.hear(signal(severity=HIGH), at=NOON + 3 * SECOND)

        assert desk.slack.events == [Event.OPENED, Event.ESCALATED]
        assert desk.pagerduty.events == [Event.ESCALATED]

    def test_the_end_is_said_when_all_of_it_ended_to_those_who_were_told(self, desk: Desk) -> None:
        desk.hear(signal("a", severity=HIGH), signal("b", severity=HIGH))

        desk.end("a", at=NOON + MINUTE)
        assert Event.RESOLVED not in desk.slack.events
        desk.end("b", at=NOON + 2 * MINUTE)

        assert desk.slack.events == desk.pagerduty.events == [Event.OPENED, Event.RESOLVED]
        assert desk.email.events == []
        assert len({notice.dedup_key for notice in desk.slack.got + desk.pagerduty.got}) == 1

    def test_the_end_of_what_never_began_is_no_news(self, desk: Desk) -> None:
        desk.end(at=NOON)

        assert (AlertGroup.objects.count(), Alert.objects.count()) == (0, 0)

    def test_an_old_signal_that_comes_late_changes_nothing(self, desk: Desk) -> None:
        desk.hear(signal(at=NOON))
        desk.end(at=NOON + MINUTE)
        desk.hear(signal(at=NOON + 30 * SECOND), at=NOON + 2 * MINUTE)

        assert not the_group().is_open
        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]

    def test_personas_and_rules_are_incidents_of_their_own(self, desk: Desk) -> None:
        desk.hear(signal("a"), signal("b", persona="zen"), signal("c", rule="no_data", severity=MEDIUM))

        assert len(desk.slack.got) == 3
        assert len({notice.dedup_key for notice in desk.slack.got}) == 3

    def test_a_new_incident_long_after_the_last_has_a_key_of_its_own(self, desk: Desk) -> None:
        desk.hear(signal("a"))
        desk.end("a", at=NOON + MINUTE)
        desk.hear(signal("b"), at=NOON + 2 * HOUR)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED, Event.OPENED]
        assert len({notice.dedup_key for notice in desk.slack.got}) == 2
        assert [group.is_current for group in AlertGroup.objects.order_by("pk")] == [False, True]


class TestAcknowledging:
    def test_it_tells_the_pager_only_and_stops_repeats_and_escalation(self, desk: Desk) -> None:
        desk.hear(signal())

        assert acknowledge(the_group().pk, by="anna", at=NOON + MINUTE)
        desk.wait(NOON + MINUTE, NOON + 3 * HOUR, 5 * MINUTE)

        assert desk.pagerduty.events == [Event.OPENED, Event.ACKNOWLEDGED]
        assert desk.slack.events == desk.email.events == [Event.OPENED]
        assert (the_group().acknowledged_by, acknowledge(the_group().pk, by="bob", at=NOON)) == ("anna", False)

    def test_the_end_is_said_all_the_same_and_ends_the_acknowledgement(self, desk: Desk) -> None:
        desk.hear(signal())
        acknowledge(the_group().pk, by="anna", at=NOON + MINUTE)
        desk.end(at=NOON + 2 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.RESOLVED]
        assert desk.pagerduty.events == [Event.OPENED, Event.ACKNOWLEDGED, Event.RESOLVED]
        assert the_group().acknowledged_at is None

    def test_what_gets_worse_was_taken_by_nobody(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        acknowledge(the_group().pk, by="anna", at=NOON + MINUTE)
        desk.hear(signal("b", severity=MEDIUM), at=NOON + 2 * MINUTE)
        assert reasons() == {"acknowledged": 1}

        desk.hear(signal("c", severity=CRITICAL), at=NOON + 3 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.ESCALATED]

    def test_a_signal_can_acknowledge_too(self, desk: Desk) -> None:
        desk.hear(signal())
        desk.hear(signal(status=Status.ACKNOWLEDGED), at=NOON + MINUTE)

        assert the_group().acknowledged_by == "engine"
        assert desk.pagerduty.events == [Event.OPENED, Event.ACKNOWLEDGED]


class TestRoutes:
    def test_the_most_specific_route_counts(self, desk: Desk) -> None:
        for persona, rule, channels in [
            ("p", "", ["email"]),
            ("", "no_data", ["slack"]),
            ("p", "no_data", ["pagerduty"]),
        ]:
            Route.objects.create(persona_id=persona, rule=rule, severity=LOW, channels=channels)

        desk.hear(
            signal("a", persona="p", rule="no_data", severity=LOW),
            signal("b", persona="p", rule="unpriced", severity=LOW),
            signal("c", persona="q", rule="no_data", severity=LOW),
        )

        said = {notice.rule + notice.persona_id: kind for kind in desk.receivers for notice in desk.receivers[kind].got}
        assert said == {"no_datap": "pagerduty", "unpricedp": "email", "no_dataq": "slack"}

    def test_a_channel_that_is_not_configured_is_a_decision_and_its_fallback_speaks(
        self, desk: Desk, settings: Settings
    ) -> None:
        settings.FINOPS_SLACK_WEBHOOK_URL = ""

        desk.hear(signal(severity=MEDIUM))

        assert desk.email.events == [Event.OPENED]
        assert reasons() == {"channel not configured": 1}

    def test_nothing_is_configured_at_all_and_nothing_is_stirred_up(self, desk: Desk, settings: Settings) -> None:
        for name in ("SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "ALERT_EMAIL_TO"):
            setattr(settings, f"FINOPS_{name}", "")

        for minute in range(30):
            desk.hear(signal(), at=NOON + minute * MINUTE)

        assert Delivery.objects.count() == 0
        assert reasons()["nowhere to say it"] == 2  # it opened, and nobody took it

    def test_an_urgent_one_finds_any_channel_that_is_left(self, desk: Desk) -> None:
        Channel.objects.filter(name__in=["slack", "pagerduty"]).update(enabled=False, fallback=None)
        desk.hear(signal(severity=HIGH), signal("b", rule="no_data", severity=MEDIUM))

        assert [notice.severity for notice in desk.email.got] == [HIGH]
        assert reasons(group__rule="no_data") == {"channel disabled": 1, "nowhere to say it": 1}

    def test_a_route_to_a_channel_that_does_not_exist_is_a_decision(self, desk: Desk) -> None:
        Route.objects.filter(severity=LOW).update(channels=["carrier-pigeon"])

        desk.hear(signal(severity=LOW))

        assert reasons() == {"channel absent": 1, "nowhere to say it": 1}


class TestTexts:
    def test_any_text_passes(self, desk: Desk) -> None:
        odd = "p\0\ud800'; DROP TABLE \\u0000 <!channel> 🚨 {x} %s"

        desk.hear(signal(odd, persona=odd, title=odd, facts={odd: odd, "list": [odd], "n": None}))

        assert len(desk.slack.got) == 1
        assert "DROP TABLE" in desk.slack.got[0].persona_id
        assert "\0" not in desk.slack.got[0].title

    def test_nothing_at_all_is_no_signal(self, desk: Desk) -> None:
        fire(at=NOON)


class TestCost:
    def test_a_thousand_signals_take_a_handful_of_statements(self, desk: Desk) -> None:
        many = [signal(f"a-{n}", persona=f"persona-{n}", severity=HIGH) for n in range(1000)]

        with CaptureQueriesContext(connection) as queries:
            fire(*many, at=NOON)

        statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert len(statements) <= 20
        assert (AlertGroup.objects.open().count(), Delivery.objects.count()) == (1000, 2000)


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    def test_two_who_fire_the_same_make_one_incident_and_one_message(self, receivers: dict[str, Receiver]) -> None:
        seed()

        together(lambda number: fire(signal(), signal(f"own-{number}"), at=NOON), threads=8)

        assert AlertGroup.objects.count() == 1
        assert the_group().firing == 9
        assert sorted(Delivery.objects.values_list("channel__name", flat=True)) == ["email", "pagerduty", "slack"]

    def test_sets_that_overlap_in_any_order_wait_for_each_other_and_never_in_a_circle(
        self, receivers: dict[str, Receiver]
    ) -> None:
        seed()
        rules = ["cost_spike", "cost_threshold", "persona_paused", "budget_overrun", "learned"]

        def storm(number: int) -> None:
            for turn in range(10):
                status = Status.RESOLVED if (number + turn) % 3 == 0 else Status.FIRING
                order = rules[:: -1 if number % 2 else 1]
                signals = [signal(f"{rule}-{p}", rule=rule, persona=p, status=status) for rule in order for p in "abc"]
                fire(
                    *signals[number:],
                    signal("all", rule="budget_overrun", persona="", status=status),
                    at=NOON + turn * SECOND,
                )

        together(storm, threads=6)

        assert AlertGroup.objects.open().count() <= 16

    def test_what_was_said_in_a_transaction_that_failed_was_not_said(self, receivers: dict[str, Receiver]) -> None:
        seed()

        with transaction.atomic():
            fire(signal(), at=NOON)
            transaction.set_rollback(True)

        assert (Alert.objects.count(), Delivery.objects.count()) == (0, 0)
