"""The page of a budget: where its money is, and letting it spend more for a while."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from controls import increases
from controls.models import Budget, BudgetIncrease, BudgetPeriod
from tests.controls.conftest import make_budget
from tests.controls.rows import HOUR, make_hold, now
from tests.controls.test_admin_controls import page
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db


class TestABudgetsMoney:
    def budget(self, limit: str = "10", **sums: str) -> Budget:
        budget = make_budget(limit, at=now(), name="a day", hard=True)
        BudgetPeriod.objects.filter(budget=budget).update(**sums)
        return budget

    def test_its_page_tells_why_nothing_is_left(self, admin_client: Client) -> None:
        budget = self.budget(spent="8", held="1.5", pending="0.5")
        make_hold(budget_ids=[budget.pk])
        make_hold(state="unpriced", pending=Decimal("0.5"), budget_ids=[budget.pk])

        text = read(admin_client.get(page(budget)))
        listed = read(admin_client.get(reverse("admin:controls_budget_changelist")))

        assert "Nothing is left of $10: $8 is spent, $1.5 is held, $0.5 is pending. Decisions refuse" in text
        assert "1 open hold" in text
        assert "1 hold without a final price" in text
        assert "$8 80 % and $2 held hard full with what is held" in listed

    def test_an_increase_is_made_and_taken_back_by_the_person(self, admin_client: Client) -> None:
        budget = self.budget(spent="10")
        said = {"more-amount": "2.5", "more-reason": "a launch", "more-lasts": "period"}

        text = read(admin_client.post(reverse("admin:controls_budget_increase", args=[budget.pk]), said, follow=True))

        made = BudgetIncrease.objects.get()
        assert (made.amount, made.actor, made.reason) == (Decimal("2.5"), "admin", "a launch")
        assert made.expires_at == budget.span_at(now()).end
        assert "It may spend $2.5 more until" in text
        assert "$12.5 $2.5 of it for a while" in text
        path = reverse("admin:controls_budget_increase_end", args=[budget.pk, made.pk])
        assert "taken back by admin" in read(admin_client.post(path, follow=True))
        assert budget.increases.get().ended_by == "admin"

    @pytest.mark.parametrize(
        "said", [{"more-amount": "0"}, {"more-amount": "NaN"}, {"more-reason": ""}, {"more-lasts": "9"}]
    )
    def test_what_makes_no_increase_is_refused(self, admin_client: Client, said: dict[str, str]) -> None:
        budget = self.budget()
        given = {"more-amount": "2.5", "more-reason": "a launch", "more-lasts": "1"} | said

        path = reverse("admin:controls_budget_increase", args=[budget.pk])
        assert "Nothing was done:" in read(admin_client.post(path, given, follow=True))
        assert not BudgetIncrease.objects.exists()

    def test_who_may_not_change_a_budget_increases_none(self) -> None:
        budget, reader = make_budget(at=now()), clerk("view_budget")
        made = increases.make(budget.pk, Decimal(1), reason="x", actor="ann", expires_at=now() + HOUR, at=now())
        said = {"more-amount": "2.5", "more-reason": "a launch", "more-lasts": "1"}

        assert reader.post(reverse("admin:controls_budget_increase", args=[budget.pk]), said).status_code == 403
        path = reverse("admin:controls_budget_increase_end", args=[budget.pk, made.pk])
        assert reader.post(path).status_code == 403
        assert "Take back" not in read(reader.get(page(budget)))
