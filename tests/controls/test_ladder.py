"""The breaker's ladder: what enters, what escalates, what tightens, what calms down, and what never happens."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.signal import Severity
from controls.ladder import UPWARD, Change, Level, Reading, Rules, State, Step, step
from tests.controls.conftest import NOW

RULES = Rules()
MINUTE = timedelta(minutes=1)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reading(excess: str = "1", trigger: str = "cost_per_post", severity: str = "medium", **fields: Any) -> Reading:
    """A spike that rests on enough."""
    given: dict[str, Any] = {"events": 20, "amount": Decimal("0.05"), "says": "It is dear."} | fields
    return Reading("ai_jesus", trigger, Severity(severity), Decimal(excess), **given)


def fresh(excess: str = "1", **fields: Any) -> Reading:
    """The same, and what came since the level began has crossed the threshold by itself."""
    given: dict[str, Any] = {"fresh": Decimal(excess)} | fields
    return reading(excess, **given)


def lagging(excess: str, **fields: Any) -> Reading:
    given: dict[str, Any] = {"trigger": "roi", "is_lagging": True} | fields
    return reading(excess, **given)


def budget(used: int) -> Reading:
    """So many per cent of it; it began with 90."""
    found = lagging("1", trigger="budget:1", full=Decimal(100) / 90)
    return replace(found, excess=Decimal(used) / 90)


def at_level(level: Level, **fields: Any) -> State:
    """It began at noon, for an hour, by a spike just at its threshold."""
    given: dict[str, Any] = {
        "severity": Severity.MEDIUM,
        "per_minute": RULES.per_minute(level, Severity.MEDIUM),
        "since": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "excess": Decimal(1),
        "trigger": "cost_per_post",
        "version": 1,
    }
    return State(level, **given | fields)


def taken(state: State, *found: Reading, at: datetime, rules: Rules = RULES, is_complete: bool = True) -> Step:
    return step(state, found, rules, at, is_complete=is_complete)


class TestEntering:
    @pytest.mark.parametrize(
        ("found", "enters"),
        [
            (reading("1"), True),
            (reading("0.999999"), False),
            (reading("1", events=19), False),
            (reading("1", amount=Decimal("0.049999")), False),
            (reading("1000", events=19, severity="critical"), False),
            (lagging("1"), True),
            (budget(90), True),
            (budget(89), False),
        ],
    )
    def test_it_takes_the_threshold_and_both_minimums(self, found: Reading, enters: bool) -> None:
        result = taken(State(), found, at=NOW)

        assert result.state.level is (Level.THROTTLE if enters else Level.CLOSED)
        assert result.change is (Change.ENTERED if enters else None)

    @pytest.mark.parametrize(("severity", "per_minute"), [("low", 50), ("medium", 50), ("high", 30), ("critical", 10)])
    def test_the_rate_goes_by_the_severity_which_is_at_least_medium(self, severity: str, per_minute: int) -> None:
        assert taken(State(), reading(severity=severity), at=NOW).state.per_minute == per_minute

    def test_the_worst_that_rests_on_enough_is_the_reason(self) -> None:
        result = taken(State(), reading("2"), reading("9", severity="critical", events=1), reading("3", "roi"), at=NOW)

        assert (result.state.trigger, result.state.excess) == ("roi", Decimal(3))
        assert result.reason == "It is dear. Throttled, 50 requests a minute."
        assert result.state.expires_at == NOW + timedelta(hours=1)

    @pytest.mark.parametrize(
        ("switches", "level"),
        [
            ({"throttle_requests": False}, Level.SWITCH),
            ({"throttle_requests": False, "disable_expensive_models": False}, Level.PAUSE),
            (
                {"throttle_requests": False, "disable_expensive_models": False, "pause_persona": False},
                Level.CLOSED,
            ),
        ],
    )
    def test_it_begins_at_the_first_level_that_is_permitted(self, switches: dict[str, Any], level: Level) -> None:
        assert taken(State(), reading(), at=NOW, rules=replace(RULES, **switches)).state.level is level

    def test_who_is_let_through_and_calm_is_left_alone(self) -> None:
        assert taken(State(), reading("0.5"), at=NOW) == Step(None, State())


class TestEscalating:
    @pytest.mark.parametrize(("seconds", "level"), [(59, Level.THROTTLE), (60, Level.SWITCH)])
    def test_a_level_gets_its_minimum_stay(self, seconds: int, level: Level) -> None:
        assert taken(at_level(Level.THROTTLE), fresh(), at=after(seconds)).state.level is level

    @pytest.mark.parametrize(
        ("found", "escalates"),
        [
            (fresh("1"), True),
            (fresh("3", fresh=Decimal("0.999999")), False),
            (reading("9", severity="critical"), False),
            (fresh("1", events=1), True),
        ],
    )
    def test_only_what_came_since_shows_that_it_does_not_help(self, found: Reading, escalates: bool) -> None:
        result = taken(at_level(Level.SWITCH), found, at=after(60))

        assert (result.state.level is Level.PAUSE) is escalates

    @pytest.mark.parametrize(("excess", "escalates"), [("1.049999", False), ("1.05", True)])
    def test_what_only_accumulates_must_have_grown(self, excess: str, escalates: bool) -> None:
        result = taken(at_level(Level.THROTTLE, trigger="roi"), lagging(excess), at=after(60))

        assert (result.change is Change.ESCALATED) is escalates

    @pytest.mark.parametrize(("used", "escalates"), [(92, False), (93, True), (120, True)])
    def test_a_budget_must_have_lost_a_quarter_of_what_was_left(self, used: int, escalates: bool) -> None:
        result = taken(at_level(Level.THROTTLE, trigger="budget:1"), budget(used), at=after(60))

        assert (result.change is Change.ESCALATED) is escalates

    def test_another_accumulating_trigger_does_not_speak_for_the_first(self) -> None:
        result = taken(at_level(Level.THROTTLE, trigger="budget:1"), budget(90), lagging("9"), at=after(60))

        assert result.change is not Change.ESCALATED

    def test_one_level_at_a_time_over_those_that_are_not_permitted(self) -> None:
        rules = replace(RULES, disable_expensive_models=False)

        assert taken(at_level(Level.THROTTLE), fresh(), at=after(60)).state.level is Level.SWITCH
        assert taken(at_level(Level.THROTTLE), fresh(), at=after(60), rules=rules).state.level is Level.PAUSE

    def test_a_higher_level_is_never_a_milder_one(self) -> None:
        critical = at_level(Level.THROTTLE, severity=Severity.CRITICAL, per_minute=10)

        assert taken(critical, fresh(severity="medium"), at=after(60)).state.per_minute == 10

    def test_what_nothing_is_permitted_beyond_is_said_once_and_still_tightened(self) -> None:
        rules = replace(RULES, disable_expensive_models=False, pause_persona=False)
        state = at_level(Level.THROTTLE)

        stays = taken(state, fresh(), at=after(60), rules=rules)
        worse = taken(state, fresh(severity="critical"), at=after(60), rules=rules)

        assert (stays.change, stays.state.level) == (Change.NOTED, Level.THROTTLE)
        assert stays.reason == "The level throttle did not help. The policy permits nothing beyond it."
        assert (worse.change, worse.state.per_minute) == (Change.TIGHTENED, 10)


class TestTightening:
    @pytest.mark.parametrize(("severity", "per_minute"), [("low", 50), ("medium", 50), ("high", 30), ("critical", 10)])
    def test_it_follows_the_severity_at_once(self, severity: str, per_minute: int) -> None:
        result = taken(at_level(Level.THROTTLE), reading(severity=severity), at=after(1))

        assert (result.state.level, result.state.per_minute) == (Level.THROTTLE, per_minute)
        assert (result.change is Change.TIGHTENED) is (per_minute < 50)
        assert result.state.since == NOW

    def test_it_needs_enough_too_and_never_loosens(self) -> None:
        critical = at_level(Level.SWITCH, severity=Severity.CRITICAL, per_minute=10)

        assert taken(at_level(Level.THROTTLE), reading(severity="critical", events=19), at=NOW).state.per_minute == 50
        assert taken(critical, reading(), at=after(1)).state.per_minute == 10


class TestComingDown:
    def calm(self, level: Level, *, stays: float, calm: float | None, **fields: Any) -> Step:
        """After so many seconds on the level, calm for so many."""
        since = None if calm is None else after(stays - calm)
        return taken(at_level(level, calm_since=since, **fields), reading("0.7"), at=after(stays))

    @pytest.mark.parametrize(
        ("stays", "calm", "level"),
        [
            (89, 89, Level.THROTTLE),
            (90, 90, Level.CLOSED),
            (200, 89, Level.THROTTLE),
            (200, None, Level.THROTTLE),
        ],
    )
    def test_it_takes_three_calm_windows(self, stays: float, calm: float | None, level: Level) -> None:
        assert self.calm(Level.THROTTLE, stays=stays, calm=calm).state.level is level

    def test_and_the_minimum_stay(self) -> None:
        rules = replace(RULES, calm=timedelta(seconds=10))
        state = at_level(Level.THROTTLE, calm_since=NOW)

        assert taken(state, at=after(59), rules=rules).state.level is Level.THROTTLE
        assert taken(state, at=after(60), rules=rules).state.level is Level.CLOSED

    @pytest.mark.parametrize(("excess", "is_calm"), [("0.7", True), ("0.700001", False), ("0.999999", False)])
    def test_calm_is_at_most_seven_tenths_of_the_threshold(self, excess: str, is_calm: bool) -> None:
        result = taken(at_level(Level.THROTTLE, calm_since=NOW), reading(excess), at=after(30))

        assert result.state.calm_since == (NOW if is_calm else None)

    def test_one_level_at_a_time_and_each_needs_as_long_again(self) -> None:
        first = self.calm(Level.SWITCH, stays=100, calm=90)
        early = taken(first.state, at=after(189))
        second = taken(first.state, at=after(190))

        assert (first.change, first.state.level, early.change) == (Change.EASED, Level.THROTTLE, None)
        assert second.state.level is Level.CLOSED
        assert second.reason == "Calm for 90 s. Let through again."

    def test_a_switch_without_a_throttle_below_it_ends_at_once(self) -> None:
        rules = replace(RULES, throttle_requests=False)
        state = at_level(Level.SWITCH, calm_since=NOW)

        assert taken(state, at=after(90), rules=rules).state.level is Level.CLOSED

    def test_a_look_at_some_triggers_only_finds_nobody_calm(self) -> None:
        state = at_level(Level.THROTTLE, calm_since=NOW)

        assert taken(state, reading("0"), at=after(100), is_complete=False) == Step(None, state)

    def test_whatever_is_triggered_ends_the_calm_and_keeps_the_level_alive(self) -> None:
        result = taken(at_level(Level.THROTTLE, calm_since=NOW), reading(), at=after(600), is_complete=False)

        assert result.change is Change.NOTED
        assert (result.state.calm_since, result.state.expires_at) == (None, after(600) + timedelta(hours=1))


class TestThePause:
    def test_it_lasts_an_hour_whatever_is_read(self) -> None:
        paused = taken(at_level(Level.SWITCH), fresh(), at=after(60)).state

        assert paused.expires_at == after(60) + timedelta(hours=1)
        assert taken(paused, fresh("9", severity="critical"), at=after(3659)) == Step(None, paused)
        assert taken(paused, at=after(3659)) == Step(None, paused)

    def test_it_ends_in_a_trial_at_the_tightest_rate(self) -> None:
        result = taken(at_level(Level.PAUSE), fresh(), at=after(3600))

        assert (result.change, result.state.level) == (Change.EXPIRED, Level.HALF_OPEN)
        assert (result.state.per_minute, result.state.since) == (10, after(3600))

    def test_a_trial_that_stays_calm_lets_in(self) -> None:
        trial = at_level(Level.HALF_OPEN, calm_since=NOW)

        assert taken(trial, at=after(89)).state.level is Level.HALF_OPEN
        assert taken(trial, at=after(90)).state.level is Level.CLOSED

    @pytest.mark.parametrize(
        ("found", "seconds", "level"),
        [
            (fresh(), 60, Level.PAUSE),
            (fresh(), 59, Level.HALF_OPEN),
            (reading("9"), 60, Level.HALF_OPEN),
        ],
    )
    def test_a_trial_fails_by_what_came_in_it(self, found: Reading, seconds: int, level: Level) -> None:
        assert taken(at_level(Level.HALF_OPEN), found, at=after(seconds)).state.level is level


class TestExpiry:
    @pytest.mark.parametrize("level", [Level.THROTTLE, Level.SWITCH, Level.HALF_OPEN])
    def test_what_nothing_renews_ends(self, level: Level) -> None:
        state = at_level(level)

        assert taken(state, at=after(3599), is_complete=False) == Step(None, state)
        ended = taken(state, at=after(3600), is_complete=False)
        assert (ended.change, ended.state.level) == (Change.EXPIRED, Level.CLOSED)
        assert (ended.state.per_minute, ended.state.expires_at) == (None, None)

    def test_it_is_renewed_once_a_tenth_of_its_life_is_gone(self) -> None:
        early, late = (taken(at_level(Level.THROTTLE), reading(), at=after(seconds)) for seconds in (359, 360))

        assert early.change is None
        assert late.state.expires_at == after(360) + timedelta(hours=1)


READINGS = st.builds(
    lambda trigger, severity, excess, fresh_excess, events: Reading(
        "ai_jesus",
        trigger,
        severity,
        excess,
        events=events,
        amount=Decimal(1),
        fresh=fresh_excess,
        is_lagging=trigger == "roi",
    ),
    st.sampled_from(["cost_per_post", "spend_rate", "roi"]),
    st.sampled_from(Severity),
    st.decimals(0, 3, places=2),
    st.none() | st.decimals(0, 3, places=2),
    st.sampled_from([0, 20]),
)
LOOKS = st.lists(st.tuples(st.integers(1, 90), st.lists(READINGS, max_size=3), st.booleans()), min_size=1, max_size=60)
POLICIES = st.builds(
    Rules,
    stay=st.sampled_from([timedelta(seconds=30), MINUTE]),
    calm=st.sampled_from([timedelta(seconds=30), 2 * MINUTE]),
    expiry=st.just(10 * MINUTE),
    pause=st.sampled_from([MINUTE, 10 * MINUTE]),
    throttle_requests=st.booleans(),
    disable_expensive_models=st.booleans(),
    pause_persona=st.booleans(),
)


def walked(looks: Iterable[tuple[int, list[Reading], bool]], rules: Rules) -> list[tuple[State, Step, datetime]]:
    """The transitions that these looks make, each with the state before it and its moment."""
    state, at, transitions = State(), NOW, []
    for seconds, found, is_complete in looks:
        at += timedelta(seconds=seconds)
        result = step(state, found, rules, at, is_complete=is_complete)
        if result.is_transition:
            transitions.append((state, result, at))
        state = result.state
    return transitions


class TestWhateverIsRead:
    @given(LOOKS, POLICIES)
    @example([(1, [fresh("2")], True)] * 60, RULES)
    def test_no_level_is_left_within_its_minimum_stay_unless_it_expired(
        self, looks: list[tuple[int, list[Reading], bool]], rules: Rules
    ) -> None:
        for before, result, at in walked(looks, rules):
            if before.level is not Level.CLOSED and result.change not in (Change.TIGHTENED, Change.EXPIRED):
                assert before.since is not None
                assert at - before.since >= rules.stay

    @given(LOOKS, POLICIES)
    @example([(60, [fresh("2")], True)] * 10, RULES)
    def test_upward_no_permitted_level_is_left_out_and_downward_neither(
        self, looks: list[tuple[int, list[Reading], bool]], rules: Rules
    ) -> None:
        ladder = [Level.CLOSED, *(level for level in UPWARD if rules.permits(level))]
        for before, result, _ in walked(looks, rules):
            if result.change in (Change.ENTERED, Change.ESCALATED) and before.level is not Level.HALF_OPEN:
                assert ladder.index(result.state.level) == ladder.index(before.level) + 1
            if result.change is Change.EASED and before.level is not Level.HALF_OPEN:
                assert ladder.index(result.state.level) == ladder.index(before.level) - 1

    @given(LOOKS, POLICIES)
    def test_every_level_that_holds_back_expires_and_the_version_counts_the_steps(
        self, looks: list[tuple[int, list[Reading], bool]], rules: Rules
    ) -> None:
        for number, (_, result, at) in enumerate(walked(looks, rules), 1):
            state = result.state
            assert state.version == number
            assert (state.level is Level.CLOSED) == (state.expires_at is None)
            assert state.expires_at is None or at < state.expires_at <= at + max(rules.expiry, rules.pause)
            assert state.level in (Level.CLOSED, Level.HALF_OPEN) or rules.permits(state.level)

    @given(LOOKS, POLICIES)
    def test_without_anything_new_everybody_is_let_through_in_the_end(
        self, looks: list[tuple[int, list[Reading], bool]], rules: Rules
    ) -> None:
        transitions = walked([*looks, *[(90, [], True)] * 60], rules)

        assert not transitions or transitions[-1][1].state.level is Level.CLOSED
