"""The breaker in the admin: where everybody stands, who overruled it, and what decisions left behind."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from controls import overrides
from controls.addresses import address_of, persona_at
from controls.models import Hold, Override, Policy, Switch
from tests.controls.conftest import make_budget
from tests.controls.rows import HOUR, make_control, make_hold, make_refusal, make_transition, now
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
LIST = reverse("admin:controls_control_changelist")
EVERYTHING = reverse("admin:controls_control_pause_everything")
OVERRIDES = reverse("admin:controls_override_changelist")
WORD = {"reason": "a loop", "lasts": "60"}


def begin(kind: str = "force_open", persona: str = "ai_jesus") -> Override:
    return overrides.begin(kind, persona, reason="a loop", actor="ann", for_=HOUR, at=now())


def page(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def of(persona: str) -> str:
    return reverse("admin:controls_control_change", args=[address_of(persona)])


def overrule(client: Client, persona: str = "ai_jesus", **said: str) -> Any:
    path = reverse("admin:controls_control_overrule", args=[address_of(persona)])
    return client.post(path, WORD | {"kind": "force_open"} | said, follow=True)


class TestTheList:
    @pytest.mark.parametrize(
        ("level", "fields", "words"),
        [
            ("throttle", {}, "throttled 30 a minute"),
            ("switch", {"per_minute": None}, "cheaper models any"),
            ("half_open", {}, "on trial 30 a minute"),
            ("pause", {"per_minute": 10}, "paused none"),
            ("throttle", {"is_observing": True}, "let through, observed any"),
        ],
    )
    def test_it_says_where_everybody_stands_and_why(
        self, admin_client: Client, level: str, fields: dict[str, Any], words: str
    ) -> None:
        make_control("ai_jesus", level, **fields)

        text = read(admin_client.get(LIST))

        assert f"ai_jesus {words} 3.9 times its baseline." in text

    def test_who_is_held_back_comes_first_and_all_when_asked(self, admin_client: Client) -> None:
        make_control("held")
        make_control("calm", "closed")
        make_control("over", since=now() - 2 * HOUR, expires_at=now() - HOUR)

        def names(**asked: str) -> list[str]:
            response = admin_client.get(LIST, asked)
            read(response)
            return [control.pk for control in response.context["cl"].result_list]

        assert names() == ["held"]
        assert names(state="all") == ["calm", "held", "over"]

    def test_every_override_in_force_stands_above_it(self, admin_client: Client) -> None:
        make_control()
        begin("disabled", "")
        begin("force_open", "stoic")

        text = read(admin_client.get(LIST))

        assert "not watched Everybody until" in text
        assert "paused stoic until" in text
        assert "everybody, by ann" in text


class TestPausing:
    def test_everything_is_paused_with_a_reason_and_an_end(self, admin_client: Client) -> None:
        assert "Every call of every persona" in read(admin_client.get(EVERYTHING))

        text = read(admin_client.post(EVERYTHING, WORD, follow=True))

        override = Override.objects.get()
        assert (override.kind, override.persona_id, override.actor) == ("force_open", "", "admin")
        assert (override.reason, override.expires_at - override.starts_at) == ("a loop", HOUR)
        assert "In force for everybody until" in text

    @pytest.mark.parametrize("said", [{"reason": ""}, {"reason": " "}, {"reason": "x" * 501}, {"lasts": "1441"}])
    def test_without_a_word_that_can_be_kept_nothing_is_paused(
        self, admin_client: Client, said: dict[str, str]
    ) -> None:
        response = admin_client.post(EVERYTHING, WORD | said)

        assert 'class="finops-error"' in response.content.decode()
        assert not Override.objects.exists()

    def test_chosen_personas_are_paused_after_a_confirmation(self, admin_client: Client) -> None:
        names = ["ai_jesus", "stoic & co/1"]
        for persona in names:
            make_control(persona)

        fields = {"action": "pause", "_selected_action": names, "index": "0"}
        asked = admin_client.post(LIST, fields)
        text = read(admin_client.get(asked.headers["Location"]))
        read(admin_client.post(asked.headers["Location"], WORD, follow=True))

        assert "Every call of ai_jesus, stoic & co/1 is refused" in text
        assert list(Override.objects.order_by("persona_id").values_list("persona_id", flat=True)) == names
        assert admin_client.get(reverse("admin:controls_control_pause")).status_code == 404


class TestAPersona:
    def test_its_page_tells_why_and_what_happened(self, admin_client: Client) -> None:
        make_control("a/b _c", "switch")
        make_transition("a/b _c", 1)
        make_transition("a/b _c", 2, from_level="throttle", to_level="switch", reason="It did not help.")

        text = read(admin_client.get(of("a/b _c")))

        assert "Now cheaper models since" in text
        assert "throttled to cheaper models high 30 It did not help. engine" in text
        assert text.index("It did not help.") < text.rindex("3.9 times its baseline.")

    @pytest.mark.parametrize("name", [".", "..", "...", "_2E", "_2E_2E", "a/../b", "%2e%2e", "a.b"])
    def test_its_page_is_where_the_list_leads_whatever_its_name(self, admin_client: Client, name: str) -> None:
        make_control(name)

        address = address_of(name)
        answer = admin_client.get(LIST)

        assert persona_at(address) == name
        assert address not in (".", "..")
        assert f'href="{of(name)}"' in answer.content.decode()
        assert f"Breaker of {name}" in read(admin_client.get(of(name)))
        overrule(admin_client, name, kind="force_open")
        assert Override.objects.get().persona_id == name

    def test_one_that_the_breaker_never_touched_can_be_overruled_too(self, admin_client: Client) -> None:
        assert "the breaker never acted on it" in read(admin_client.get(of("new")))

        text = read(overrule(admin_client, "new", kind="force_closed", lasts="15"))

        override = Override.objects.get()
        assert (override.persona_id, override.kind, override.actor) == ("new", "force_closed", "admin")
        assert override.expires_at - override.starts_at == timedelta(minutes=15)
        assert "Force closed: everything is let through, for new, until" in text

    def test_an_override_is_ended_from_it(self, admin_client: Client) -> None:
        override = begin()
        assert "End this override" in read(admin_client.get(of("ai_jesus")))

        fields = {"action": "end", "_selected_action": str(override.pk), "index": "0"}
        text = read(admin_client.post(OVERRIDES, fields, follow=True))

        override.refresh_from_db()
        assert override.ended_by == "admin"
        assert "Ended: force_open of ai_jesus." in text

    def test_a_word_without_a_reason_is_refused_with_a_sentence(self, admin_client: Client) -> None:
        assert "Nothing was done: reason: This field is required." in read(overrule(admin_client, reason=""))
        assert overrule(admin_client, kind="open").status_code == 404
        assert not Override.objects.exists()

    @pytest.mark.parametrize("name", ["x" * 101, "\0"])
    def test_there_is_no_page_of_what_cannot_be_a_persona(self, admin_client: Client, name: str) -> None:
        assert admin_client.get(of(name)).status_code == 404


class TestOverrides:
    def add(self, client: Client, **fields: str) -> Any:
        given = WORD | {"kind": "force_open", "persona_id": "ai_jesus"} | fields
        return client.post(reverse("admin:controls_override_add"), given, follow=True)

    def test_one_is_made_by_the_person_in_place_of_the_former(self, admin_client: Client) -> None:
        former = begin("disabled")

        read(self.add(admin_client))

        former.refresh_from_db()
        new = Override.objects.latest("pk")
        assert (former.ended_by, new.actor, new.kind) == ("admin", "admin", "force_open")
        assert new.expires_at - new.starts_at == HOUR

    def test_everybody_must_be_ticked(self, admin_client: Client) -> None:
        assert "Name one persona, or tick everybody." in read(self.add(admin_client, persona_id=""))
        assert "Name one persona, or tick everybody." in read(self.add(admin_client, is_everybody="on"))
        assert not Override.objects.exists()

        read(self.add(admin_client, persona_id="", is_everybody="on"))

        assert Override.objects.get().persona_id == ""

    @pytest.mark.parametrize(("state", "expected"), [("", "12"), ("over", "0"), ("all", "012")])
    def test_those_in_force_come_unless_others_are_asked_for(
        self, admin_client: Client, state: str, expected: str
    ) -> None:
        made = [begin().pk, begin().pk, begin("disabled", "").pk]

        response = admin_client.get(OVERRIDES, {"state": state} if state else {})

        found = sorted(made.index(each.pk) for each in response.context["cl"].result_list)
        assert "".join(map(str, found)) == expected
        read(response)

    def test_nobody_edits_or_deletes_one(self, admin_client: Client) -> None:
        override = begin()

        assert admin_client.post(page(override), WORD | {"kind": "disabled"}).status_code == 403
        assert admin_client.post(reverse("admin:controls_override_delete", args=[override.pk])).status_code == 403
        assert "paused a loop ann" in read(admin_client.get(OVERRIDES))


class TestPolicies:
    def fields(self, policy: Policy, **changed: str) -> dict[str, str]:
        given = {field.name: getattr(policy, field.name) for field in Policy._meta.fields if field.name != "id"}
        texts = {name: str(value) for name, value in given.items() if not isinstance(value, bool)}
        return texts | {name: "on" for name, value in given.items() if value is True} | changed

    def test_everybodys_is_changed_and_stays(self, admin_client: Client) -> None:
        policy = Policy.objects.get()

        read(admin_client.post(page(policy), self.fields(policy, spike_from="4.5", is_observing="on"), follow=True))

        policy.refresh_from_db()
        assert (policy.spike_from, policy.is_observing, policy.persona_id) == (Decimal("4.5"), True, "")
        assert admin_client.post(reverse("admin:controls_policy_delete", args=[policy.pk])).status_code == 403

    def test_a_persona_gets_its_own_and_loses_it(self, admin_client: Client) -> None:
        fields = self.fields(Policy(), persona_id="ai_jesus", high_per_minute="5")
        read(admin_client.post(reverse("admin:controls_policy_add"), fields, follow=True))

        own = Policy.objects.get(persona_id="ai_jesus")
        text = read(admin_client.get(reverse("admin:controls_policy_changelist")))

        assert "ai_jesus acts throttle, switch models, pause, alert" in text
        assert "50, 5, 10" in text
        read(admin_client.post(reverse("admin:controls_policy_delete", args=[own.pk]), {"post": "yes"}, follow=True))
        assert Policy.objects.get().persona_id == ""

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("spike_from", "1", "must be above 1"),
            ("roi_from", "0", "must be above -10,000 and below 0"),
            ("leave", "1", "must be above 0 and below 1"),
            ("minimum_amount", "-1", "must be at least 0"),
            ("stay_seconds", "0", "must be a whole number from 1"),
            ("stay_seconds", "40000000", "must be a whole number from 1"),
            ("high_per_minute", "0", "must be a whole number from 1"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_a_sentence(
        self, admin_client: Client, name: str, value: str, sentence: str
    ) -> None:
        policy = Policy.objects.get()

        text = read(admin_client.post(page(policy), self.fields(policy, **{name: value}), follow=True))

        assert sentence in text


class TestSwitches:
    def test_a_target_is_added_and_told_when_it_is_gone(self, admin_client: Client) -> None:
        fields = {"model": "dear", "target": "cheap", "position": "1", "retired_on": "2020-01-01"}

        read(admin_client.post(reverse("admin:controls_switch_add"), fields, follow=True))

        text = read(admin_client.get(reverse("admin:controls_switch_changelist"), {"q": "dear"}))
        assert "dear 1 cheap 2020-01-01 as the price list has it retired" in text

    def test_a_model_never_stands_in_for_itself(self, admin_client: Client) -> None:
        fields = {"model": "dear", "target": "dear", "position": "1"}

        read(admin_client.post(reverse("admin:controls_switch_add"), fields, follow=True))

        assert not Switch.objects.filter(model="dear").exists()


class TestHolds:
    LIST = reverse("admin:controls_hold_changelist")

    def test_open_ones_come_and_others_when_asked(self, admin_client: Client) -> None:
        budget = make_budget(at=now())
        make_hold(budget_ids=[budget.pk])
        make_hold("other", "unpriced", pending=Decimal("0.5"), budget_ids=[budget.pk])
        make_hold("third", "settled", actual=Decimal("0.0003"))

        def personas(**asked: str) -> list[str]:
            response = admin_client.get(self.LIST, asked)
            read(response)
            return sorted(hold.persona_id for hold in response.context["cl"].result_list)

        assert personas() == ["ai_jesus"]
        assert personas(state="pending") == personas(state="unpriced") == ["other"]
        assert personas(state="all") == ["ai_jesus", "other", "third"]
        assert personas(state="all", budget=str(budget.pk)) == ["ai_jesus", "other"]
        assert personas(state="all", q="third") == ["third"]

    def test_its_page_shows_the_call_and_the_money(self, admin_client: Client) -> None:
        budget = make_budget(name="a month", at=now())
        hold = make_hold(
            state="settled", actual=Decimal("0.0003"), asked_actual=Decimal("0.005"), budget_ids=[budget.pk, 999]
        )

        text = read(admin_client.get(page(hold)))

        assert "gpt-4o-mini instead of gpt-4o" in text
        assert "1,000 in, up to 500 out" in text
        assert "$0.0047" in text
        assert "a month" in text

    def test_an_open_one_is_released_by_the_person(self, admin_client: Client) -> None:
        hold, settled = make_hold(), make_hold(state="settled")
        assert "$0.00045 are held for this call until its event comes" in read(admin_client.get(page(hold)))
        fields = {"action": "release", "_selected_action": [str(hold.pk), str(settled.pk)], "index": "0"}

        text = read(admin_client.post(f"{self.LIST}?state=all", fields, follow=True))
        again = read(admin_client.post(f"{self.LIST}?state=all", fields, follow=True))

        hold.refresh_from_db()
        settled.refresh_from_db()
        assert (hold.state, hold.closed_by, settled.state) == ("released", "admin", "settled")
        assert "1 released" in text
        assert "Nothing to release" in again

    def test_what_is_pending_is_written_off_by_the_person(self, admin_client: Client) -> None:
        hold, settled = make_hold(state="unpriced", pending=Decimal("0.5")), make_hold(state="settled")
        assert "$0.5 of this hold still count" in read(admin_client.get(page(hold)))
        fields = {"action": "write_off", "_selected_action": [str(hold.pk), str(settled.pk)], "index": "0"}

        text = read(admin_client.post(f"{self.LIST}?state=all", fields, follow=True))
        again = read(admin_client.post(f"{self.LIST}?state=all", fields, follow=True))

        hold.refresh_from_db()
        assert (hold.state, hold.pending, hold.closed_by) == ("written off", 0, "admin")
        assert "1 written off" in text
        assert "Nothing to write off" in again

    def test_refusals_say_what_became_of_them(self, admin_client: Client) -> None:
        budget = make_budget(name="a month", at=now())
        denied = make_refusal(decision="deny", reason="hard_budget", budget_id=budget.pk, attempts=3)

        listed = read(admin_client.get(reverse("admin:controls_refusal_changelist")))
        shown = read(admin_client.get(page(denied)))

        assert "gpt-4o deny hard budget $0.0075 3 never" in listed
        assert "a month" in shown

    def test_transitions_are_listed_and_shown(self, admin_client: Client) -> None:
        step = make_transition(is_observing=True)

        listed = read(admin_client.get(reverse("admin:controls_controltransition_changelist")))

        assert "ai_jesus let through to throttled only observed high 30 a minute" in listed
        assert "multiplier" in read(admin_client.get(page(step)))


class TestKeysThatAreNone:
    @pytest.mark.parametrize("key", ["1", "no-uuid", "", "\0", "\uff19" * 5000])
    def test_holds_are_not_chosen_by_them(self, admin_client: Client, key: str) -> None:
        hold = make_hold()
        fields = {"action": "release", "_selected_action": [key, str(hold.pk)], "index": "0"}

        read(admin_client.post(TestHolds.LIST, fields, follow=True))

        assert Hold.objects.get().state == "released"

    @pytest.mark.parametrize("key", ["x", "", "1.5", "\0", "9" * 30, "9" * 5000])
    def test_overrides_are_not_chosen_by_them(self, admin_client: Client, key: str) -> None:
        override = begin()

        read(admin_client.post(OVERRIDES, {"action": "end", "_selected_action": [key], "index": "0"}, follow=True))
        assert Override.objects.get().ended_at is None
        fields = {"action": "end", "_selected_action": [key, str(override.pk)], "index": "0"}
        read(admin_client.post(OVERRIDES, fields, follow=True))

        assert Override.objects.get().ended_at is not None

    def test_personas_are_not_chosen_by_them(self, admin_client: Client) -> None:
        make_control()
        fields = {"action": "pause", "_selected_action": ["\0", "x" * 5000, "ai_jesus"], "index": "0"}

        asked = admin_client.post(LIST, fields)

        assert "Every call of ai_jesus is refused" in read(admin_client.get(asked.headers["Location"]))


class TestWhoMay:
    def test_who_may_only_look_overrules_nothing(self) -> None:
        make_control()
        override, hold, waiting = begin(), make_hold(state="unpriced", pending=Decimal(1)), make_hold()
        reader = clerk("view_control", "view_override", "view_hold", "view_policy", "view_switch", "view_budget")

        texts = [read(reader.get(path)) for path in (LIST, of("ai_jesus"), OVERRIDES, page(override))]

        assert not any("Pause everything…" in text or "Overrule the breaker" in text for text in texts)
        assert not any("End now" in text or "End this override" in text for text in texts)
        assert "Write off" not in read(reader.get(page(hold)))
        assert 'value="release"' not in reader.get(page(waiting)).content.decode()
        assert reader.get(EVERYTHING).status_code == reader.post(EVERYTHING, WORD).status_code == 403
        assert overrule(reader).status_code == 403
        fields = {"action": "end", "_selected_action": str(override.pk), "index": "0"}
        reader.post(OVERRIDES, fields)
        reader.post(
            TestHolds.LIST + "?state=all",
            {"action": "write_off", "_selected_action": str(hold.pk), "index": "0"},
        )
        reader.post(TestHolds.LIST, {"action": "release", "_selected_action": str(waiting.pk), "index": "0"})
        assert Override.objects.get().ended_at is None
        assert Hold.objects.get(pk=hold.pk).pending == 1
        assert Hold.objects.get(pk=waiting.pk).state == "open"

    def test_a_stranger_sees_nothing(self) -> None:
        stranger = clerk()

        for path in (LIST, of("ai_jesus"), OVERRIDES, TestHolds.LIST):
            assert stranger.get(path).status_code == 403
