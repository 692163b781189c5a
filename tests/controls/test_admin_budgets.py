"""Budgets in the admin: what is used, what may be changed, and by whom it was."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from controls import budgets
from controls.models import Budget
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, amount_event
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
LIST = reverse("admin:controls_budget_changelist")
FIELDS = {
    "name": "a month",
    "persona_id": "stoic",
    "model": "",
    "cost_type": "",
    "period": "monthly",
    "timezone": "Europe/Berlin",
    "limit": "300.5",
    "hard": "on",
    "warn_levels": "70,90",
}


def now() -> datetime:
    return datetime.now(UTC)


def page(budget: Budget) -> str:
    return reverse("admin:controls_budget_change", args=[budget.pk])


def add(client: Client, **fields: str) -> Any:
    return client.post(reverse("admin:controls_budget_add"), FIELDS | fields, follow=True)


class TestReading:
    @pytest.mark.parametrize(
        ("spent", "words"),
        [
            ("7.99", "$7.99 79.9 % soft within"),
            ("8", "$8 80 % soft 80 % reached"),
            ("9.5", "$9.5 95 % soft 95 % reached"),
            ("10", "$10 100 % soft 95 % reached"),
            ("10.000000000001", "$10.000000000001 100 % soft overspent"),
        ],
    )
    def test_the_list_says_how_much_is_used(self, admin_client: Client, ledger: Ledger, spent: str, words: str) -> None:
        make_budget("10", at=now(), persona_id="stoic", model="gpt-4o")
        ledger.record([amount_event(spent, persona_id="stoic", model="gpt-4o")])

        text = read(admin_client.get(LIST))

        assert f"persona stoic, model gpt-4o $10 a day {words}" in text

    @pytest.mark.parametrize(("state", "names"), [("", ["live"]), ("ended", ["gone"]), ("all", ["live", "gone"])])
    def test_ended_budgets_are_listed_when_asked_for(self, admin_client: Client, state: str, names: list[str]) -> None:
        make_budget(name="live", at=now())
        budgets.end(make_budget(name="gone", at=now()).pk, actor="ann", at=now())

        response = admin_client.get(LIST, {"state": state} if state else {})

        assert [budget.name for budget in response.context["cl"].result_list] == names
        read(response)

    def test_a_page_shows_every_period_and_every_revision(self, admin_client: Client, ledger: Ledger) -> None:
        budget = make_budget("10", at=now())
        ledger.record([amount_event("2.5")])
        budgets.revise(budget.pk, {"limit": Decimal(20)}, actor="bob", at=now())

        text = read(admin_client.get(page(budget)))

        assert "$2.5 12.5 %" in text
        assert "1 made" in text
        assert "2 revised" in text
        assert "bob" in text

    def test_periods_in_which_nothing_was_spent_are_not_shown(self, admin_client: Client) -> None:
        budget = make_budget("10", at=now())
        budgets.begin_ahead(budget.span_at(now()).end)

        assert "Nothing was spent yet." in read(admin_client.get(page(budget)))


class TestChanging:
    def test_a_budget_is_made_by_the_person(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("4", persona_id="stoic")])

        read(add(admin_client))

        budget = Budget.objects.get()
        revision = budget.revisions.get()
        assert (budget.limit, budget.hard, budget.warn_levels) == (Decimal("300.5"), True, [70, 90])
        assert (revision.actor, revision.change) == ("admin", "made")
        assert budget.period_at(now()).spent == 4

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"limit": "0"}, "must be above $0"),
            ({"limit": "-1"}, "must be above $0"),
            ({"limit": "NaN"}, "Enter a number"),
            ({"limit": "1e12"}, "no more than"),
            ({"warn_levels": "90,80"}, "must ascend"),
            ({"warn_levels": "101"}, "less than or equal to 100"),
            ({"warn_levels": "0"}, "greater than or equal to 1"),
            ({"warn_levels": "1,2,3,4"}, "no more than 3"),
            ({"warn_levels": ""}, "required"),
            ({"timezone": "Mars"}, "must be an IANA name"),
            ({"period": "yearly"}, "valid choice"),
            ({"name": ""}, "required"),
        ],
    )
    def test_what_makes_no_budget_is_refused_with_a_sentence(
        self, admin_client: Client, fields: dict[str, str], sentence: str
    ) -> None:
        assert sentence in read(add(admin_client, **fields))
        assert not Budget.objects.exists()

    def test_a_change_is_a_revision_and_its_scope_cannot_be_posted(self, admin_client: Client) -> None:
        budget = make_budget("10", at=now(), persona_id="stoic")

        read(admin_client.post(page(budget), FIELDS | {"persona_id": "b", "name": "new"}, follow=True))

        budget.refresh_from_db()
        assert (budget.name, budget.persona_id, budget.period, budget.timezone) == ("new", "stoic", "daily", "UTC")
        assert (budget.limit, budget.revision) == (Decimal("300.5"), 2)
        assert budget.revisions.get(number=2).actor == "admin"

    def test_an_ended_budget_can_be_read_and_no_longer_changed(self, admin_client: Client) -> None:
        budget = make_budget("10", at=now())
        fields = {"action": "end", "_selected_action": str(budget.pk), "index": "0"}
        assert "Ended: test." in read(admin_client.post(LIST, fields, follow=True))

        text = read(admin_client.get(page(budget)))
        refused = admin_client.post(page(budget), FIELDS)

        budget.refresh_from_db()
        assert "has ended" in text
        assert (refused.status_code, budget.limit, budget.revision) == (403, 10, 2)
        again = admin_client.post(f"{LIST}?state=all", fields, follow=True)
        assert "Nothing to end" in read(again)

    def test_one_too_many_is_refused_in_a_sentence(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budgets, "MOST_BUDGETS", 1)
        make_budget(at=now(), persona_id=FIELDS["persona_id"])

        text = read(add(admin_client))

        assert f"There are 1 active budgets of {FIELDS['persona_id']} already: end one first." in text
        assert Budget.objects.count() == 1

    def test_nobody_deletes_a_budget(self, admin_client: Client) -> None:
        budget = make_budget(at=now())

        assert admin_client.post(reverse("admin:controls_budget_delete", args=[budget.pk])).status_code == 403

    def test_who_may_only_look_changes_nothing(self, ledger: Ledger) -> None:
        budget, reader = make_budget(at=now()), clerk("view_budget")

        assert reader.get(page(budget)).status_code == 200
        assert reader.post(page(budget), FIELDS).status_code == 403
        assert add(reader).status_code == 403
