"""The pure decisions: both sides of every boundary."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alerts.channels.base import Event
from alerts.decide import (
    INHIBITS,
    WAITING,
    Incident,
    Mute,
    Outlet,
    Pace,
    Path,
    Quiet,
    Reason,
    Say,
    Surroundings,
    after,
    decide,
    due_at,
    explained_by,
    neighbours,
    resolve,
    route,
)
from alerts.signal import Severity
from tests.alerts.conftest import HOUR, MINUTE, NOON, SECOND

PACE = Pace()
ALONE = Surroundings()
MICRO = timedelta(microseconds=1)
LOW, MEDIUM, HIGH, CRITICAL = Severity
TOLD = Incident("p", "cost_spike", CRITICAL, NOON, said=CRITICAL, said_at=NOON, is_told=True)


def look(incident: Incident, at: datetime = NOON, around: Surroundings = ALONE) -> Event | Reason:
    verdict = decide(incident, around, PACE, at)
    return verdict.event if isinstance(verdict, Say) else verdict.reason


class TestPacing:
    @pytest.mark.parametrize(
        ("incident", "at", "expected"),
        [
            (Incident("p", "cost_spike", LOW, NOON), NOON, Event.OPENED),
            (TOLD, NOON + HOUR - MICRO, Reason.GROUPED),
            (TOLD, NOON + HOUR, Event.REPEATED),
            (replace(TOLD, said=HIGH), NOON, Event.ESCALATED),
            (replace(TOLD, severity=HIGH), NOON, Reason.GROUPED),
            (replace(TOLD, escalates_at=NOON + MINUTE), NOON + MINUTE - MICRO, Reason.GROUPED),
            (replace(TOLD, escalates_at=NOON + MINUTE), NOON + MINUTE, Event.UNACKNOWLEDGED),
            (replace(TOLD, acknowledged=CRITICAL), NOON + 9 * HOUR, Reason.ACKNOWLEDGED),
            (replace(TOLD, acknowledged=HIGH), NOON + HOUR, Event.REPEATED),
            (replace(TOLD, acknowledged=HIGH, said=HIGH), NOON, Event.ESCALATED),
            (replace(TOLD, is_told=False), NOON + HOUR - MICRO, Reason.FLAPPING),
            (replace(TOLD, is_told=False), NOON + HOUR, Event.REPEATED),
            (replace(TOLD, is_told=False, said=HIGH), NOON + MINUTE, Event.ESCALATED),
            # Not told is not unheard: nobody is called about what the channels believe to be over.
            (replace(TOLD, is_told=False, escalates_at=NOON), NOON + MINUTE, Reason.FLAPPING),
            (replace(TOLD, severity=None), NOON, Event.RESOLVED),
            (replace(TOLD, severity=None, is_told=False), NOON, Reason.FLAPPING),
            (Incident("p", "cost_spike", None, NOON), NOON, Reason.NEVER_SAID),
        ],
    )
    def test_what_is_said_when(self, incident: Incident, at: datetime, expected: Event | Reason) -> None:
        assert look(incident, at) == expected

    @pytest.mark.parametrize(
        ("fires", "mutes", "expected"),
        [
            ({}, (), Event.RESOLVED),
            ({("p", "persona_paused"): HIGH}, (), Reason.SUPERSEDED),
            ({("p", "persona_on_trial"): CRITICAL}, (), Reason.SUPERSEDED),
            # Less severe it may be told to fewer: whoever does not hear of it must hear of the end.
            ({("p", "persona_paused"): MEDIUM}, (), Event.RESOLVED),
            ({("p", "persona_paused"): HIGH}, (Mute("p", "", HIGH, NOON, "anna", "x"),), Event.RESOLVED),
            ({("q", "persona_paused"): HIGH}, (), Event.RESOLVED),
            ({("p", "cost_spike"): HIGH}, (), Event.RESOLVED),
        ],
    )
    def test_of_steps_of_one_incident_the_end_of_all_is_said(
        self, fires: dict[tuple[str, str], Severity], mutes: tuple[Mute, ...], expected: Event | Reason
    ) -> None:
        over = replace(TOLD, rule="model_switched", severity=None, said=HIGH)

        assert look(over, around=Surroundings(fires, mutes)) == expected

    @pytest.mark.parametrize(
        ("rule", "ended", "expected"),
        [
            ("emergency_override", {}, Event.OPENED),
            ("persona_paused", {("p", "model_switched"): NOON + MINUTE}, Event.OPENED),
            ("persona_paused", {("p", "model_switched"): NOON + MINUTE - MICRO}, Reason.FLAPPING),
            ("persona_paused", {("q", "model_switched"): NOON + MINUTE}, Reason.FLAPPING),
            ("persona_paused", {}, Reason.FLAPPING),
        ],
    )
    def test_a_persons_act_and_a_next_step_do_not_flap(
        self, rule: str, ended: dict[tuple[str, str], datetime], expected: Event | Reason
    ) -> None:
        again = replace(TOLD, rule=rule, is_told=False)

        assert look(again, NOON + MINUTE, Surroundings(ended=ended)) == expected

    @pytest.mark.parametrize(("rule", "seconds"), [("cost_threshold", 5), ("learned", 5), ("forecast", 60)])
    def test_some_wait_for_what_may_explain_them(self, rule: str, seconds: int) -> None:
        fresh = Incident("p", rule, MEDIUM, NOON)

        verdict = decide(fresh, ALONE, PACE, NOON + seconds * SECOND - MICRO)

        assert isinstance(verdict, Quiet)
        assert (verdict.reason, verdict.due_at) == (Reason.WAITING, NOON + seconds * SECOND)
        assert look(fresh, NOON + seconds * SECOND) is Event.OPENED

    def test_the_end_is_said_with_the_worst_that_was_said(self) -> None:
        assert decide(replace(TOLD, severity=None), ALONE, PACE, NOON) == Say(Event.RESOLVED, CRITICAL)


class TestWhatFollows:
    @pytest.mark.parametrize(("severity", "escalates"), [(MEDIUM, False), (HIGH, True), (CRITICAL, True)])
    def test_only_what_is_urgent_will_be_told_to_everybody(self, severity: Severity, escalates: bool) -> None:
        opened = after(Incident("p", "r", severity, NOON), Say(Event.OPENED, severity), PACE, NOON)

        assert opened == Incident(
            "p",
            "r",
            severity,
            NOON,
            said=severity,
            said_at=NOON,
            is_told=True,
            escalates_at=NOON + 15 * MINUTE if escalates else None,
        )
        assert due_at(opened, Say(Event.OPENED, severity), PACE) == NOON + (15 * MINUTE if escalates else HOUR)

    def test_it_is_told_to_everybody_once_and_repeated_at_its_own_time(self) -> None:
        waiting = replace(TOLD, escalates_at=NOON + 15 * MINUTE)
        say = Say(Event.UNACKNOWLEDGED, CRITICAL)

        told = after(waiting, say, PACE, NOON + 15 * MINUTE)
        assert (told.was_escalated, told.escalates_at, due_at(told, say, PACE)) == (True, None, NOON + HOUR)

        repeated = after(told, Say(Event.REPEATED, CRITICAL), PACE, NOON + HOUR)
        assert repeated.escalates_at is None

    def test_after_an_outage_of_the_sweep_one_message_does_for_both(self) -> None:
        late = after(replace(TOLD, escalates_at=NOON), Say(Event.UNACKNOWLEDGED, CRITICAL), PACE, NOON + 2 * HOUR)

        assert look(late, NOON + 2 * HOUR) is Reason.GROUPED

    def test_an_end_forgets_who_took_it_and_not_what_was_said(self) -> None:
        ended = replace(TOLD, severity=None, acknowledged=CRITICAL, escalates_at=NOON)

        assert after(ended, Say(Event.RESOLVED, CRITICAL), PACE, NOON) == replace(
            ended, is_told=False, acknowledged=None, escalates_at=None
        )

    def test_the_worst_ever_said_stays(self) -> None:
        repeated = after(replace(TOLD, severity=LOW), Say(Event.REPEATED, LOW), PACE, NOON + HOUR)

        assert (repeated.said, repeated.said_at) == (CRITICAL, NOON + HOUR)


class TestMutes:
    @pytest.mark.parametrize(
        ("persona", "rule", "up_to", "muted"),
        [
            ("", "", CRITICAL, True),
            ("p", "cost_spike", HIGH, True),
            ("p", "cost_spike", MEDIUM, False),
            ("q", "", CRITICAL, False),
            ("", "no_data", CRITICAL, False),
        ],
    )
    def test_a_silence_covers_what_it_names(self, persona: str, rule: str, up_to: Severity, muted: bool) -> None:
        mute = Mute(persona, rule, up_to, NOON + HOUR, "anna", "migration")
        verdict = decide(Incident("p", "cost_spike", HIGH, NOON), Surroundings(mutes=[mute]), PACE, NOON)

        if muted:
            sentence = "Silenced by anna until 2026-11-24 13:00 UTC: migration"
            assert verdict == Quiet(Reason.SILENCED, sentence, NOON + HOUR)
        else:
            assert verdict == Say(Event.OPENED, HIGH)

    def test_a_mute_does_not_hide_that_it_is_over(self) -> None:
        everything = Surroundings({("p", "persona_paused"): LOW}, [Mute("", "", CRITICAL, NOON + HOUR, "anna", "x")])

        assert look(replace(TOLD, severity=None), NOON, everything) is Event.RESOLVED

    @pytest.mark.parametrize(
        ("cause", "explained"),
        [
            ("cost_spike", "cost_threshold learned burn_rate forecast"),
            ("persona_paused", "cost_spike cost_threshold efficiency_drop negative_roi learned no_data"),
            ("budget_overrun", "forecast burn_rate"),
        ],
    )
    def test_the_table_of_causes(self, cause: str, explained: str) -> None:
        rules = {rule for each in INHIBITS.values() for rule in each} | {"unpriced", "budget_overrun", *INHIBITS}

        muted = {rule for rule in rules if explained_by("p", rule, MEDIUM, {("p", cause): MEDIUM})}

        assert muted == set(explained.split())
        assert not any(explained_by("q", rule, MEDIUM, {("p", cause): MEDIUM}) for rule in rules)
        assert neighbours([("p", cause)]) == {("p", rule) for rule in muted}

    def test_the_budget_of_all_explains_the_budget_of_one(self) -> None:
        assert explained_by("p", "budget_overrun", MEDIUM, {("", "budget_overrun"): CRITICAL})
        assert not explained_by(
            "", "budget_overrun", MEDIUM, {("", "budget_overrun"): MEDIUM, ("p", "budget_overrun"): MEDIUM}
        )

    def test_nothing_explains_itself_and_nothing_goes_in_circles(self) -> None:
        assert not [cause for cause, rules in INHIBITS.items() if cause in rules]
        assert not [(a, b) for a, rules in INHIBITS.items() for b in rules if a in INHIBITS.get(b, ())]

    def test_who_waits_can_be_explained(self) -> None:
        assert set(WAITING) <= {rule for rules in INHIBITS.values() for rule in rules}


def outlet(name: str, fallback: str = "", unusable: Reason | None = None) -> Outlet:
    return Outlet(name, fallback, unusable, f"{name} is unusable." if unusable else "")


class TestRouting:
    PATHS = (
        Path("", "", HIGH, ("slack",)),
        Path("", "", CRITICAL, ("slack", "email")),
        Path("p", "", HIGH, ("email",)),
        Path("", "cost_spike", HIGH, ("pager",)),
        Path("p", "cost_spike", HIGH, ("hook",)),
    )
    OUTLETS = {name: outlet(name) for name in ("slack", "email", "pager", "hook")}

    @pytest.mark.parametrize(
        ("persona", "rule", "channel"),
        [
            ("p", "cost_spike", "hook"),
            ("p", "no_data", "email"),
            ("q", "cost_spike", "pager"),
            ("q", "no_data", "slack"),
            ("", "no_data", "slack"),
        ],
    )
    def test_the_most_specific_path_counts(self, persona: str, rule: str, channel: str) -> None:
        incident = Incident(persona, rule, HIGH, NOON)

        assert route(incident, Say(Event.OPENED, HIGH), self.PATHS, self.OUTLETS).channels == (channel,)

    def test_what_nobody_took_goes_where_critical_ones_go_as_well(self) -> None:
        incident = Incident("q", "cost_spike", HIGH, NOON)

        routing = route(incident, Say(Event.UNACKNOWLEDGED, HIGH), self.PATHS, self.OUTLETS)

        assert routing.channels == ("pager", "slack", "email")

    def test_no_path_is_nowhere(self) -> None:
        routing = route(Incident("q", "x", LOW, NOON), Say(Event.OPENED, LOW), self.PATHS, self.OUTLETS)

        assert ([each.reason for each in routing.refused], routing.channels) == ([Reason.NOWHERE], ())

    @pytest.mark.parametrize(
        ("outlets", "is_urgent", "channels", "refused"),
        [
            ([outlet("a")], False, ("a",), []),
            ([outlet("a", "b", Reason.DISABLED), outlet("b")], False, ("b",), [Reason.DISABLED]),
            ([outlet("a", "b", Reason.DISABLED), outlet("b", "a", Reason.NOT_CONFIGURED)], False, (), "ring"),
            ([outlet("a", "", Reason.DISABLED), outlet("z"), outlet("y")], True, ("z", "y"), [Reason.DISABLED]),
            ([outlet("a", "", Reason.DISABLED), outlet("z")], False, (), [Reason.DISABLED, Reason.NOWHERE]),
            ([outlet("z")], False, (), [Reason.ABSENT, Reason.NOWHERE]),
            ([], True, (), [Reason.ABSENT, Reason.NOWHERE]),
        ],
    )
    def test_a_channel_that_cannot_be_used_is_replaced(
        self, outlets: list[Outlet], is_urgent: bool, channels: tuple[str, ...], refused: list[Reason] | str
    ) -> None:
        if refused == "ring":
            refused = [Reason.DISABLED, Reason.NOT_CONFIGURED, Reason.NOWHERE]

        routing = resolve(["a"], {each.name: each for each in outlets}, is_urgent=is_urgent)

        assert (routing.channels, [each.reason for each in routing.refused]) == (channels, refused)

    def test_each_channel_is_told_once(self) -> None:
        outlets = {"a": outlet("a", "b", Reason.DISABLED), "b": outlet("b")}

        assert resolve(["a", "b", "b"], outlets, is_urgent=False).channels == ("b",)
