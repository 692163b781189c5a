"""What a budget says and who decided it; how budgets nest; what was spent between two moments."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from controls import budgets
from controls.models import Budget, BudgetPeriod, BudgetRevision, BudgetSample
from tests.controls.conftest import NOW, make_budget
from tests.costs.conftest import Ledger, amount_event

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def book(ledger: Ledger, amount: str, at: datetime, used_at: datetime | None = None, **fields: str) -> None:
    ledger.record([amount_event(amount, timestamp=used_at or at, **fields)], at=at)


class TestRevisions:
    def test_every_change_is_kept_with_its_actor(self) -> None:
        budget = make_budget("100", name="first", actor="ann")
        budgets.revise(budget.pk, {"limit": Decimal(150), "hard": True}, actor="bob", at=NOW + HOUR)
        budgets.end(budget.pk, actor="cy", at=NOW + 2 * HOUR)

        told = [
            (row.number, row.change, row.actor, row.limit, row.hard, row.at)
            for row in budget.revisions.order_by("number")
        ]

        assert told == [
            (1, "made", "ann", 100, False, NOW),
            (2, "revised", "bob", 150, True, NOW + HOUR),
            (3, "ended", "cy", 150, True, NOW + 2 * HOUR),
        ]
        budget.refresh_from_db()
        assert (budget.limit, budget.revision, budget.ended_at) == (150, 3, NOW + 2 * HOUR)

    def test_what_stays_as_it_was_is_no_revision(self) -> None:
        budget = make_budget("100")

        same = budgets.revise(budget.pk, {"limit": Decimal("100.0"), "name": "test"}, actor="bob", at=NOW)

        assert same.revision == budget.revisions.count() == 1

    def test_an_ended_budget_is_not_revised_and_ends_once(self) -> None:
        budget = budgets.end(make_budget().pk, actor="ann", at=NOW)

        with pytest.raises(budgets.Ended):
            budgets.revise(budget.pk, {"limit": Decimal(1)}, actor="bob", at=NOW)
        again = budgets.end(budget.pk, actor="bob", at=NOW + HOUR)

        assert (again.ended_at, again.revision) == (NOW, 2)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE controls_budgetrevision SET actor = 'nobody'",
            "DELETE FROM controls_budgetrevision",
            "TRUNCATE controls_budgetrevision",
        ],
    )
    def test_nobody_rewrites_the_revisions(self, statement: str) -> None:
        make_budget()
        with connection.cursor() as cursor:
            # Else Postgres refuses TRUNCATE because a foreign key is still to be checked.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

        assert BudgetRevision.objects.count() == 1

    @pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "NaN"])
    def test_the_table_takes_no_limit_that_is_none(self, limit: str) -> None:
        make_budget()

        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute('UPDATE controls_budget SET "limit" = %s::numeric', [limit])

    @pytest.mark.parametrize("spent", ["NaN", "10000000000000000000000000"])
    def test_the_table_takes_no_sum_that_is_none(self, spent: str) -> None:
        budget = make_budget()
        BudgetPeriod.objects.create(budget=budget, starts_at=NOW, ends_at=NOW + DAY, spent=Decimal(1))

        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE controls_budgetperiod SET spent = %s::numeric", [spent])


class TestTheRowsOfPeriods:
    def starts(self, budget: Budget) -> list[datetime]:
        return list(
            BudgetPeriod.objects.filter(budget=budget).order_by("starts_at").values_list("starts_at", flat=True)
        )

    def test_a_new_budget_has_that_of_its_current_period(self) -> None:
        budget = make_budget(period="daily")

        assert self.starts(budget) == [budget.span_at(NOW).start]

    def test_the_next_one_has_its_own_before_it_begins(self) -> None:
        budget, ended = make_budget(period="daily"), make_budget(period="daily")
        budgets.end(ended.pk, actor="ann", at=NOW)
        today = budget.span_at(NOW)

        budgets.begin_ahead(today.end - HOUR)
        assert self.starts(budget) == [today.start]
        budgets.begin_ahead(today.end - MINUTE)
        budgets.begin_ahead(today.end)

        assert self.starts(budget) == [today.start, today.end]
        assert self.starts(ended) == [today.start]


class TestNesting:
    def test_budgets_that_enclose_a_line_come_from_the_root_to_the_leaf(self) -> None:
        leaf = make_budget(persona_id="a", model="m", cost_type="t")
        middle = [make_budget(persona_id="a"), make_budget(cost_type="t"), make_budget(persona_id="a", model="m")]
        root = make_budget()
        make_budget(persona_id="b")
        make_budget(persona_id="a", model="n")
        make_budget(cost_type="u")

        found = list(Budget.objects.active().enclosing("a", "m", "t"))

        assert found == [root, *middle, leaf]
        assert list(Budget.objects.enclosing(None, None, "t")) == [root, middle[1]]

    @pytest.mark.parametrize(
        ("inner", "outer", "is_inside"),
        [
            ({}, {}, True),
            ({"persona_id": "a"}, {}, True),
            ({}, {"persona_id": "a"}, False),
            ({"persona_id": "a", "model": "m"}, {"model": "m"}, True),
            ({"persona_id": "a", "model": "m"}, {"model": "n"}, False),
            ({"persona_id": "a"}, {"model": "m"}, False),
        ],
    )
    def test_a_scope_lies_inside_another_that_counts_all_of_its_lines(
        self, inner: dict[str, str], outer: dict[str, str], is_inside: bool
    ) -> None:
        assert Budget(**inner).is_inside(Budget(**outer)) is is_inside


class TestUsages:
    def test_all_active_budgets_are_read_in_one_statement(self, ledger: Ledger) -> None:
        for number in range(5):
            make_budget("10", name=f"n{number}", persona_id="ab"[number % 2], period=["daily", "monthly"][number % 2])
        budgets.end(make_budget().pk, actor="ann", at=NOW)
        book(ledger, "8", NOW, persona_id="a")

        with CaptureQueriesContext(connection) as queries:
            found = budgets.usages(NOW)

        assert len(queries) == 1
        assert [f"{usage.name} {usage.spent:f} {usage.remaining:.0f}" for usage in found][:2] == [
            "n0 8.000000000000 2",
            "n1 0 10",
        ]
        assert (found[0].used_percent, found[0].scope) == (Decimal(80), {"persona_id": "a"})
        assert found[0].warn_levels == (80, 85, 95)

    def test_only_budgets_that_count_the_given_personas_come_when_some_are_given(self) -> None:
        for name, persona in (("all", ""), ("a", "a"), ("b", "b")):
            make_budget(name=name, persona_id=persona)

        assert [usage.name for usage in budgets.usages(NOW, {"a", "c"})] == ["all", "a"]
        assert [usage.name for usage in budgets.usages(NOW, set())] == ["all"]

    @pytest.mark.parametrize(
        ("spent", "limit", "percent"),
        [
            ("8", "10", "80"),
            ("7.999999999999", "10", "79.99"),
            ("400000000.000000000004", "500000000.000000000005", "80"),
            ("400000000.000000000003", "500000000.000000000005", "79.99"),
            ("12.3456", "10", "123.45"),
            ("0", "0.000000000001", "0"),
        ],
    )
    def test_the_percentage_reaches_a_level_exactly_when_the_money_does(
        self, ledger: Ledger, spent: str, limit: str, percent: str
    ) -> None:
        make_budget(limit)
        book(ledger, spent, NOW)

        (usage,) = budgets.usages(NOW)

        expected = Decimal(percent)
        assert usage.used_percent == expected
        assert (usage.used_percent >= 80) == (Decimal(spent) * 100 >= 80 * Decimal(limit))

    def test_a_new_period_has_spent_nothing(self, ledger: Ledger) -> None:
        make_budget()
        book(ledger, "1", NOW)

        assert [usage.spent for usage in budgets.usages(NOW + DAY)] == [0]


class TestSamples:
    def test_what_was_booked_between_two_moments_is_the_difference_of_their_samples(self, ledger: Ledger) -> None:
        budget = make_budget()
        for minute in range(5):
            book(ledger, "1", NOW + minute * MINUTE)
            budgets.sample(NOW + minute * MINUTE + timedelta(seconds=30))

        assert budgets.spent_between([budget.pk], NOW + MINUTE, NOW + 3 * MINUTE) == {budget.pk: 2}

    def test_it_goes_over_the_end_of_a_period(self, ledger: Ledger) -> None:
        budget, midnight = make_budget(), datetime.fromisoformat("2026-11-25T00:00:00Z")
        book(ledger, "1", midnight - 3 * MINUTE)
        budgets.sample(midnight - 2 * MINUTE)
        book(ledger, "2", midnight - MINUTE)
        book(ledger, "4", midnight)
        book(ledger, "8", midnight + MINUTE, used_at=midnight - MINUTE)
        budgets.sample(midnight + MINUTE)

        assert budgets.spent_between([budget.pk], midnight - 2 * MINUTE, midnight + MINUTE) == {budget.pk: 14}

    def test_what_a_budget_had_spent_before_it_was_made_is_not_spent_since(self, ledger: Ledger) -> None:
        book(ledger, "50", NOW - MINUTE)
        budget = make_budget()
        budgets.sample(NOW)
        book(ledger, "1", NOW)
        budgets.sample(NOW + MINUTE)

        assert budgets.spent_between([budget.pk], NOW - HOUR, NOW + MINUTE) == {budget.pk: 1}

    @pytest.mark.parametrize(("age", "expected"), [(2 * MINUTE, 1), (3 * MINUTE, 0)])
    def test_a_sample_that_is_too_old_does_not_stand_for_a_moment(
        self, ledger: Ledger, age: timedelta, expected: int
    ) -> None:
        budget = make_budget()
        budgets.sample(NOW - age)
        book(ledger, "1", NOW - MINUTE)
        budgets.sample(NOW + MINUTE)

        assert budgets.spent_between([budget.pk], NOW, NOW + MINUTE) == {budget.pk: expected}

    def test_without_samples_nothing_is_said(self) -> None:
        assert budgets.spent_between([make_budget().pk, 12345], NOW - HOUR, NOW) == {}
        assert budgets.spent_between([], NOW - HOUR, NOW) == {}

    def test_a_minute_is_sampled_once_and_kept_for_three_days(self, ledger: Ledger) -> None:
        make_budget()
        budgets.end(make_budget().pk, actor="ann", at=NOW)
        budgets.sample(NOW)
        book(ledger, "1", NOW)
        budgets.sample(NOW + timedelta(seconds=59))
        assert [(sample.at, sample.spent) for sample in BudgetSample.objects.all()] == [(NOW, 0)]

        budgets.sample(NOW + 3 * DAY)
        assert BudgetSample.objects.count() == 2
        budgets.sample(NOW + 3 * DAY + MINUTE)
        assert BudgetSample.objects.filter(at=NOW).count() == 0
