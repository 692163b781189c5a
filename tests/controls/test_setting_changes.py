"""Every change of a policy and of a list of model switches stays on record: who set what to what, and when."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from controls import documentation_controls, examples, policy_changes, switch_lists
from controls.models import Policy, SettingChange, Switch
from costs.models import Scope
from tests.controls.conftest import NOW
from tests.controls.test_api_budgets import send
from tests.controls.test_api_controls import refused
from tests.costs.http import Caller
from tests.costs.test_admin import read

pytestmark = pytest.mark.django_db
CHANGES = reverse("admin:controls_settingchange_changelist")


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


def told(**asked: Any) -> list[tuple[str, str, Any]]:
    """Kind, name and whether there is any content, the oldest first."""
    found = SettingChange.objects.filter(**asked).order_by("pk")
    return [(each.kind, each.name, each.content is not None) for each in found]


def targets(content: Any) -> list[str]:
    return [target["target"] for target in content]


def let_stand_in(model: str, *names: str) -> None:
    switch_lists.replace(model, [Switch(target=name) for name in names], actor="ann", at=NOW)


def fields(row: Model, **changed: str) -> dict[str, str]:
    given = {field.name: getattr(row, field.name) for field in row._meta.fields if field.name != "id"}
    texts = {name: str(value) for name, value in given.items() if value is not None and not isinstance(value, bool)}
    return texts | {name: "on" for name, value in given.items() if value is True} | changed


def page(row: Model, action: str = "change") -> str:
    return reverse(f"admin:controls_{row._meta.model_name}_{action}", args=[quote(row.pk)])


class TestPolicies:
    def test_a_change_says_who_when_and_all_that_holds_from_then_on(self) -> None:
        policy_changes.change("ai_jesus", {"high_per_minute": 5}, actor="ann", at=NOW)

        stored = SettingChange.objects.get()
        assert (stored.kind, stored.name, stored.actor, stored.at) == ("policy", "ai_jesus", "ann", NOW)
        assert set(stored.content) == set(policy_changes.FIELDS)
        assert (stored.content["high_per_minute"], stored.content["leave"]) == (5, "0.7")
        assert stored.content["minimum_amount"] == "0.05"

    def test_each_way_to_set_one_leaves_one_row(self) -> None:
        policy_changes.change("", {"stay_seconds": 30}, actor="ann", at=NOW)
        policy_changes.replace("", {}, actor="ann", at=NOW)
        policy_changes.replace("stoic", {}, actor="ann", at=NOW)
        policy_changes.remove("stoic", actor="ann", at=NOW)

        assert told() == [("policy", "", True)] * 2 + [("policy", "stoic", True), ("policy", "stoic", False)]

    def test_what_was_not_there_was_not_removed(self) -> None:
        policy_changes.remove("stoic", actor="ann", at=NOW)
        policy_changes.remove("", actor="ann", at=NOW)

        assert told() == []

    def test_without_its_record_a_change_does_not_happen(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            policy_changes.change("", {"stay_seconds": 30}, actor="", at=NOW)

        assert (Policy.objects.get().stay_seconds, told()) == (60, [])


class TestSwitches:
    def test_a_list_is_recorded_as_a_whole_in_its_order(self) -> None:
        let_stand_in("dear", "b", "a")

        stored = SettingChange.objects.get()
        assert (stored.kind, stored.name, stored.actor) == ("switches", "dear", "ann")
        assert stored.content == [{"target": name, "retired_on": None, "context_tokens": None} for name in ("b", "a")]

    def test_another_spelling_ends_the_former_one(self) -> None:
        let_stand_in("dear", "a")
        let_stand_in("DEAR", "b")
        let_stand_in("dear")

        assert told() == [
            ("switches", "dear", True),
            *(("switches", "DEAR", True), ("switches", "dear", False)),
            ("switches", "DEAR", False),
        ]

    def test_an_empty_list_of_a_model_that_had_none_is_no_change(self) -> None:
        let_stand_in("dear")

        assert told() == []


def test_changes_are_never_changed_and_never_deleted() -> None:
    let_stand_in("dear", "a")

    for change in (
        lambda: SettingChange.objects.update(actor="nobody"),
        lambda: SettingChange.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_a_change_knows_what_it_replaced() -> None:
    for names in (("a",), ("b", "a"), ()):
        let_stand_in("dear", *names)
        let_stand_in("other", "x")

    found = SettingChange.objects.filter(name="dear").with_former().order_by("pk")

    assert [targets(each.former or []) for each in found] == [[], ["a"], ["b", "a"]]  # type: ignore[attr-defined]


class TestOverHttp:
    def test_the_newest_come_first_and_as_documented(self, caller: Caller) -> None:
        send(caller, "patch", "/controls/policies/ai_jesus", {"spike_from": "4.5"})
        send(caller, "put", "/controls/switches/dear", {"targets": [{"target": "cheap"}]})
        caller.call("delete", "/controls/policies/ai_jesus")

        status, body = caller.get("/controls/changes")

        assert status == 200, body
        shown = [(each["kind"], each["name"]) for each in body["changes"]]
        assert shown == [("policy", "ai_jesus"), ("switches", "dear"), ("policy", "ai_jesus")]
        assert [each["content"] is None for each in body["changes"]] == [True, False, False]
        assert body["changes"][2]["content"]["spike_from"] == "4.5"
        assert all(each["actor"].startswith("key ") for each in body["changes"])
        assert set(body["changes"][0]) == set(examples.SETTING_CHANGE)
        assert set(examples.SETTING_CHANGE) == set(documentation_controls.SETTING_CHANGE["properties"])

    def test_they_are_narrowed_and_come_page_by_page(self, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controls.asked.PAGE", 2)
        for number in range(5):
            let_stand_in(f"dear-{number}", "cheap")
            policy_changes.replace("", {}, actor="ann", at=NOW)

        found = [[each["name"] for each in answer] for answer in pages(caller, kind="switches")]

        assert found == [["dear-4", "dear-3"], ["dear-2", "dear-1"], ["dear-0"]]
        assert refused(caller.get("/controls/changes", kind="budgets")) == (422, "kind")
        assert refused(caller.get("/controls/changes", cursor="x")) == (422, "cursor")

    def test_a_bound_key_sees_the_policies_of_its_personas_only(self, db: None) -> None:
        for persona in ("ai_jesus", "stoic", ""):
            policy_changes.replace(persona, {}, actor="ann", at=NOW)
        let_stand_in("ai_jesus", "cheap")

        _, body = Caller.with_key(personas=["ai_jesus"]).get("/controls/changes")

        assert [(each["kind"], each["name"]) for each in body["changes"]] == [("policy", "ai_jesus")]

    def test_who_may_not_read_costs_may_not_read_them(self, db: None) -> None:
        assert Caller.with_key(scopes=[Scope.CONTROLS_WRITE]).get("/controls/changes")[0] == 403


def pages(caller: Caller, **asked: str) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = None
    for _ in range(10):
        _, body = caller.get("/controls/changes", **asked, **({"cursor": cursor} if cursor else {}))
        yield body["changes"]
        cursor = body["cursor"]
        if cursor is None:
            return


class TestInTheAdmin:
    def test_a_policy_that_is_made_changed_and_deleted_there_is_on_record(self, admin_client: Client) -> None:
        admin_client.post(reverse("admin:controls_policy_add"), fields(Policy(), persona_id="ai_jesus"))
        own = Policy.objects.get(persona_id="ai_jesus")
        admin_client.post(page(own), fields(own, high_per_minute="5"))
        admin_client.post(page(own, "delete"), {"post": "yes"})

        assert told(actor="admin") == [("policy", "ai_jesus", True)] * 2 + [("policy", "ai_jesus", False)]
        assert not Policy.objects.filter(persona_id="ai_jesus").exists()

    def test_so_is_a_target_that_moves_to_another_model(self, admin_client: Client) -> None:
        admin_client.post(reverse("admin:controls_switch_add"), fields(Switch(model="dear", target="cheap")))
        target = Switch.objects.get(model="dear")
        admin_client.post(page(target), fields(target, model="dearer"))
        admin_client.post(page(target, "delete"), {"post": "yes"})

        assert told(actor="admin") == [
            ("switches", "dear", True),
            *(("switches", "dear", False), ("switches", "dearer", True)),
            ("switches", "dearer", False),
        ]

    def test_and_what_is_deleted_in_bulk(self, admin_client: Client) -> None:
        let_stand_in("dear", "a", "b")
        let_stand_in("other", "a")
        chosen = [each.pk for each in Switch.objects.filter(target="a")]

        said = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
        admin_client.post(reverse("admin:controls_switch_changelist"), said)

        assert told(actor="admin") == [("switches", "dear", True), ("switches", "other", False)]
        assert targets(SettingChange.objects.get(actor="admin", name="dear").content) == ["b"]

    def test_the_list_says_what_was_changed(self, admin_client: Client) -> None:
        policy_changes.change("", {"high_per_minute": 5, "is_observing": True}, actor="ann", at=NOW)
        policy_changes.change("", {"high_per_minute": 6}, actor="bob", at=NOW + timedelta(seconds=1))
        policy_changes.change("", {}, actor="eve", at=NOW + timedelta(seconds=2))
        let_stand_in("dear", "b", "a")
        let_stand_in("dear")

        text = read(admin_client.get(CHANGES))

        assert "everybody is observing: no to yes, high per minute: 30 to 5 ann" in text
        assert "everybody high per minute: 5 to 6 bob" in text
        assert "everybody set as it was eve" in text
        assert "dear b, then a ann" in text
        assert "dear removed ann" in text

    def test_nobody_edits_adds_or_deletes_one(self, admin_client: Client) -> None:
        let_stand_in("dear", "cheap")
        change = SettingChange.objects.get()

        assert "cheap" in read(admin_client.get(page(change)))
        assert admin_client.post(page(change), {"actor": "nobody"}).status_code == 403
        assert admin_client.post(page(change, "delete"), {"post": "yes"}).status_code == 403
        assert admin_client.get(reverse("admin:controls_settingchange_add")).status_code == 403
