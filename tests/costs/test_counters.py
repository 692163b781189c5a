"""The sums beside the ledger equal its lines, whatever comes in which order."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from costs.models import CostEvent, DailyCost, DailyPersona, HourlyCost, HourlyOperation, HourlyPersona, PostCost
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

names = st.sampled_from([None, "", "a", "b"])
events = st.builds(
    amount_event,
    amount=st.decimals(0, 1000, places=12).map(str),
    event_id=st.sampled_from([f"id-{number}" for number in range(20)]),
    post_id=names,
    persona_id=names,
    operation=names,
    provider=names,
    model=names,
    cost_type=st.sampled_from(["cdn", "openai_api"]),
    timestamp=st.integers(-3000, 9).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)


class TestAnyOrder(TestCase):
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(events, max_size=30), st.randoms(use_true_random=False))
    def test_every_order_with_every_repeat_gives_the_same_sums(
        self, sent: list[dict[str, Any]], dice: random.Random
    ) -> None:
        first = list({event["event_id"]: event for event in reversed(sent)}.values())
        shuffled = first * 2
        dice.shuffle(shuffled)

        for start in range(0, len(shuffled), 7):
            Ledger().record(shuffled[start : start + 7], at=NOW)

        expected = sum((Decimal(event["amount"]) for event in first), Decimal(0))
        assert CostEvent.objects.total() == expected
        assert sum((row.amount for row in DailyCost.objects.all()), Decimal(0)) == expected
        assert not verify().drifts


class TestKeys:
    def test_hours_and_days_are_those_of_utc(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", timestamp="2026-11-24T00:30:00+01:00")], at=NOW)

        assert HourlyCost.objects.get().hour == datetime(2026, 11, 23, 23, tzinfo=UTC)
        assert str(DailyCost.objects.get().day) == "2026-11-23"

    def test_the_newest_moment_of_a_post_never_goes_back(self, ledger: Ledger) -> None:
        for minutes in (2, 1, 3):
            moment = NOW - timedelta(minutes=minutes)
            ledger.record([amount_event("1", post_id="p", timestamp=moment)], at=NOW)

        assert PostCost.objects.get().last_at == NOW - timedelta(minutes=1)

    def test_more_than_a_thousand_operations_of_a_persona_count_as_other(self, ledger: Ledger) -> None:
        many = [amount_event("1", persona_id="p", operation=f"op-{number}", timestamp=NOW) for number in range(1000)]
        ledger.record(many, at=NOW)
        late = [amount_event("1", persona_id=persona, operation="late", timestamp=NOW) for persona in ("p", "q")]
        ledger.record([*late, amount_event("1", persona_id="p", operation="op-7", timestamp=NOW)], at=NOW)

        counted = dict(HourlyOperation.objects.values_list("operation", "amount"))
        assert HourlyOperation.objects.filter(persona_id="p").count() == 1001
        assert [int(counted[name]) for name in ("other", "op-7", "late")] == [1, 2, 1]
        assert CostEvent.objects.filter(operation="late").count() == 2
        assert not verify().drifts


class TestRollUps:
    def test_they_move_with_the_finer_counter_whoever_moves_it(self, ledger: Ledger) -> None:
        for at, persona in (("09:59", "a"), ("10:01", "a"), ("10:02", "b")):
            event = amount_event("1", persona_id=persona, timestamp=f"2026-11-24T{at}:00Z", operation=at)
            ledger.record([event], at=NOW)
        assert HourlyPersona.objects.count() == 3
        assert dict(DailyPersona.objects.values_list("persona_id", "amount")) == {"a": 2, "b": 1}

        with connection.cursor() as cursor:
            cursor.execute("UPDATE costs_hourlyoperation SET amount = amount + 0.5, events = events + 1")

        assert set(HourlyPersona.objects.values_list("amount", "events")) == {(Decimal("1.5"), 2)}
        found = set(DailyPersona.objects.values_list("persona_id", "amount", "events"))
        assert found == {("a", Decimal(3), 4), ("b", Decimal("1.5"), 2)}

    def test_they_begin_with_what_the_finer_counter_holds(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", persona_id=name, timestamp=NOW) for name in ("a", "a", "b")], at=NOW)
        executor = MigrationExecutor(connection)
        executor.migrate([("costs", "0015_accept_one")])
        executor.loader.build_graph()

        executor.migrate(executor.loader.graph.leaf_nodes())

        assert DailyPersona.objects.count() == 2
        assert not verify().drifts


def test_a_sum_may_be_wider_than_any_line(ledger: Ledger) -> None:
    ledger.record([amount_event("999999999.999999999999", persona_id="p", timestamp=NOW) for _ in range(3)], at=NOW)

    assert DailyCost.objects.get().amount == Decimal("2999999999.999999999997")
    assert not verify().drifts


class TestVerifying:
    def test_a_counter_that_drifted_is_named(self, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
        ledger.record([usage_event(post_id="p", persona_id="ai_jesus")])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE costs_postcost SET amount = amount + 0.000000000001")

        with pytest.raises(CommandError, match="differ from the ledger"):
            call_command("verify_ledger")

        assert "costs_postcost p/ai_jesus/openai_api: amount 0.007500000001" in capsys.readouterr().err

    def test_a_counter_without_lines_and_a_line_without_a_counter_are_drifts(self, ledger: Ledger) -> None:
        ledger.record([usage_event(post_id="p")])
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM costs_hourlycost")
            cursor.execute("UPDATE costs_postcost SET post_id = 'nobody'")

        assert len(verify().drifts) == 3

    def test_an_honest_ledger_says_so(self, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
        ledger.record([usage_event(post_id="p"), amount_event("0.5")])

        call_command("verify_ledger")

        assert "2 lines, $0.5075" in capsys.readouterr().out
