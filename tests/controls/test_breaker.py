"""The breaker as rows: what is wanted is taken once, by the clock and by few hands, and people hear of it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from alerts.fire import fire
from alerts.models import Alert
from alerts.signal import Severity, Signal, Status
from controls import breaker, overrides, sweep, tasks
from controls.ladder import Level, Reading
from controls.models import Control, ControlTransition, Policy
from tests.alerts.conftest import reasons
from tests.controls.conftest import NOW, ask
from tests.costs.conftest import Ledger, amount_event

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """What was sent to the broker: task and arguments."""
    rung: list[tuple[str, list[Any]]] = []

    def send(task: str, args: list[Any], **_: Any) -> None:
        rung.append((task, args))

    monkeypatch.setattr("controls.breaker.current_app.send_task", send)
    return rung


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reading(persona: str = "ai_jesus", excess: str = "2", severity: str = "medium", **fields: Any) -> Reading:
    given: dict[str, Any] = {
        "trigger": "cost_per_post",
        "events": 20,
        "amount": Decimal(1),
        "says": "It is dear.",
        "evidence": {"score": "6"},
    }
    return Reading(persona, severity=Severity(severity), excess=Decimal(excess), **given | fields)


def observe(*found: Reading, at: datetime = NOW, complete: tuple[str, ...] = ()) -> None:
    breaker.observe(found, at=at, complete=complete)


def control(persona: str = "ai_jesus") -> Control:
    return Control.objects.get(pk=persona)


def take(persona: str = "ai_jesus", at: datetime = NOW) -> ControlTransition | None:
    return breaker.take(persona, control(persona).version, at=at)


def throttled(persona: str = "ai_jesus", at: datetime = NOW, severity: str = "medium") -> Control:
    observe(reading(persona, severity=severity), at=at)
    assert take(persona, at)
    return control(persona)


def paused(persona: str = "ai_jesus", at: datetime = NOW) -> Control:
    throttled(persona, at)
    for minute in (1, 2):
        escalate(persona, at + minute * MINUTE)
    return control(persona)


def escalate(persona: str, at: datetime) -> ControlTransition | None:
    observe(reading(persona, fresh=Decimal(2)), at=at)
    return take(persona, at)


def steps(persona: str = "ai_jesus") -> list[tuple[str, str]]:
    taken = ControlTransition.objects.filter(persona_id=persona).order_by("version")
    return list(taken.values_list("from_level", "to_level"))


def overspend(personas: tuple[str, ...], lasts: timedelta) -> None:
    """A look every 30 seconds, each finding that nothing helps; what is wanted is taken at once."""
    for half_minute in range(int(lasts / timedelta(seconds=30))):
        at = after(30 * half_minute)
        observe(*(reading(persona, "3", fresh=Decimal(2)) for persona in personas), at=at, complete=personas)
        breaker.sweep(at)


def known(count: int) -> None:
    """So many personas had costs lately."""
    events = [amount_event("1", persona_id=f"known-{number}", timestamp=NOW.isoformat()) for number in range(count)]
    Ledger().record(events, at=NOW)


def set_policy(**fields: Any) -> None:
    Policy.objects.filter(persona_id="").update(**fields)


def firing() -> set[str]:
    return set(Alert.objects.filter(status="firing").values_list("rule", flat=True))


class TestObserving:
    def test_of_who_is_let_through_and_calm_nothing_is_written(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            observe(*(reading(f"p{number}", "0.9") for number in range(100)), complete=("quiet",))

        assert not Control.objects.exists()
        assert len(queries) == 2, "the rows of those who are held back, and the policies"

    def test_a_crossed_threshold_writes_the_wanted_step_and_holds_nobody_back_yet(self) -> None:
        observe(reading())

        wanted = control()
        assert (wanted.level, wanted.wanted_level, wanted.version) == (Level.CLOSED, Level.THROTTLE, 0)
        assert not ControlTransition.objects.exists()

    def test_it_rings_once_after_the_commit(
        self, rings: list[Any], django_capture_on_commit_callbacks: Callable[..., Any]
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            observe(reading())
            observe(reading())
            assert rings == []

        assert rings == [("controls.tasks.apply_throttle", ["ai_jesus", 0])]

    def test_each_level_has_its_task(self, rings: list[Any], django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            paused()

        assert [task.removeprefix("controls.tasks.") for task, _ in rings] == [
            "apply_throttle",
            "switch_model",
            "pause_persona",
        ]

    def test_a_broker_that_is_away_changes_nothing(
        self,
        monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise ConnectionError("refused")

        monkeypatch.setattr("controls.breaker.current_app.send_task", refuse)

        with caplog.at_level(logging.WARNING), django_capture_on_commit_callbacks(execute=True):
            observe(reading())

        assert control().wanted_level == Level.THROTTLE
        assert "wait for the sweep" in caplog.text

    def test_a_worse_reading_changes_the_wanted_step_before_it_is_taken(self) -> None:
        observe(reading(severity="medium"))
        observe(reading(severity="critical"))
        take()

        assert control().per_minute == 10

    def test_a_note_does_not_undo_a_step_that_its_look_had_not_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = throttled()
        observe(reading(fresh=Decimal(2)), at=after(60))

        monkeypatch.setattr(breaker, "_looked_at", lambda _: {"ai_jesus": seen})
        observe(at=after(60), complete=("ai_jesus",))

        assert control().wanted_level == Level.SWITCH


class TestTaking:
    def test_a_step_moves_the_row_and_leaves_a_transition_that_says_everything(self) -> None:
        observe(reading(severity="high"))
        taken = take(at=after(0.3))

        assert taken is not None
        moved = control()
        assert (moved.level, moved.per_minute, moved.since, moved.version) == (Level.THROTTLE, 30, after(0.3), 1)
        assert moved.expires_at == after(0.3) + timedelta(hours=1)
        assert (moved.wanted_level, moved.wanted) == ("", {})
        stored = ControlTransition.objects.get()
        assert (stored.from_level, stored.to_level, stored.actor) == (Level.CLOSED, Level.THROTTLE, "engine")
        assert (stored.observed_at, stored.at, stored.expires_at) == (NOW, after(0.3), moved.expires_at)
        assert (stored.reason, stored.evidence) == ("It is dear. Throttled, 30 requests a minute.", {"score": "6"})

    def test_twice_is_once(self) -> None:
        observe(reading())

        assert [breaker.take("ai_jesus", 0, at=NOW) is None for _ in range(3)] == [False, True, True]
        assert steps() == [("closed", "throttle")]

    def test_of_nobody_and_of_another_version_nothing_is_taken(self) -> None:
        observe(reading())

        assert breaker.take("nobody", 0, at=NOW) is None
        assert breaker.take("ai_jesus", 1, at=NOW) is None
        assert control().wanted_level == Level.THROTTLE

    def test_every_task_takes_what_is_wanted(self) -> None:
        observe(reading(), at=datetime.now(NOW.tzinfo))

        tasks.pause_persona("ai_jesus", 0)
        tasks.apply_throttle("ai_jesus", 0)

        assert control().level == Level.THROTTLE

    def test_to_hold_back_is_no_news_after_an_hour_and_to_let_go_always_is(self) -> None:
        observe(reading("late"))
        throttled("eased")
        Control.objects.filter(pk="eased").update(calm_since=NOW)
        observe(at=after(100), complete=("eased",))

        assert take("late", after(3600)) is None
        assert take("eased", after(7200)) is not None
        assert (control("late").level, control("late").wanted_level) == (Level.CLOSED, "")
        assert control("eased").level == Level.CLOSED

    def test_a_tightened_level_keeps_its_beginning(self) -> None:
        throttled()
        observe(reading(severity="critical"), at=after(10))
        take(at=after(10))

        assert (control().per_minute, control().since) == (10, NOW)
        assert steps() == [("closed", "throttle"), ("throttle", "throttle")]

    def test_transitions_are_never_changed_and_never_deleted(self) -> None:
        throttled()

        for change in (
            lambda: ControlTransition.objects.update(reason="nothing happened"),
            lambda: ControlTransition.objects.all().delete(),
        ):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                change()

    @pytest.mark.django_db(transaction=True)
    def test_two_at_the_same_time_take_it_once(self) -> None:
        personas = [f"p{number}" for number in range(10)]
        observe(*map(reading, personas))

        at_once(lambda: [breaker.take(persona, 0, at=NOW) for persona in personas])

        assert ControlTransition.objects.count() == 10
        assert set(Control.objects.values_list("version", "level")) == {(1, "throttle")}
        assert Alert.objects.count() == 10

    @pytest.mark.django_db(transaction=True)
    def test_takers_lookers_and_sweeps_never_wait_in_a_circle(self) -> None:
        personas = [f"p{number}" for number in range(5)]
        set_policy(stay_seconds=1, expiry_seconds=3, pause_seconds=2)

        def work() -> None:
            for second in range(0, 12):
                at = after(second)
                with transaction.atomic():
                    fire(*map(spike, personas), at=at)
                    observe(*(reading(persona, fresh=Decimal(2)) for persona in personas), at=at)
                for persona in personas:
                    breaker.take(persona, control(persona).version, at=at)
                breaker.sweep(at)

        at_once(work)

        for persona in personas:
            numbers = ControlTransition.objects.filter(persona_id=persona).values_list("version", flat=True)
            assert sorted(numbers) == list(range(1, control(persona).version + 1))


def spike(persona: str) -> Signal:
    scope = {"persona_id": persona}
    return Signal(f"spike-{persona}", "cost_spike", scope, Severity.HIGH, Status.FIRING, "A spike")


def at_once(work: Callable[[], Any], threads: int = 2) -> None:
    """Each on a connection of its own."""
    start = Barrier(threads)

    def begin() -> None:
        try:
            start.wait(10)
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(begin) for _ in range(threads)]:
            done.result(30)


class TestTheBlastLimit:
    def test_one_may_always_be_paused_and_the_next_needs_a_person(self) -> None:
        paused("first")
        paused("second", after(10))

        assert control("first").level == Level.PAUSE
        held = control("second")
        assert (held.level, held.version) == (Level.SWITCH, 3)
        assert "Not paused: automation has paused 1 of the personas" in held.reason
        assert steps("second")[-1] == ("switch", "switch")
        assert Alert.objects.get(rule="pause_held_back").severity == "critical"

    @pytest.mark.parametrize(("personas", "may"), [(9, 1), (10, 2), (15, 3)])
    def test_a_fifth_of_the_known_personas_may(self, personas: int, may: int) -> None:
        known(personas)

        for number in range(may + 1):
            paused(f"known-{number}", after(number))

        assert Control.objects.filter(level=Level.PAUSE).count() == may

    @pytest.mark.parametrize(("minutes", "level"), [(9, Level.SWITCH), (10, Level.PAUSE)])
    def test_it_is_about_ten_minutes(self, minutes: int, level: Level) -> None:
        paused("first")

        paused("second", NOW + minutes * MINUTE)

        assert control("second").level == level

    @pytest.mark.parametrize(("stay", "seconds"), [(60, 300), (400, 400)])
    def test_what_was_held_back_is_tried_again_after_five_minutes_and_a_minimum_stay(
        self, stay: int, seconds: int
    ) -> None:
        paused("first")
        paused("second", after(10))
        set_policy(stay_seconds=stay)
        since = after(130)

        observe(reading("second", fresh=Decimal(2)), at=since + timedelta(seconds=seconds - 1))
        too_early = control("second").wanted_level
        observe(reading("second", fresh=Decimal(2)), at=since + timedelta(seconds=seconds))

        assert (too_early, control("second").wanted_level) == ("", Level.PAUSE)

    def test_the_level_that_stays_instead_is_renewed_at_once(self) -> None:
        paused("first")
        paused("second", after(10))

        assert control("second").expires_at == after(130) + timedelta(hours=1)
        assert ControlTransition.objects.filter(persona_id="second").latest("version").expires_at == after(3730)

    def test_and_as_long_as_it_is_called_for_it_says_why_it_is_not_more(self) -> None:
        paused("first")
        paused("second", after(10))
        set_policy(stay_seconds=400)

        observe(reading("second", fresh=Decimal(2)), at=after(510), complete=("second",))

        held = control("second")
        assert (held.expires_at, held.wanted_level, held.version) == (after(510) + timedelta(hours=1), "", 3)
        assert "A person must decide" in held.reason

    def test_it_still_tightens_and_is_not_tried_again_for_it(self) -> None:
        paused("first")
        paused("second", after(10))
        worse = reading("second", severity="critical", fresh=Decimal(2))

        observe(worse, at=after(140))
        take("second", after(140))
        observe(worse, at=after(429))

        assert (control("second").per_minute, control("second").wanted_level) == (10, "")
        assert Alert.objects.get(rule="pause_held_back").status == "firing"

    @pytest.mark.parametrize(("expiry", "minutes"), [(3600, 70), (300, 9)])
    def test_whoever_is_held_back_while_a_trigger_lasts_is_never_let_go(self, expiry: int, minutes: int) -> None:
        known(5)
        set_policy(expiry_seconds=expiry)

        overspend(("first", "second", "third"), timedelta(minutes=minutes))

        assert not ControlTransition.objects.filter(to_level=Level.CLOSED).exists()
        assert Control.objects.active().count() == 3

    def test_a_dry_run_uses_up_nothing(self) -> None:
        Policy.objects.create(persona_id="dry", is_observing=True)

        paused("dry")
        paused("real", after(1))

        assert (control("dry").level, control("real").level) == (Level.PAUSE, Level.PAUSE)


class TestOverrides:
    def disabled(self, persona: str = "ai_jesus", at: datetime = NOW) -> None:
        overrides.begin("disabled", persona, reason="a drill", actor="ann", for_=timedelta(hours=1), at=at)

    @pytest.mark.parametrize("persona", ["ai_jesus", ""])
    def test_who_is_left_alone_gets_no_step(self, persona: str) -> None:
        self.disabled(persona)

        observe(reading(), at=after(1))
        during = Control.objects.exists()
        observe(reading(), at=after(3600))

        assert (during, control().wanted_level) == (False, Level.THROTTLE)

    def test_a_step_that_nobody_took_before_is_dropped(self) -> None:
        observe(reading())
        self.disabled()

        assert take(at=after(1)) is None
        assert control().wanted_level == ""

    @pytest.mark.parametrize("kind", ["force_open", "force_closed"])
    def test_who_is_forced_is_still_watched(self, kind: str) -> None:
        overrides.begin(kind, "ai_jesus", reason="a drill", actor="ann", for_=timedelta(hours=1), at=NOW)

        assert throttled().level == Level.THROTTLE


class TestADryRun:
    def test_walks_the_same_levels_and_says_that_it_only_would(self) -> None:
        set_policy(is_observing=True)

        paused()

        assert steps() == [("closed", "throttle"), ("throttle", "switch"), ("switch", "pause")]
        assert set(ControlTransition.objects.values_list("is_observing", flat=True)) == {True}
        assert control().is_observing
        alert = Alert.objects.get(rule="persona_paused")
        assert alert.title == "ai_jesus would be paused"
        assert ["dry_run", "the policy only observes: nothing was done"] in alert.fact_pairs

    @pytest.mark.parametrize("was", [True, False])
    def test_a_policy_that_begins_or_ceases_to_act_begins_anew(self, was: bool) -> None:
        set_policy(is_observing=was)
        throttled()
        set_policy(is_observing=not was)

        observe(at=after(1), complete=("ai_jesus",))
        take(at=after(1))

        assert (control().level, control().is_observing) == (Level.CLOSED, not was)
        assert "begins anew" in control().reason


class TestTheSweep:
    def test_takes_what_was_rung_for_in_vain(self) -> None:
        observe(reading())

        breaker.sweep(after(1))

        assert control().level == Level.THROTTLE

    @pytest.mark.parametrize(("seconds", "level"), [(3719, Level.PAUSE), (3720, Level.HALF_OPEN)])
    def test_ends_a_pause_in_a_trial(self, seconds: int, level: Level) -> None:
        paused()

        breaker.sweep(after(seconds))

        assert control().level == level

    def test_lets_go_what_nothing_renewed(self) -> None:
        throttled()

        breaker.sweep(after(3600))
        breaker.sweep(after(3601))

        assert steps()[-1] == ("throttle", "closed")
        assert len(steps()) == 2
        assert control().reason == "Nothing renewed it before it expired. Let through again."

    @pytest.mark.parametrize("hold_back", [throttled, paused])
    def test_lets_go_whoever_a_policy_that_now_only_observes_holds_back(self, hold_back: Callable[[], Control]) -> None:
        hold_back()
        set_policy(is_observing=True)

        breaker.sweep(after(130))

        assert control().level == Level.CLOSED
        assert control().reason.startswith("The policy now only observes: it begins anew.")
        assert ask(at=after(131)).decision == "allow"

    def test_does_not_let_begin_to_bite_what_was_only_noted(self) -> None:
        set_policy(is_observing=True)
        paused()
        set_policy(is_observing=False)

        breaker.sweep(after(130))

        assert control().level == Level.CLOSED
        assert control().reason.startswith("The policy acts from now on: it begins anew.")

    @pytest.mark.parametrize("is_observing", [True, False])
    def test_goes_by_the_personas_own_policy_before_everybodys(self, is_observing: bool) -> None:
        Policy.objects.create(persona_id="own", is_observing=is_observing)
        for persona in ("own", "other"):
            throttled(persona)

        breaker.sweep(after(1))
        untouched = Control.objects.active().count()
        Policy.objects.filter(persona_id="own").update(is_observing=not is_observing)
        breaker.sweep(after(2))

        assert (untouched, control("own").level, control("other").level) == (2, Level.CLOSED, Level.THROTTLE)

    def test_reads_the_policies_once_however_many_are_over(self) -> None:
        for number in range(3):
            throttled(f"p{number}")

        with CaptureQueriesContext(connection) as queries:
            breaker.sweep(after(3600))

        read = [query["sql"] for query in queries if query["sql"].startswith('SELECT "controls_policy"')]
        assert (len(read), Control.objects.active().count()) == (1, 0)

    def test_what_fails_for_one_fails_for_no_other(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        observe(reading("broken"), reading("whole"))
        Control.objects.filter(pk="broken").update(wanted={})

        with caplog.at_level(logging.ERROR):
            breaker.sweep(after(1))

        assert control("whole").level == Level.THROTTLE
        assert "the breaker of broken could not move" in caplog.text

    def test_of_the_controls_does_all_its_parts_though_one_fails(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        done: list[datetime] = []

        def fails(at: datetime) -> None:
            raise RuntimeError(str(at))

        monkeypatch.setattr(sweep, "PARTS", (fails, done.append))

        with caplog.at_level(logging.ERROR):
            sweep.sweep(NOW)

        assert done == [NOW]
        assert "failed" in caplog.text


class TestWhatPeopleHear:
    def test_of_each_level_one_alert_and_its_end(self) -> None:
        heard = []
        throttled()
        heard.append(firing())
        for seconds in (60, 120):
            escalate("ai_jesus", after(seconds))
            heard.append(firing())
        for seconds in (3720, 7320):
            breaker.sweep(after(seconds))
            heard.append(firing())

        levels = ["persona_throttled", "model_switched", "persona_paused", "persona_on_trial"]
        assert heard == [*({level} for level in levels), set()]

    def test_the_alert_says_who_why_how_much_and_until_when_and_leads_to_the_control(self) -> None:
        throttled(severity="critical")

        alert = Alert.objects.get()
        assert (alert.title, alert.severity, alert.persona_id) == ("ai_jesus is throttled", "critical", "ai_jesus")
        assert alert.fact_pairs == [
            ["why", "It is dear. Throttled, 10 requests a minute."],
            ["requests_a_minute", "10"],
            ["until", "2026-11-24 13:00:00 UTC"],
        ]
        assert alert.url.endswith("/admin/controls/control/ai_5Fjesus/change/")

    def test_a_policy_may_keep_it_to_itself_and_still_say_ends(self) -> None:
        throttled("told")
        set_policy(alert_human_operator=False)
        throttled("untold")
        breaker.sweep(after(3600))

        assert set(Alert.objects.values_list("persona_id", "status")) == {("told", "resolved")}

    def test_while_a_pause_is_said_the_spike_that_caused_it_is_not(self) -> None:
        paused()

        fire(spike("ai_jesus"), at=after(121))
        during = reasons(group__rule="cost_spike")
        breaker.sweep(after(3720))

        assert during == {"inhibited": 1}
        assert firing() == {"cost_spike", "persona_on_trial"}
