"""Overrides: who said what until when, in whose place, and that people hear of it."""

import getpass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from alerts.models import Alert, AlertGroup
from controls import overrides
from controls.models import Override
from tests.controls.conftest import NOW

pytestmark = pytest.mark.django_db
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def begin(kind: str = "force_open", persona: str = "ai_jesus", **said: Any) -> Override:
    given: dict[str, Any] = {"reason": "a loop", "actor": "ann", "for_": HOUR, "at": NOW}
    return overrides.begin(kind, persona, **given | said)


def alert_of(override: Override) -> Alert:
    return Alert.objects.get(fingerprint=f"override:{override.pk}")


class TestBeginning:
    def test_it_holds_from_its_beginning_until_just_before_its_end(self) -> None:
        override = begin()

        held = {moment: overrides.active(NOW + moment) for moment in (-SECOND, 0 * SECOND, HOUR - SECOND, HOUR)}
        assert held == {-SECOND: [], 0 * SECOND: [override], HOUR - SECOND: [override], HOUR: []}
        assert (override.actor, override.reason, override.starts_at) == ("ann", "a loop", NOW)

    def test_a_new_one_for_the_same_persona_ends_the_former_and_says_who_did(self) -> None:
        former, other, everybodys = begin(), begin(persona="stoic"), begin(persona="")

        new = begin("force_closed", actor="bob", at=NOW + SECOND)

        former.refresh_from_db()
        assert (former.ended_at, former.ended_by) == (NOW + SECOND, "bob")
        assert overrides.active(NOW + SECOND) == [everybodys, new, other]

    @pytest.mark.parametrize(
        ("said", "field"),
        [
            ({"kind": "force"}, "kind"),
            ({"reason": " "}, "reason"),
            ({"reason": "x" * 501}, "reason"),
            ({"persona": "x" * 101}, "persona_id"),
            ({"for_": 0 * HOUR}, "duration"),
            ({"for_": -HOUR}, "duration"),
            ({"for_": 24 * HOUR + timedelta.resolution}, "duration"),
        ],
    )
    def test_what_makes_none_is_refused_with_its_field_and_ends_nothing(self, said: dict[str, Any], field: str) -> None:
        former = begin()

        with pytest.raises(overrides.Impossible) as refused:
            begin(**said)

        assert refused.value.field == field
        assert overrides.active(NOW) == [former]

    def test_a_day_is_the_longest(self) -> None:
        assert begin(for_=24 * HOUR).expires_at == NOW + 24 * HOUR

    @pytest.mark.parametrize("wrong", [{"expires_at": NOW + 25 * HOUR}, {"actor": ""}, {"reason": ""}])
    def test_the_table_itself_refuses_what_nobody_answers_for(self, wrong: dict[str, Any]) -> None:
        override = begin()

        with pytest.raises(IntegrityError), transaction.atomic():
            Override.objects.filter(pk=override.pk).update(**wrong)

    @pytest.mark.django_db(transaction=True)
    def test_two_at_once_leave_one(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def one(number: int) -> None:
            try:
                begin(actor=f"person {number}")
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(16)))

        assert Override.objects.count() == 16
        assert len(overrides.active(NOW)) == 1


class TestEnding:
    def test_it_ends_at_once_and_stays_ended_as_it_was(self) -> None:
        override = begin()

        overrides.end(override.pk, actor="bob", at=NOW + SECOND)
        overrides.end(override.pk, actor="eve", at=NOW + 2 * SECOND)

        override.refresh_from_db()
        assert (override.ended_at, override.ended_by) == (NOW + SECOND, "bob")
        assert overrides.active(NOW + SECOND) == []

    def test_one_that_ran_out_was_not_ended_by_who_comes_later(self) -> None:
        override = overrides.end(begin().pk, actor="bob", at=NOW + 2 * HOUR)

        assert (override.ended_at, override.ended_by) == (NOW + HOUR, "expiry")

    def test_a_clock_that_is_behind_ends_it_no_earlier_than_it_began(self) -> None:
        override = overrides.end(begin().pk, actor="bob", at=NOW - SECOND)

        assert override.ended_at == NOW
        assert alert_of(override).status == "resolved"

    def test_the_sweep_notes_each_that_ran_out_once(self) -> None:
        override, longer = begin(), begin(persona="stoic", for_=2 * HOUR)

        swept = [overrides.sweep(NOW + moment) for moment in (HOUR - SECOND, HOUR, HOUR + SECOND)]

        assert swept == [[], [override], []]
        override.refresh_from_db()
        assert (override.ended_at, override.ended_by) == (NOW + HOUR, "expiry")
        assert overrides.active(NOW + HOUR) == [longer]


