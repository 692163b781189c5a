"""What detectors are shown is what the ledger holds, within bounded windows."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from anomalies import readings
from anomalies.detectors.cost_spike import COST_PER_POST, CostReading
from costs.models.ledger import BOOKED_BEFORE
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes

TARGET = Decimal("0.02")


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def per_post(persona: str = "ai_jesus") -> CostReading | None:
    found = readings.costs_per_post({persona: NOON}, target=TARGET)
    return found[0] if found else None


class TestCostPerPost:
    def test_without_history_the_target_is_the_baseline(self, posts: Posts) -> None:
        posts.write("0.067")

        reading = per_post()

        assert reading is not None
        assert (reading.kind, reading.current, reading.baseline) == (COST_PER_POST, Decimal("0.067"), TARGET)
        assert reading.baseline_source == "target"

    def test_the_baseline_is_the_median_of_the_week_before(self, posts: Posts) -> None:
        posts.write_history("0.01", posts=15)
        posts.write_history("0.03", posts=16)
        posts.write("0.09")

        reading = per_post()

        assert reading is not None
        assert (reading.baseline, reading.samples, reading.baseline_source) == (Decimal("0.03"), 31, "median")

    def test_one_mad_post_does_not_move_the_baseline(self, posts: Posts) -> None:
        posts.write_history("0.02", posts=20)
        posts.write("900", at=NOON - minutes(300))
        posts.write("0.02")

        reading = per_post()

        assert reading is not None
        assert reading.baseline == Decimal("0.02")

    def test_an_hour_of_runaway_posts_does_not_become_normal(self, posts: Posts) -> None:
        posts.write_history("0.02", posts=25)
        posts.write(*["0.50"] * 200, at=NOON - minutes(90), every=timedelta(seconds=5))
        posts.write("0.50")

        reading = per_post()

        assert reading is not None
        assert reading.baseline == Decimal("0.02")

    def test_nineteen_posts_are_too_few_and_twenty_enough(self, posts: Posts) -> None:
        posts.write_history("0.05", posts=19)
        posts.write("0.05")
        few = per_post()
        posts.write("0.05", at=NOON - minutes(90))
        enough = readings.costs_per_post({"ai_jesus": NOON + minutes(1)}, target=TARGET)[0]

        assert few is not None
        assert few.baseline == TARGET
        assert enough.baseline == Decimal("0.05")

    def test_the_latest_ten_posts_within_fifteen_minutes_count(self, posts: Posts) -> None:
        posts.write(*["0.10"] * 10, *["9"] * 5, every=minutes(1))

        reading = per_post()

        assert reading is not None
        assert (reading.current, reading.amount, reading.events) == (Decimal("0.10"), Decimal("1.00"), 10)

    def test_an_idle_persona_has_no_reading(self, posts: Posts) -> None:
        posts.write("0.02", at=NOON - minutes(16))

        assert per_post() is None
        assert per_post("nobody") is None

    def test_personas_do_not_mix(self, ledger: Ledger, posts: Posts) -> None:
        posts.write("0.02")
        Posts(ledger, "other").write("5")

        found = readings.costs_per_post({"ai_jesus": NOON, "other": NOON}, target=TARGET)

        assert [(reading.persona_id, reading.current) for reading in found] == [
            ("ai_jesus", Decimal("0.02")),
            ("other", Decimal(5)),
        ]


class TestSpendRate:
    def test_a_new_persona_has_no_rate_to_compare_with(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 100)

        assert readings.spend_rates({"ai_jesus": NOON}) == []

    def test_the_rate_is_that_of_the_dearest_of_the_last_two_windows(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 60, at=NOON - minutes(30), every=minutes(30))
        posts.write(*["0.01"] * 100, at=NOON - minutes(4))
        posts.write("0.02", at=NOON + minutes(1))

        (reading,) = readings.spend_rates({"ai_jesus": NOON + minutes(1)})

        assert (reading.current, reading.baseline) == (Decimal("1.00"), Decimal("0.02"))


def test_a_baseline_is_kept_for_ten_minutes(posts: Posts) -> None:
    posts.write_history("0.02", posts=25)
    first = readings.post_baselines({"ai_jesus": NOON})["ai_jesus"]
    posts.write(*["0.09"] * 60, at=NOON - minutes(90), every=minutes(60))

    kept = readings.post_baselines({"ai_jesus": NOON + minutes(9)})["ai_jesus"]
    anew = readings.post_baselines({"ai_jesus": NOON + timedelta(minutes=10)})["ai_jesus"]

    assert (first.value, kept.value, anew.value) == (Decimal("0.02"), Decimal("0.02"), Decimal("0.09"))


def test_lines_are_found_by_persona_and_time_together(posts: Posts) -> None:
    posts.write("0.02")
    asked: dict[str, Any] = {"recent": readings.RECENT, "booked_before": BOOKED_BEFORE, "lines": 200, "posts": 10}

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {readings.PER_POST}", {**asked, "personas": ["ai_jesus"], "times": [NOON]})
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "_persona_id_timestamp_idx" in plan
    assert "costs_postcost_pkey" in plan
