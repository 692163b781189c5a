"""The mail of the day: what is open, what came and went, what was not said; nothing when nothing was."""

from alerts.channels.base import Event
from alerts.digest import send_daily
from alerts.models import Channel, Delivery, Silence
from alerts.signal import Severity
from tests.alerts.conftest import HOUR, MINUTE, NOON, Desk, signal

MEDIUM, HIGH, LOW = Severity.MEDIUM, Severity.HIGH, Severity.LOW
EIGHT = NOON + 20 * HOUR


def digests(desk: Desk) -> list[tuple[str, tuple[str, ...]]]:
    return [(notice.title, notice.lines) for notice in desk.email.got if notice.event is Event.DIGEST]


def test_a_day_without_anything_is_not_told(desk: Desk) -> None:
    assert send_daily(at=EIGHT) == 0
    assert Delivery.objects.count() == 0


def test_what_is_open_stands_first_the_worst_on_top(desk: Desk) -> None:
    desk.hear(
        signal("a", severity=MEDIUM),
        signal("b", persona="zen", severity=HIGH),
        signal("c", persona="tao", rule="no_data"),
    )
    desk.end("c", persona="tao", rule="no_data", at=NOON + MINUTE)

    send_daily(at=EIGHT)
    desk.work(at=EIGHT)

    ((title, lines),) = digests(desk)
    assert title == "2 open, 3 opened and 1 resolved in 24 hours"
    assert lines == (
        "Open, high: cost_spike of zen for 20.0 hours",
        "Open, medium: cost_spike of ai_jesus for 20.0 hours",
    )


def test_what_was_not_said_is_told_by_its_reasons(desk: Desk) -> None:
    Silence.objects.create(starts_at=NOON, ends_at=EIGHT + HOUR, owner="anna", reason="migration")
    desk.hear(*[signal(f"a-{n}", persona=f"p-{n}", severity=LOW) for n in range(12)])

    send_daily(at=EIGHT)
    desk.work(at=EIGHT)

    ((_, lines),) = digests(desk)
    assert lines[10:] == ("… and 2 more that are open.", "Not said in 24 hours: silenced in 12.")


def test_two_beats_send_one(desk: Desk) -> None:
    desk.hear(signal(severity=LOW))

    assert (send_daily(at=EIGHT), send_daily(at=EIGHT + MINUTE)) == (1, 0)
    assert send_daily(at=EIGHT + 24 * HOUR) == 1


def test_it_goes_where_the_low_ones_go(desk: Desk) -> None:
    Channel.objects.filter(name="email").update(enabled=False)
    desk.hear(signal(severity=LOW))
    send_daily(at=EIGHT)
    desk.work(at=EIGHT)

    assert Event.DIGEST in desk.slack.events