class TestAlerts:
    @pytest.mark.parametrize(
        ("kind", "severity", "words"),
        [
            ("force_open", "critical", "nothing is let through for ai_jesus"),
            ("force_closed", "high", "the breaker does not hold ai_jesus back"),
            ("disabled", "high", "the breaker neither holds ai_jesus back nor watches"),
        ],
    )
    def test_people_hear_who_did_what_until_when_and_why(self, kind: str, severity: str, words: str) -> None:
        alert = alert_of(begin(kind))

        assert (alert.rule, alert.persona_id, alert.severity) == ("emergency_override", "ai_jesus", severity)
        assert alert.title == f"Override: {words}"
        assert dict(alert.fact_pairs) | {"by": "ann", "reason": "a loop", "until": "2026-11-24 13:00:00 UTC"} == dict(
            alert.fact_pairs
        )
        assert alert.url.endswith(f"/admin/controls/override/{Override.objects.get().pk}/change/")

    def test_one_for_everybody_is_the_whole_installations(self) -> None:
        alert = alert_of(begin(persona=""))

        assert (alert.persona_id, alert.scope) == ("", {})
        assert alert.title == "Override for everybody: nothing is let through"

    def test_each_end_is_heard_as_severe_as_it_began(self) -> None:
        ended, replaced, run_out = begin(persona="a"), begin(persona="b"), begin(persona="c")

        overrides.end(ended.pk, actor="bob", at=NOW + SECOND)
        begin("disabled", "b", at=NOW + SECOND, for_=2 * HOUR)
        overrides.sweep(NOW + HOUR)

        for override in (ended, replaced, run_out):
            alert = alert_of(override)
            assert (alert.status, alert.severity) == ("resolved", "critical")
            assert alert.title == f"Override for {override.persona_id} is over: the breaker decides again"
        assert list(AlertGroup.objects.open().values_list("persona_id", "severity")) == [("b", "high")]

    def test_an_end_that_is_told_twice_is_heard_once(self) -> None:
        override = begin()
        overrides.end(override.pk, actor="bob", at=NOW + SECOND)
        heard_at = alert_of(override).heard_at

        overrides.end(override.pk, actor="bob", at=NOW + 2 * SECOND)
        overrides.sweep(NOW + HOUR)

        assert alert_of(override).heard_at == heard_at


class TestHolding:
    @pytest.mark.parametrize(
        ("own", "everybodys", "wins"),
        [
            ("force_open", "force_closed", "own"),
            ("force_closed", "force_open", "everybodys"),
            ("disabled", "force_closed", "own"),
            ("force_open", "force_open", "own"),
            (None, "disabled", "everybodys"),
            (None, None, None),
        ],
    )
    def test_a_pause_wins_and_else_the_personas_own(
        self, own: str | None, everybodys: str | None, wins: str | None
    ) -> None:
        found = {"own": begin(own) if own else None, "everybodys": begin(everybodys, "") if everybodys else None}
        begin("force_open", "somebody else")

        assert overrides.holding("ai_jesus", overrides.active(NOW)) == (found[wins] if wins else None)


