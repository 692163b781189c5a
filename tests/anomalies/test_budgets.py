"""Budgets that are used up, burn too fast, or will not last."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from alerts.signal import Severity
from anomalies import budget_check, detect, incidents
from anomalies.models import Anomaly
from controls import budgets
from controls.models import Budget
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes
from tests.costs.conftest import amount_event


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def budget(limit: str = "10", *, at: datetime = NOON - timedelta(hours=1), **fields: Any) -> Budget:
    given = {"name": "the day", "persona_id": "ai_jesus", "period": "daily", "timezone": "UTC"} | fields
    return budgets.create(Budget(limit=Decimal(limit), **given), actor="ann", at=at)


@pytest.mark.django_db
class TestTheCheck:
    def test_begins_the_next_period_even_if_looking_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("no incident can be stored")

        made = budget()
        midnight = made.span_at(NOON).end
        monkeypatch.setattr(incidents, "apply", fail)

        with pytest.raises(RuntimeError, match="no incident"):
            budget_check.check(midnight - timedelta(minutes=1))

        assert made.periods.filter(starts_at=midnight).exists()


class TestOverrun:
    def test_a_budget_is_looked_at_as_soon_as_it_is_used(self, posts: Posts) -> None:
        made = budget("10")
        posts.write("8.5")

        detect.check_touched(NOON)

        overrun = Anomaly.objects.get(rule="budget_overrun")
        assert (overrun.severity, overrun.current, overrun.baseline) == (Severity.HIGH, Decimal("8.5"), Decimal(10))
        assert overrun.evidence["budget"] == "the day"
        assert overrun.evidence["used_percent"] == "85"
        assert overrun.scope["budget_id"] == str(made.pk)

    def test_a_budget_of_all_personas_counts_too(self, posts: Posts) -> None:
        budget("10", persona_id="")
        posts.write("9.6")

        detect.check_touched(NOON)

        assert Anomaly.objects.get(rule="budget_overrun").severity == Severity.CRITICAL

    def test_it_is_over_when_the_next_period_begins(self, posts: Posts) -> None:
        budget("10")
        posts.write("9")
        detect.check_touched(NOON)

        budget_check.check(NOON + timedelta(hours=11))
        still_open = Anomaly.objects.open().filter(rule="budget_overrun").exists()
        budget_check.check(NOON + timedelta(hours=12))

        assert still_open
        assert not Anomaly.objects.open().filter(rule="budget_overrun").exists()

    def test_it_is_over_when_the_budget_ends(self, posts: Posts) -> None:
        made = budget("10")
        posts.write("9")
        detect.check_touched(NOON)

        budgets.end(made.pk, actor="ann", at=NOON)
        budget_check.check(NOON + minutes(1))

        assert not Anomaly.objects.open().filter(rule="budget_overrun").exists()


class TestBurning:
    def test_most_of_a_month_within_an_hour_burns(self, posts: Posts) -> None:
        budget("100", period="monthly")
        budget_check.check(NOON)
        posts.write("5", at=NOON + minutes(2))

        budget_check.check(NOON + minutes(3))

        burning = Anomaly.objects.get(rule="burn_rate")
        assert burning.severity == Severity.HIGH
        assert Decimal(burning.evidence["burn"]["hour"]) == Decimal(36)

    def test_an_import_of_what_was_spent_long_ago_does_not(self, posts: Posts) -> None:
        budget("100", period="monthly")
        budget_check.check(NOON)
        posts.ledger.record(
            [amount_event("30", persona_id="ai_jesus", timestamp=(NOON - timedelta(days=3)).isoformat())], at=NOON
        )

        budget_check.check(NOON + minutes(1))

        assert not Anomaly.objects.filter(rule="burn_rate").exists()

    def test_even_spending_does_not(self, posts: Posts) -> None:
        budget("168", period="weekly")
        for minute in range(0, 60, 5):
            posts.write("0.08", at=NOON + minutes(minute))
            budget_check.check(NOON + minutes(minute))

        assert not Anomaly.objects.filter(rule="burn_rate").exists()


def test_a_budget_that_will_not_last_is_a_low_finding_with_its_date(posts: Posts) -> None:
    for day in range(1, 21):
        posts.write("5", at=NOON - timedelta(days=day))
    made = budget("120", period="monthly")

    budget_check.check(NOON)

    overrun = Anomaly.objects.filter(rule="forecast").get()
    assert overrun.severity == Severity.LOW
    assert overrun.scope["budget_id"] == str(made.pk)
    assert overrun.evidence["exceeded_at"].startswith("2026-11-2")
