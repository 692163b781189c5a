"""What a budget has spent is what its lines come to: in any order, zone and company, and at every moment."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controls import budgets, periods
from controls.models import Budget, BudgetPeriod
from controls.spending import LOCK, TAKE
from controls.verify import calendars, drifts
from costs import drain
from costs.events import FUTURE
from costs.models import CostEvent, InboxRow, PriceRate
from costs.reprice import reprice_unpriced
from costs.signals import lines_recorded
from tests.controls.conftest import NOW, make_budget, spent
from tests.costs.conftest import Ledger, amount_event, usage_event

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# When lines are booked: after everything that was used.
BOOKED = datetime(2026, 11, 25, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def added_up(budget: Budget, at: datetime) -> Decimal:
    """The lines of its period at `at`, one by one."""
    span = periods.period_at(at, budget.period, ZoneInfo(budget.timezone))
    lines = CostEvent.objects.filter(timestamp__gte=span.start, timestamp__lt=span.end, **budget.scope)
    return sum((line.cost_amount or Decimal(0) for line in lines), Decimal(0))


def all_drifts(until: datetime = BOOKED) -> list[Any]:
    return [drift for calendar in calendars() for drift in drifts(calendar, at=until)]


def recorded(ledger: Ledger, *amounts: str, **fields: Any) -> None:
    ledger.record([amount_event(amount, **fields) for amount in amounts], at=BOOKED)


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "expected"),
        [
            ({}, "15"),
            ({"persona_id": "a"}, "3"),
            ({"persona_id": "A"}, "0"),
            ({"model": "m"}, "10"),
            ({"cost_type": "cdn"}, "5"),
            ({"persona_id": "a", "model": "m"}, "2"),
            ({"persona_id": "a", "model": "m", "cost_type": "cdn"}, "0"),
            ({"persona_id": "a", "cost_type": "cdn"}, "1"),
        ],
    )
    @pytest.mark.parametrize("is_made_first", [True, False])
    def test_a_budget_counts_the_lines_with_all_of_its_names(
        self, ledger: Ledger, scope: dict[str, Any], expected: str, is_made_first: bool
    ) -> None:
        events = [
            amount_event("1", persona_id="a", cost_type="cdn"),
            amount_event("2", persona_id="a", model="m", cost_type="gpu"),
            amount_event("4", persona_id="b", cost_type="cdn"),
            amount_event("8", model="m", cost_type="gpu"),
        ]
        events = [event | {"timestamp": NOW} for event in events]

        before = make_budget(**scope) if is_made_first else None
        ledger.record(events, at=NOW)
        budget = before or make_budget(**scope)

        assert spent(budget) == Decimal(expected)
        assert not all_drifts()

    def test_a_line_without_a_name_counts_once_where_every_name_counts(self, ledger: Ledger) -> None:
        budget = make_budget()

        recorded(ledger, "1", timestamp=NOW)

        assert spent(budget) == 1

    def test_a_line_without_a_price_counts_when_it_has_one(self, ledger: Ledger) -> None:
        budget = make_budget()
        ledger.record([usage_event(model="house-model", timestamp=NOW)], at=NOW)
        assert spent(budget) == 0

        for bucket in ("input_tokens", "output_tokens"):
            PriceRate.objects.create(
                kind="rate", model="house-model", bucket=bucket, unit_price=1, per=1000, effective_from=NOW - HOUR
            )
        reprice_unpriced(at=NOW + MINUTE)

        assert spent(budget) == Decimal("1.5")
        assert not all_drifts()

    def test_an_adjustment_may_take_money_back(self, ledger: Ledger) -> None:
        budget = make_budget()
        rates = [
            PriceRate.objects.create(
                kind="rate", model="house-model", bucket=bucket, unit_price=1, per=1000, effective_from=NOW - HOUR
            )
            for bucket in ("input_tokens", "output_tokens")
        ]
        ledger.record([usage_event(model="house-model", timestamp=NOW)], at=NOW)
        assert spent(budget) == Decimal("1.5")

        PriceRate.objects.filter(pk=rates[0].pk).update(unit_price=Decimal("0.25"))
        call_command("reprice", "--from", "2026-11-24", "--to", "2026-11-25")

        assert spent(budget) == Decimal("0.75")
        assert not all_drifts()


class TestPeriods:
    @pytest.mark.parametrize(
        ("period", "zone", "last", "first"),
        [
            ("daily", "UTC", "2026-11-24T23:59:59.999999", "2026-11-25T00:00"),
            ("daily", "Europe/Berlin", "2026-10-25T22:59:59.999999", "2026-10-25T23:00"),
            ("daily", "Europe/Berlin", "2026-03-29T21:59:59.999999", "2026-03-29T22:00"),
            ("daily", "America/St_Johns", "2026-03-09T02:29:59.999999", "2026-03-09T02:30"),
            ("daily", "America/St_Johns", "2026-11-02T03:29:59.999999", "2026-11-02T03:30"),
            ("daily", "Asia/Kathmandu", "2026-11-24T18:14:59.999999", "2026-11-24T18:15"),
            ("weekly", "Europe/Berlin", "2026-10-25T22:59:59.999999", "2026-10-25T23:00"),
            ("monthly", "Europe/Berlin", "2026-10-31T22:59:59.999999", "2026-10-31T23:00"),
            ("monthly", "America/St_Johns", "2026-11-01T02:29:59.999999", "2026-11-01T02:30"),
        ],
    )
    @pytest.mark.parametrize("is_made_first", [True, False])
    def test_the_last_moment_belongs_to_the_old_period_and_the_next_one_to_the_new(
        self, ledger: Ledger, period: str, zone: str, last: str, first: str, is_made_first: bool
    ) -> None:
        events = [amount_event("1", timestamp=utc(last)), amount_event("2", timestamp=utc(first))]
        made = make_budget(period=period, timezone=zone, at=utc(last)) if is_made_first else None
        ledger.record(events, at=BOOKED)

        budget = made or make_budget(period=period, timezone=zone, at=utc(last))

        assert spent(budget, utc(last)) == 1
        assert spent(budget, utc(first)) == 2

    def test_a_late_line_counts_in_the_period_that_it_belongs_to(self, ledger: Ledger) -> None:
        budget = make_budget(at=NOW - timedelta(days=2))

        recorded(ledger, "1", timestamp=NOW - timedelta(days=1))

        assert [spent(budget, NOW - timedelta(days=1)), spent(budget)] == [1, 0]
        assert not all_drifts()

    def test_what_was_used_before_the_first_period_does_not_count(self, ledger: Ledger) -> None:
        budget = make_budget()

        recorded(ledger, "1", timestamp=utc("2026-11-23T23:59:59.999999"))
        recorded(ledger, "2", timestamp=utc("2026-11-24T00:00"))

        assert BudgetPeriod.objects.get().spent == spent(budget) == 2
        assert not all_drifts()

    def test_a_budget_that_has_ended_counts_to_the_end_of_its_period(self, ledger: Ledger) -> None:
        budget = budgets.end(make_budget().pk, actor="ann", at=NOW)

        recorded(ledger, "1", timestamp=utc("2026-11-24T23:59:59.999999"))
        recorded(ledger, "2", timestamp=utc("2026-11-25T00:00"))

        assert BudgetPeriod.objects.get().spent == 1
        assert budget.period_at(NOW + timedelta(days=30)).spent == 1
        assert not all_drifts()

    def test_a_line_ahead_of_the_clock_counts_in_the_period_that_comes(self, ledger: Ledger) -> None:
        midnight = utc("2026-11-25")
        ledger.record([amount_event("1", timestamp=midnight + FUTURE / 2)], at=midnight - FUTURE / 2)

        budget = make_budget(at=midnight - MINUTE)

        assert [spent(budget, midnight - MINUTE), spent(budget, midnight)] == [0, 1]

    def test_a_period_without_lines_has_spent_nothing(self, ledger: Ledger) -> None:
        period = make_budget(period="monthly").period_at(NOW)

        assert (period.starts_at, period.ends_at, period.spent) == (utc("2026-11-01"), utc("2026-12-01"), 0)


TIMES = st.one_of(
    st.datetimes(datetime(2026, 10, 23), datetime(2026, 10, 27)),
    st.datetimes(datetime(2026, 10, 31, 20), datetime(2026, 11, 1, 6)),
    st.sampled_from([datetime(2026, 10, 25, 23), datetime(2026, 10, 25, 22, 59, 59, 999999)]),
).map(lambda moment: moment.replace(tzinfo=UTC))
EVENTS = st.fixed_dictionaries(
    {
        "cost_type": st.sampled_from(["cdn", "gpu"]),
        "persona_id": st.sampled_from(["", "a", "b"]),
        "model": st.sampled_from(["", "m", "n"]),
        "amount": st.decimals("0", "999999999", places=12).map(lambda amount: f"{amount:f}"),
        "timestamp": TIMES,
    }
)
BUDGETS = st.fixed_dictionaries(
    {
        "persona_id": st.sampled_from(["", "a", "b"]),
        "model": st.sampled_from(["", "m"]),
        "cost_type": st.sampled_from(["", "cdn"]),
        "period": st.sampled_from(periods.PERIODS),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
        "at": TIMES,
    }
)


@given(
    events=st.lists(EVENTS, max_size=20),
    wanted=st.lists(BUDGETS, min_size=1, max_size=6),
    dice=st.randoms(use_true_random=False),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_order_of_lines_and_budgets_gives_the_sums_of_the_lines(
    ledger: Ledger, events: list[dict[str, Any]], wanted: list[dict[str, Any]], dice: random.Random
) -> None:
    with transaction.atomic():
        steps: list[tuple[str, dict[str, Any]]] = [("book", event) for event in events]
        steps += [("make", fields) for fields in wanted]
        dice.shuffle(steps)

        made, newest = [], utc("2026-10-01")
        for step, fields in steps:
            if step == "book":
                ledger.record([fields], at=NOW)
                newest = max(newest, fields["timestamp"])
            else:
                # Nothing is accepted that lies further ahead.
                made.append(make_budget(**fields | {"at": max(fields["at"], newest - FUTURE)}))

        for budget in made:
            assert spent(budget, budget.created_at) == added_up(budget, budget.created_at)
            for period in budget.periods.all():
                assert period.spent == added_up(budget, period.starts_at)
        assert not all_drifts(until=utc("2026-11-02"))
        transaction.set_rollback(True)


class TestOneTransaction:
    def test_a_batch_that_is_rolled_back_takes_what_was_spent_back(self, ledger: Ledger) -> None:
        budget = make_budget()

        def refuse(**_: Any) -> None:
            assert spent(budget) == 1
            raise RuntimeError("the last receiver fails")

        lines_recorded.connect(refuse)
        try:
            recorded(ledger, "1", timestamp=NOW)
        finally:
            lines_recorded.disconnect(refuse)

        assert CostEvent.objects.count() == spent(budget) == 0
        assert InboxRow.objects.exists()

    @pytest.mark.parametrize(("count", "most"), [(0, 2), (1, 4), (100, 4)])
    def test_a_batch_takes_four_statements_at_most(self, ledger: Ledger, count: int, most: int) -> None:
        for number in range(count):
            make_budget(persona_id=f"p{number % 7}", timezone=["UTC", "Asia/Kathmandu"][number % 2])
        events = [
            amount_event("1", persona_id=f"p{number % 7}", timestamp=NOW - number * MINUTE, model=f"m{number % 5}")
            for number in range(200)
        ]

        with CaptureQueriesContext(connection) as queries:
            ledger.record(events, at=NOW)

        ours = [query["sql"] for query in queries if "controls_" in query["sql"] or str(LOCK) in query["sql"]]
        assert len(ours) == most


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    def test_drains_that_move_the_same_budgets_do_not_deadlock(self) -> None:
        made = [
            make_budget(cost_type=["", "cdn"][number % 2], period=periods.PERIODS[number % 3], at=NOW - 2 * DAY)
            for number in range(60)
        ]
        dice = random.Random(7)

        def book(number: int) -> None:
            # Each of a persona of its own: else the drains would wait for each other at the ledger's counters.
            times = [NOW - dice.randrange(48) * HOUR for _ in range(50)]
            Ledger().accept([amount_event("0.01", persona_id=f"p{number}", timestamp=time) for time in times], at=NOW)
            drain.drain(at=NOW)

        in_threads(8, book, range(40))
        drain.drain(at=NOW)

        assert CostEvent.objects.count() == 40 * 50
        assert [spent(budget) for budget in made] == [added_up(budget, NOW) for budget in made]
        assert not all_drifts()

    def test_budgets_that_are_made_while_lines_come_miss_none_and_count_none_twice(self) -> None:
        done = threading.Event()
        made: list[Budget] = []

        def book(number: int) -> None:
            if number == 0:
                for count in range(30):
                    made.append(make_budget(persona_id=["", "p0", "p1"][count % 3], timezone="Asia/Kathmandu"))
                done.set()
                return
            while not done.is_set():
                events = [amount_event("0.01", persona_id=f"p{place % 3}", timestamp=NOW) for place in range(20)]
                Ledger().accept(events, at=NOW)
                drain.drain(at=NOW)

        in_threads(5, book, range(5))
        drain.drain(at=NOW)

        assert len(made) == 30
        assert CostEvent.objects.exists()
        assert [spent(budget) for budget in made] == [added_up(budget, NOW) for budget in made]
        assert not all_drifts()

    def test_a_line_whose_transaction_is_open_is_waited_for_and_counted(self) -> None:
        """The race by hand: the line is written, not committed, when the budget is made."""
        written, looked = threading.Event(), threading.Event()

        def hold_open(**_: Any) -> None:
            written.set()
            assert looked.wait(10)

        def make(_: int) -> Budget:
            assert written.wait(10)
            threading.Timer(0.3, looked.set).start()
            return make_budget()

        lines_recorded.connect(hold_open)
        try:
            with ThreadPoolExecutor(1) as threads:
                budget = threads.submit(closing(make), 0)
                recorded(Ledger(), "1", timestamp=NOW)
                assert spent(budget.result()) == 1
        finally:
            lines_recorded.disconnect(hold_open)

        assert not all_drifts()

    def test_a_drain_waits_for_a_budget_that_is_being_made_and_then_counts_for_it(self) -> None:
        with ThreadPoolExecutor(1) as threads:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(TAKE, [LOCK])
                Ledger().accept([amount_event("1", timestamp=NOW)], at=NOW)
                budget = make_budget()
            booked = threads.submit(closing(lambda _: drain.drain(at=NOW)), 0)
            assert booked.result() == 1

        assert spent(budget) == 1


class TestVerifying:
    def test_a_period_that_drifted_or_is_missing_is_named(
        self, ledger: Ledger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, second = make_budget(name="first"), make_budget(name="second", timezone="Europe/Berlin")
        make_budget(name="third", persona_id="p")
        recorded(ledger, "1", timestamp=NOW)
        BudgetPeriod.objects.filter(budget=first).update(spent=Decimal("1.000000000001"))
        BudgetPeriod.objects.filter(budget=second).delete()

        with pytest.raises(CommandError, match="differ from the ledger"):
            call_command("verify_budgets")

        told = capsys.readouterr().err.splitlines()
        assert len(told) == 2
        assert "(second), period from 2026-11-23 23:00:00 UTC: spent nothing, the lines say $1" in told[0]
        assert "(first), period from 2026-11-24 00:00:00 UTC: spent $1.000000000001, the lines say $1" in told[1]

    def test_a_row_without_lines_is_a_drift(self, ledger: Ledger) -> None:
        budget = make_budget()
        BudgetPeriod.objects.filter(budget=budget, starts_at=utc("2026-11-24")).update(spent=Decimal("0.5"))

        (drift,) = all_drifts()

        assert (drift.spent, drift.added_up) == (Decimal("0.5"), 0)

    def test_honest_budgets_say_so(self, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
        make_budget(persona_id="p", model="m")
        make_budget()
        recorded(ledger, "1", persona_id="p", model="m", timestamp=NOW)
        recorded(ledger, "1", model="m", timestamp=NOW)

        call_command("verify_budgets")

        assert "2 budgets, 2 periods compared: the budgets equal the ledger." in capsys.readouterr().out


def closing(work: Callable[[int], Any]) -> Callable[[int], Any]:
    def run(number: int) -> Any:
        try:
            return work(number)
        finally:
            connection.close()

    return run


def in_threads(count: int, work: Callable[[int], Any], numbers: Any) -> None:
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(closing(work), numbers))