class TestCommand:
    def test_one_command_pauses_everything_for_an_hour(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("override", "pause", "--all", "--reason", "the bill explodes")

        override = Override.objects.get()
        assert (override.kind, override.persona_id, override.actor) == ("force_open", "", getpass.getuser())
        assert override.expires_at - override.starts_at == HOUR
        said = capsys.readouterr().out
        assert "Paused: nothing is let through for everybody." in said
        assert f"Until {override.expires_at:%Y-%m-%d %H:%M:%S} UTC." in said
        assert "manage.py override end --all" in said

    @pytest.mark.parametrize(
        ("does", "kind", "words"),
        [
            ("pause", "force_open", "Paused: nothing is let through for ai_jesus."),
            ("close", "force_closed", "Closed: the breaker holds ai_jesus back no more, and goes on watching."),
            ("disable", "disabled", "Disabled: the breaker neither holds ai_jesus back nor watches."),
        ],
    )
    def test_each_says_in_words_what_it_did(
        self, capsys: pytest.CaptureFixture[str], does: str, kind: str, words: str
    ) -> None:
        call_command("override", does, "ai_jesus", "--reason", "r", "--for", "30m", "--actor", "ann")

        override = Override.objects.get()
        assert (override.kind, override.actor, override.expires_at - override.starts_at) == (kind, "ann", HOUR / 2)
        said = capsys.readouterr().out
        assert words in said
        assert ("Hard budgets still refuse" in said) == (does != "pause")

    def test_whoever_lets_through_hears_of_a_pause_that_wins(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("override", "pause", "--all", "--reason", "r")
        call_command("override", "close", "ai_jesus", "--reason", "r")

        pause = Override.objects.get(persona_id="")
        assert f"But override {pause.pk} still pauses everybody" in capsys.readouterr().out

    def test_a_replaced_one_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("override", "disable", "ai_jesus", "--reason", "r", "--actor", "ann")
        former = Override.objects.get()

        call_command("override", "pause", "ai_jesus", "--reason", "r")

        assert f"It takes the place of override {former.pk} (disabled, by ann)." in capsys.readouterr().out

    @pytest.mark.parametrize("which", [["ai_jesus"], ["--id", "{}"]])
    def test_one_is_ended_by_its_persona_or_its_number(
        self, which: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        override, other = begin(at=datetime.now(UTC)), begin("disabled", "", at=datetime.now(UTC))

        call_command("override", "end", *(word.format(override.pk) for word in which), "--actor", "bob")

        override.refresh_from_db()
        assert override.ended_by == "bob"
        said = capsys.readouterr().out
        assert "Ended: override" in said
        assert f"Still in force: 1.\n{other.pk}  everybody  disabled  until" in said

    def test_the_list_shows_what_is_in_force(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("override", "list")
        assert capsys.readouterr().out == "No override is in force: the breaker decides.\n"

        override = begin(at=datetime.now(UTC))
        call_command("override", "list")
        assert capsys.readouterr().out == (
            f"{override.pk}  ai_jesus  force_open  until {override.expires_at:%Y-%m-%d %H:%M:%S} UTC  by ann: a loop\n"
        )

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["pause", "--all"], "required: --reason"),
            (["pause", "--reason", "r"], "one of the arguments"),
            (["pause", "", "--reason", "r"], "Say --all for everybody"),
            (["pause", "a", "--all", "--reason", "r"], "not allowed with"),
            (["pause", "a", "--reason", "r", "--for", "soon"], "--for soon is no duration"),
            (["pause", "a", "--reason", "r", "--for", "0m"], "the duration must be above zero"),
            (["pause", "a", "--reason", "r", "--for", "25h"], "at most 24 hours"),
            (["pause", "a", "--reason", " "], "the reason must say"),
            (["end", "a"], "No override for a is in force"),
            (["end", "--all"], "No override for everybody is in force"),
            (["end", "--id", "7"], "No override with the number 7 is in force"),
            (["open", "a"], "invalid choice"),
        ],
    )
    def test_what_cannot_be_done_is_a_sentence_and_nothing_is_done(self, words: list[str], sentence: str) -> None:
        with pytest.raises(CommandError, match=sentence):
            call_command("override", *words)

        assert not Override.objects.exists()
