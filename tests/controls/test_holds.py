"""Holds end once: settled by their event, released, expired or written off, and the money always adds up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from controls import holds
from controls.models import Budget, BudgetPeriod, Hold
from costs import drain, reprice
from costs.models import PriceRate
from tests.controls.conftest import NOW, ask, make_budget
from tests.costs.conftest import Ledger, usage_event

pytestmark = pytest.mark.django_db
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CALL = Decimal("0.0075")


def event_of(hold_id: UUID, **fields: Any) -> dict[str, Any]:
    """The event of the call that `ask` asks for, at its estimate unless said otherwise."""
    return usage_event(hold_id=str(hold_id), persona_id="ai_jesus", timestamp=NOW.isoformat()) | fields


def sums(budget: Budget) -> dict[str, Decimal]:
    period = budget.period_at(NOW)
    return {name: value for name in ("spent", "held", "pending", "overrun") if (value := getattr(period, name))}


def hold_of(hold_id: UUID) -> Hold:
    return Hold.objects.get(pk=hold_id)


def let_in(**fields: Any) -> UUID:
    decision = ask(**fields)
    hold_id = decision.hold_id
    assert hold_id is not None, decision.detail
    return hold_id


def price(dollars: str) -> None:
    """Give gpt-99-ultra a price for a million tokens, and have its lines priced."""
    for bucket in ("input_tokens", "output_tokens"):
        PriceRate.objects.create(
            kind="rate",
            provider="openai",
            model="gpt-99-ultra",
            bucket=bucket,
            unit_price=Decimal(dollars),
            per=1_000_000,
            effective_from=NOW - HOUR,
        )
    reprice.reprice(NOW - HOUR, NOW + HOUR, at=NOW)


@pytest.fixture
def budget() -> Budget:
    return make_budget("1", hard=True)


class TestSettling:
    def test_the_event_takes_the_place_of_its_estimate(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id, usage={"input_tokens": 1000, "output_tokens": 100})], at=NOW)

        assert sums(budget) == {"spent": Decimal("0.0035")}
        hold = hold_of(hold_id)
        assert (hold.state, hold.actual, hold.overrun) == ("settled", Decimal("0.0035"), 0)
        assert hold.closed_at is not None

    def test_what_it_comes_to_beyond_the_estimate_is_booked_and_counted_as_overrun(
        self, budget: Budget, ledger: Ledger
    ) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id, usage={"input_tokens": 1000, "output_tokens": 1500})], at=NOW)

        assert sums(budget) == {"spent": Decimal("0.0175"), "overrun": Decimal("0.01")}
        assert hold_of(hold_id).overrun == Decimal("0.01")

    def test_a_replay_changes_nothing(self, budget: Budget, ledger: Ledger) -> None:
        event = event_of(let_in(), event_id="call-1")

        ledger.record([event], at=NOW)
        ledger.record([event, event], at=NOW)

        assert sums(budget) == {"spent": CALL}

    def test_a_second_event_of_one_hold_is_all_overrun(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id), event_of(hold_id)], at=NOW)

        assert sums(budget) == {"spent": 2 * CALL, "overrun": CALL}

    def test_a_budget_that_is_made_later_takes_over_what_came_beyond_the_hold(
        self, budget: Budget, ledger: Ledger
    ) -> None:
        hold_id = let_in()
        ledger.record([event_of(hold_id, model="gpt-99-ultra"), event_of(hold_id)], at=NOW)

        later = make_budget("1")

        assert sums(later)["overrun"] == CALL
        price("5")
        assert sums(later) == sums(budget)

    def test_budgets_that_took_it_over_without_it_are_mended(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()
        ledger.record([event_of(hold_id), event_of(hold_id)], at=NOW)
        BudgetPeriod.objects.filter(budget=budget).update(overrun=0)
        executor = MigrationExecutor(connection)
        executor.migrate([("controls", "0007_setting_changes")])
        executor.loader.build_graph()

        executor.migrate(executor.loader.graph.leaf_nodes())

        assert sums(budget)["overrun"] == CALL

    def test_many_holds_settle_in_one_batch(self, budget: Budget, ledger: Ledger) -> None:
        ids = [let_in(post_id=str(number)) for number in range(5)]
        assert sums(budget) == {"held": 5 * CALL}

        ledger.record([event_of(hold_id) for hold_id in ids[:4]], at=NOW)

        assert sums(budget) == {"spent": 4 * CALL, "held": CALL}

    @pytest.mark.parametrize("foreign", [{"persona_id": "ai_buddha"}, {"hold_id": "no uuid"}])
    def test_a_foreign_or_unknown_hold_is_booked_and_ignored(
        self, budget: Budget, ledger: Ledger, foreign: dict[str, str]
    ) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id) | foreign], at=NOW)

        assert sums(budget) == {"spent": CALL, "held": CALL}
        assert hold_of(hold_id).state == "open"

    def test_another_source_settles_nothing(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id)], source="other", at=NOW)

        assert sums(budget) == {"spent": CALL, "held": CALL}

    def test_a_reported_amount_below_the_computed_one_leaves_the_rest_counted(
        self, budget: Budget, ledger: Ledger
    ) -> None:
        hold_id = let_in()

        ledger.record([event_of(hold_id, amount="0.001")], at=NOW)

        assert sums(budget) == {"spent": Decimal("0.001"), "pending": Decimal("0.0065")}
        assert hold_of(hold_id).actual == CALL

    def test_of_a_switched_call_it_keeps_what_the_asked_model_had_cost(self, budget: Budget, ledger: Ledger) -> None:
        from controls.models import Control

        Control.objects.create(persona_id="ai_jesus", level="switch", since=NOW, expires_at=NOW + HOUR)
        hold_id = let_in()

        ledger.record([event_of(hold_id, model="gpt-4o-mini")], at=NOW)

        hold = hold_of(hold_id)
        assert (hold.actual, hold.asked_actual) == (Decimal("0.00045"), CALL)


class TestLinesThatLandElsewhere:
    def test_a_budget_that_does_not_count_the_line_keeps_what_it_reserved(self, ledger: Ledger) -> None:
        of_the_model, of_all = make_budget("0.03", model="gpt-4o", hard=True), make_budget("100")

        for number in range(6):
            decision = ask(post_id=str(number))
            if decision.hold_id:
                ledger.record([event_of(decision.hold_id, model="gpt-4o-2024-08-06")], at=NOW)

        assert sums(of_the_model) == {"pending": 4 * CALL}
        assert sums(of_all) == {"spent": 4 * CALL}

    def test_an_event_dated_back_into_yesterday_counts_today_as_well(self, ledger: Ledger) -> None:
        budget = make_budget("1", hard=True)
        hold_id = let_in()

        ledger.record([event_of(hold_id, timestamp=(NOW - 13 * HOUR).isoformat())], at=NOW)

        assert sums(budget) == {"pending": CALL}

    def test_over_midnight_the_new_day_counts_it_priced_or_not(self, ledger: Ledger) -> None:
        budget, midnight = make_budget("1", hard=True), NOW.replace(hour=0) + timedelta(days=1)
        before = [let_in(at=midnight - SECOND, model=model) for model in ("gpt-4o", "gpt-99-ultra")]
        after = midnight + SECOND

        events = [event_of(before[0]), event_of(before[1], model="gpt-99-ultra")]
        ledger.record([event | {"timestamp": after.isoformat()} for event in events], at=after)

        old, new = budget.period_at(NOW), budget.period_at(after)
        assert (old.held, old.pending, new.spent) == (0, 0, CALL)
        assert new.pending == hold_of(before[1]).pending > 0


class TestBudgetsMadeMeanwhile:
    def test_a_new_one_counts_the_calls_that_are_under_way(self, ledger: Ledger) -> None:
        ids = [let_in(post_id=str(number)) for number in range(4)]
        let_in(persona_id="ai_buddha")

        budget = make_budget("0.03", persona_id="ai_jesus", hard=True)

        assert sums(budget) == {"held": 4 * CALL}
        assert ask(post_id="one more").hold_id is None
        ledger.record([event_of(hold_id) for hold_id in ids], at=NOW)
        assert sums(budget) == {"spent": 4 * CALL}


class TestUnpricedEvents:
    def test_the_estimate_stays_counted_until_a_price_comes(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in(model="gpt-99-ultra", provider="openai")
        estimate = hold_of(hold_id).amount
        ledger.record([event_of(hold_id, model="gpt-99-ultra")], at=NOW)
        assert sums(budget) == {"pending": estimate}
        assert hold_of(hold_id).state == "unpriced"

        price("2")

        assert sums(budget) == {"spent": Decimal("0.003")}
        assert (hold_of(hold_id).state, hold_of(hold_id).actual) == ("settled", Decimal("0.003"))

    def test_a_first_price_of_nothing_ends_it_too(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in(model="gpt-99-ultra", provider="openai")
        ledger.record([event_of(hold_id, model="gpt-99-ultra")], at=NOW)

        price("0")

        assert sums(budget) == {}
        assert (hold_of(hold_id).state, hold_of(hold_id).actual) == ("settled", 0)

    def test_an_invented_model_counts_by_what_it_used_not_by_what_was_asked_for(
        self, budget: Budget, ledger: Ledger
    ) -> None:
        hold_id = let_in(input_tokens=1, output_tokens=0)

        used = {"input_tokens": 1_000_000}
        ledger.record([event_of(hold_id, model="gpt-99-ultra", usage=used)], at=NOW)

        assert sums(budget)["pending"] > Decimal("1")

    def test_or_until_a_person_writes_it_off(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in(model="gpt-99-ultra", provider="openai")
        ledger.record([event_of(hold_id, model="gpt-99-ultra")], at=NOW)

        written_off = [holds.write_off(hold_id, actor="ann", at=NOW) for _ in range(2)]

        assert [hold.state for hold in written_off] == ["written off"] * 2
        assert sums(budget) == {}


class TestReleasing:
    def test_it_gives_the_money_back_once(self, budget: Budget) -> None:
        hold_id = let_in()

        released = [holds.release(hold_id, at=NOW, by="key worker") for _ in range(2)]

        assert [hold.state for hold in released] == ["released"] * 2
        assert released[0].closed_by == "key worker"
        assert sums(budget) == {}

    def test_not_once_an_event_was_accepted_drained_or_not(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()
        ledger.accept([event_of(hold_id)], at=NOW)

        holds.release(hold_id, at=NOW)
        assert sums(budget) == {"held": CALL}
        drain.drain(at=NOW)
        holds.release(hold_id, at=NOW)

        assert sums(budget) == {"spent": CALL}
        assert hold_of(hold_id).state == "settled"

    @pytest.mark.parametrize("spelled", [str.upper, lambda text: text.replace("-", "")])
    def test_however_the_event_spells_the_id(self, budget: Budget, ledger: Ledger, spelled: Any) -> None:
        hold_id = let_in()
        ledger.accept([event_of(hold_id) | {"hold_id": spelled(str(hold_id))}], at=NOW)

        assert holds.release(hold_id, at=NOW).state == "open"
        assert holds.expire(NOW + HOUR) == 0

    def test_an_event_that_comes_all_the_same_is_booked_as_overrun(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()
        holds.release(hold_id, at=NOW)

        ledger.record([event_of(hold_id)], at=NOW)

        assert sums(budget) == {"spent": CALL, "overrun": CALL}
        assert hold_of(hold_id).state == "released"

    def test_an_unknown_one_raises(self) -> None:
        with pytest.raises(Hold.DoesNotExist):
            holds.release(UUID(int=0), at=NOW)


class TestExtending:
    def test_it_holds_longer_and_never_shorter(self) -> None:
        hold_id = let_in()

        assert holds.extend(hold_id, HOUR, at=NOW).expires_at == NOW + HOUR
        assert holds.extend(hold_id, MINUTE, at=NOW).expires_at == NOW + HOUR

    def test_at_most_for_a_day_in_all(self) -> None:
        hold_id = let_in()

        assert holds.extend(hold_id, 30 * HOUR, at=NOW).expires_at == NOW + 24 * HOUR

    @pytest.mark.parametrize("late", [120 * SECOND, HOUR])
    def test_one_that_is_over_stays_over(self, late: timedelta) -> None:
        hold_id = let_in()

        with pytest.raises(holds.Closed):
            holds.extend(hold_id, HOUR, at=NOW + late)


class TestExpiry:
    def test_what_nobody_came_for_in_time_is_given_back_and_stays_as_evidence(self, budget: Budget) -> None:
        hold_id = let_in()

        assert holds.expire(NOW + 119 * SECOND) == 0
        assert holds.expire(NOW + 120 * SECOND) == 1
        assert holds.expire(NOW + 120 * SECOND) == 0

        assert sums(budget) == {}
        assert (hold_of(hold_id).state, hold_of(hold_id).closed_at) == ("expired", NOW + 120 * SECOND)

    def test_not_while_its_event_waits_to_be_booked(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()
        ledger.accept([event_of(hold_id)], at=NOW)

        assert holds.expire(NOW + HOUR) == 0
        drain.drain(at=NOW + HOUR)

        assert sums(budget) == {"spent": CALL}

    def test_many_that_wait_to_be_booked_do_not_keep_others(self, ledger: Ledger) -> None:
        for number in range(3):
            ledger.accept([event_of(let_in(post_id=str(number)))], at=NOW)
        abandoned = let_in(post_id="abandoned")

        assert holds.expire(NOW + HOUR, most=1) == 1
        assert hold_of(abandoned).state == "expired"

    def test_an_event_that_comes_later_is_booked_as_overrun(self, budget: Budget, ledger: Ledger) -> None:
        hold_id = let_in()
        holds.expire(NOW + HOUR)

        ledger.record([event_of(hold_id)], at=NOW)

        assert sums(budget) == {"spent": CALL, "overrun": CALL}
        assert (hold_of(hold_id).state, hold_of(hold_id).actual) == ("expired", CALL)


class TestForgetting:
    def test_what_ended_as_it_should_goes_after_three_days_and_evidence_after_ninety(self, ledger: Ledger) -> None:
        settled, expired, open_ = let_in(), let_in(), let_in(life=24 * HOUR)
        ledger.record([event_of(settled)], at=NOW)
        holds.expire(NOW + HOUR)

        holds.forget(NOW + 4 * 24 * HOUR)
        assert {hold.pk for hold in Hold.objects.all()} == {expired, open_}
        holds.forget(NOW + 91 * 24 * HOUR)

        assert [hold.pk for hold in Hold.objects.all()] == [open_]


def test_the_sums_can_never_fall_below_zero(budget: Budget) -> None:
    from django.db import IntegrityError, transaction

    let_in()

    with pytest.raises(IntegrityError), transaction.atomic():
        BudgetPeriod.objects.update(held=-1)
