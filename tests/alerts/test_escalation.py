"""What stays open is said again, and what nobody takes is told to everybody, once."""

from alerts.acknowledge import acknowledge
from alerts.channels.base import Event
from alerts.signal import Severity
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND, Desk, signal, the_group

MEDIUM, HIGH, LOW = Severity.MEDIUM, Severity.HIGH, Severity.LOW


class TestNobodyTakesIt:
    def test_a_high_one_is_told_to_everybody_after_a_quarter_of_an_hour(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))

        desk.wait(NOON, NOON + 15 * MINUTE - SECOND)
        assert desk.slack.events == [Event.OPENED]
        assert desk.email.events == []
        desk.wait(NOON + 15 * MINUTE - SECOND, NOON + 59 * MINUTE)

        assert desk.slack.events == desk.pagerduty.events == [Event.OPENED, Event.UNACKNOWLEDGED]
        assert desk.email.events == [Event.UNACKNOWLEDGED]

    def test_once_for_each_incident(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))
        desk.wait(NOON, NOON + 3 * HOUR, MINUTE)

        assert desk.slack.events.count(Event.UNACKNOWLEDGED) == 1

    def test_the_end_reaches_those_who_were_told_last(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))
        desk.work(at=NOON + 15 * MINUTE)
        desk.end(at=NOON + 20 * MINUTE)

        assert desk.email.events == [Event.UNACKNOWLEDGED, Event.RESOLVED]

    def test_who_takes_it_in_time_stops_it(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))
        acknowledge(the_group().pk, by="anna", at=NOON + 14 * MINUTE)
        desk.wait(NOON + 14 * MINUTE, NOON + 2 * HOUR, MINUTE)

        assert desk.slack.events == [Event.OPENED]

    def test_a_medium_one_calls_nobody(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.wait(NOON, NOON + 59 * MINUTE, MINUTE)

        assert desk.said == [("slack", Event.OPENED)]

    def test_the_quarter_begins_when_it_becomes_urgent(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.hear(signal(severity=HIGH), at=NOON + 10 * MINUTE)
        desk.wait(NOON + 10 * MINUTE, NOON + 24 * MINUTE, MINUTE)
        assert Event.UNACKNOWLEDGED not in desk.slack.events

        desk.work(at=NOON + 25 * MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.ESCALATED, Event.UNACKNOWLEDGED]


class TestRepeating:
    def test_what_stays_open_is_said_once_an_hour(self, desk: Desk) -> None:
        desk.hear(signal(severity=MEDIUM))
        desk.wait(NOON, NOON + 3 * HOUR + 30 * MINUTE, MINUTE)

        assert desk.slack.events == [Event.OPENED, *[Event.REPEATED] * 3]
        assert [notice.at for notice in desk.slack.got] == [NOON + hour * HOUR for hour in range(4)]

    def test_what_is_low_is_said_once_a_day(self, desk: Desk) -> None:
        desk.hear(signal(severity=LOW))
        desk.wait(NOON, NOON + 25 * HOUR, 10 * MINUTE)

        assert [notice.at for notice in desk.email.got] == [NOON, NOON + 24 * HOUR]

    def test_an_outage_of_the_sweep_is_not_made_up_for(self, desk: Desk) -> None:
        desk.hear(signal(severity=HIGH))
        desk.wait(NOON + 5 * HOUR, NOON + 5 * HOUR + 10 * MINUTE, MINUTE)

        assert desk.slack.events == [Event.OPENED, Event.UNACKNOWLEDGED]
