"""The proof that budgets reserve exactly what their holds say, and what it tells where they do not."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from controls import budgets, holds
from controls.models import BudgetPeriod, Hold
from controls.verify import hold_drifts
from tests.controls.conftest import NOW, ask, make_budget
from tests.costs.conftest import Ledger, usage_event

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
CALL, ZERO = Decimal("0.0075"), Decimal(0)


class TestReservations:
    def test_open_holds_and_pending_ones_are_what_their_budgets_reserve(
        self, ledger: Ledger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_budget(), make_budget(persona_id="ai_jesus", period="monthly")
        released, unpriced, _ = (ask(post_id=name) for name in "abc")
        assert released.hold_id is not None
        holds.release(released.hold_id, at=NOW)
        event = usage_event(hold_id=str(unpriced.hold_id), persona_id="ai_jesus", model="a-new-one", timestamp=NOW)
        ledger.record([event], at=NOW)

        call_command("verify_budgets")

        assert not hold_drifts()
        told = capsys.readouterr().out
        assert "2 budgets, 2 periods compared: the budgets equal the ledger." in told
        assert "1 open and 1 pending holds: the budgets reserve exactly these." in told

    @pytest.mark.parametrize(
        ("column", "more", "says"),
        [
            ("held", "0.000000000001", "holds $0.007500000001 and $0 pending, the holds say $0.0075 and $0"),
            ("held", "-0.0075", "holds $0 and $0 pending, the holds say $0.0075 and $0"),
            ("pending", "0.5", "holds $0.0075 and $0.5 pending, the holds say $0.0075 and $0"),
        ],
    )
    def test_a_period_that_reserves_something_else_is_named(
        self, capsys: pytest.CaptureFixture[str], column: str, more: str, says: str
    ) -> None:
        budget = make_budget(name="first")
        make_budget(name="second")
        ask()
        period = budget.period_at(NOW)
        BudgetPeriod.objects.filter(budget=budget).update(**{column: getattr(period, column) + Decimal(more)})

        with pytest.raises(CommandError, match="or from their holds"):
            call_command("verify_budgets")

        (told,) = capsys.readouterr().err.splitlines()
        assert told == f"budget {budget.pk} (first), period from 2026-11-24 00:00:00 UTC: {says}"

    def test_a_phantom_of_a_hold_that_ended_is_found(self) -> None:
        budget = make_budget()
        ask()

        Hold.objects.update(state="released", closed_at=NOW)

        (drift,) = hold_drifts()
        assert (drift.budget_id, drift.held, drift.open_holds) == (budget.pk, CALL, ZERO)

    def test_a_hold_whose_period_has_no_row_is_found(self) -> None:
        budget = make_budget()
        ask()

        BudgetPeriod.objects.all().delete()

        (drift,) = hold_drifts()
        assert (drift.budget_id, drift.held, drift.open_holds) == (budget.pk, ZERO, CALL)

    def test_holds_of_two_days_and_of_budgets_that_ended_count_where_they_were_let_in(self) -> None:
        budget = make_budget("1", hard=True)
        midnight = NOW.replace(hour=0) + timedelta(days=1)
        ask(at=midnight - SECOND, post_id="before")
        ask(at=midnight + SECOND, post_id="after")
        budgets.end(budget.pk, actor="ann", at=midnight + 2 * SECOND)

        assert not hold_drifts()
        assert [period.held for period in BudgetPeriod.objects.order_by("starts_at")] == [CALL, CALL]
