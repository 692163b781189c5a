"""What people are told by the breaker and by overrides, message for message."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from alerts.channels import TRANSPORTS, pagerduty, wording
from alerts.channels.base import Event, Notice
from alerts.models import Alert, Silence
from alerts.signal import Severity
from controls import breaker, overrides
from controls.models import Override
from tests.alerts.conftest import Desk, Receiver, configure, seed
from tests.controls.conftest import NOW
from tests.controls.test_breaker import MINUTE, after, control, escalate, observe, set_policy, take, throttled

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
Steps = list[tuple[str, Event]]
WALK: Steps = [
    ("persona_throttled", Event.OPENED),
    ("model_switched", Event.OPENED),
    ("persona_paused", Event.OPENED),
    ("persona_on_trial", Event.OPENED),
    ("persona_on_trial", Event.RESOLVED),
]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Desk:
    configure(settings)
    receivers = {kind: Receiver() for kind in ("slack", "pagerduty", "email")}
    for kind, receiver in receivers.items():
        monkeypatch.setitem(TRANSPORTS, kind, receiver)
    seed()
    return Desk(receivers)


def told(receiver: Receiver) -> Steps:
    return [(notice.rule, notice.event) for notice in receiver.got]


def walk(desk: Desk, severity: str = "critical") -> None:
    """Throttle, switch, pause, trial, closed; all that is said is delivered in between."""
    throttled(severity=severity)
    desk.work(at=NOW)
    for seconds in (60, 120):
        escalate("ai_jesus", after(seconds))
        desk.work(at=after(seconds))
    for seconds in (3720, 7320):
        breaker.sweep(after(seconds))
        desk.work(at=after(seconds))
    assert control().level == "closed"


class TestTheBreaker:
    @pytest.mark.parametrize(("severity", "channels"), [("medium", ["slack"]), ("critical", ["slack", "pagerduty"])])
    def test_tells_each_step_once_and_only_at_the_end_that_it_is_over(
        self, desk: Desk, severity: str, channels: list[str], settings: Settings
    ) -> None:
        settings.FINOPS_ALERT_REPEAT_SECONDS = 3 * 3600
        settings.FINOPS_ALERT_ESCALATE_SECONDS = 3 * 3600

        walk(desk, severity=severity)

        assert [told(desk.receivers[channel]) for channel in channels] == [WALK] * len(channels)
        assert [notice.title for notice in desk.slack.got] == [
            "ai_jesus is throttled",
            "ai_jesus is switched to cheaper models",
            "ai_jesus is paused",
            "ai_jesus is let back in, on trial",
            "ai_jesus is let back in",
        ]
        assert not Alert.objects.filter(status="firing").exists()

    def test_is_one_incident_of_the_pager(self, desk: Desk) -> None:
        walk(desk)

        assert {pagerduty.dedup_key(notice) for notice in desk.pagerduty.got} == {"finops-breaker-ai_jesus"}
        assert told(desk.pagerduty)[-1][1] is Event.RESOLVED

    def test_tells_on_the_way_down_what_holds_now(self, desk: Desk) -> None:
        throttled()
        desk.work(at=NOW)
        escalate("ai_jesus", after(60))
        desk.work(at=after(60))
        for seconds in (70, 200, 300):
            observe(at=after(seconds), complete=("ai_jesus",))
            take(at=after(seconds))
            desk.work(at=after(seconds))

        assert control().level == "closed"
        assert told(desk.slack) == [
            ("persona_throttled", Event.OPENED),
            ("model_switched", Event.OPENED),
            ("persona_throttled", Event.OPENED),
            ("persona_throttled", Event.RESOLVED),
        ]

    def test_that_only_enters_and_leaves_is_told_once_an_hour(self, desk: Desk) -> None:
        set_policy(expiry_seconds=60)
        for minute in range(0, 50, 2):
            throttled(at=NOW + minute * MINUTE)
            desk.work(at=NOW + minute * MINUTE)
            breaker.sweep(NOW + (minute + 1) * MINUTE)
            desk.work(at=NOW + (minute + 1) * MINUTE)

        assert [event for _, event in told(desk.slack)] == [Event.OPENED, Event.RESOLVED]

    def test_that_comes_back_within_the_hour_and_goes_further_is_told_again_and_its_end(self, desk: Desk) -> None:
        set_policy(expiry_seconds=180)
        for start in (0, 600):
            throttled(at=after(start))
            escalate("ai_jesus", after(start + 60))
            desk.work(at=after(start + 60))
            breaker.sweep(after(start + 240))
            desk.work(at=after(start + 240))

        again = told(desk.slack)[-2:]
        assert again == [("model_switched", Event.OPENED), ("model_switched", Event.RESOLVED)]
        assert [event for _, event in told(desk.slack)].count(Event.RESOLVED) == 2

    def test_says_that_a_step_is_over_if_a_silence_hides_the_next(self, desk: Desk) -> None:
        throttled()
        desk.work(at=NOW)
        Silence.objects.create(
            rule="model_switched", up_to="critical", starts_at=NOW, ends_at=NOW + HOUR, owner="ann", reason="r"
        )
        escalate("ai_jesus", after(60))
        desk.work(at=after(60))

        assert told(desk.slack) == [("persona_throttled", Event.OPENED), ("persona_throttled", Event.RESOLVED)]

    def test_does_not_say_that_it_is_over_while_it_goes_further_untold(self, desk: Desk) -> None:
        throttled()
        desk.work(at=NOW)
        set_policy(alert_human_operator=False)
        escalate("ai_jesus", after(60))
        desk.work(at=after(60))
        during = told(desk.slack)
        breaker.sweep(after(3660))
        desk.work(at=after(3660))

        assert during == [("persona_throttled", Event.OPENED)]
        assert told(desk.slack)[-1] == ("persona_throttled", Event.RESOLVED)

    def test_calls_it_what_it_is(self, desk: Desk) -> None:
        throttled()
        desk.work(at=NOW)

        (notice,) = desk.slack.got
        assert wording.text(notice).startswith("🚨 CIRCUIT BREAKER\nType: persona_throttled\nSeverity: MEDIUM\n")
        assert wording.sentence(notice) == "ai_jesus is throttled"


def act(desk: Desk, kind: str, persona: str, minutes: int) -> Override:
    at = NOW + minutes * MINUTE
    override = overrides.begin(kind, persona, reason="a loop", actor="ann", for_=HOUR, at=at)
    desk.work(at=at)
    return override


class TestOverrides:
    def test_every_act_of_a_person_is_told(self, desk: Desk) -> None:
        first = act(desk, "force_open", "ghost", 0)
        overrides.end(first.pk, actor="bob", at=NOW + MINUTE)
        desk.work(at=NOW + MINUTE)
        act(desk, "force_open", "ghost", 2)

        expected = [Event.OPENED, Event.RESOLVED, Event.OPENED]
        assert desk.slack.events == desk.pagerduty.events == expected

    def test_one_in_place_of_another_is_told_as_well(self, desk: Desk) -> None:
        act(desk, "force_open", "ghost", 0)
        act(desk, "force_closed", "ghost", 1)

        assert [(notice.event, notice.title) for notice in desk.slack.got] == [
            (Event.OPENED, "Override: nothing is let through for ghost"),
            (Event.RESOLVED, "Override for ghost is over: the breaker decides again"),
            (Event.OPENED, "Override: the breaker does not hold ghost back"),
        ]

    def test_those_of_two_personas_at_once_are_told_each(self, desk: Desk) -> None:
        act(desk, "force_open", "ghost", 0)
        act(desk, "force_open", "stoic", 0)
        act(desk, "force_open", "", 0)

        for receiver in (desk.slack, desk.pagerduty):
            assert [notice.persona_id for notice in receiver.got] == ["ghost", "stoic", ""]

    @pytest.mark.parametrize(
        ("persona", "whose", "effect"),
        [
            ("ghost", "Persona: ghost", "nothing is let through for ghost"),
            ("", "Persona: everybody", "nothing is let through"),
        ],
    )
    def test_say_once_whose_it_is_and_what_it_does(self, desk: Desk, persona: str, whose: str, effect: str) -> None:
        act(desk, "force_open", persona, 0)

        lines = wording.text(desk.slack.got[0]).splitlines()
        assert lines == [
            "🚨 EMERGENCY OVERRIDE",
            "Type: emergency_override",
            "Severity: CRITICAL",
            whose,
            f"Effect: {effect}",
            "By: ann",
            "Reason: a loop",
            "Until: 2026-11-24 13:00:00 UTC",
        ]

    def test_over_says_who_decides_again(self, desk: Desk) -> None:
        override = act(desk, "force_open", "ghost", 0)
        overrides.end(override.pk, actor="bob", at=NOW + MINUTE)
        desk.work(at=NOW + MINUTE)

        text = wording.text(desk.slack.got[-1])
        assert text.startswith("✅ EMERGENCY OVERRIDE RESOLVED\n")
        assert "Effect: the breaker decides again" in text


def test_the_step_that_fires_keeps_a_mail_in_the_thread_of_its_incident() -> None:
    def of(rule: str, key: str) -> str:
        return wording.incident_key(Notice(Event.OPENED, key, rule, Severity.HIGH, "ghost", "", NOW))

    assert of("persona_throttled", "a") == of("persona_paused", "b") == "finops-breaker-ghost"
    assert of("cost_spike", "a") == "a"
