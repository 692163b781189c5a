"""Efficiency and return: what posts bring for their cost, and what late outcomes change of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from alerts.signal import Severity
from anomalies import detect
from anomalies.lifecycle import Change
from anomalies.models import Anomaly
from costs import outcomes
from costs.events import encode
from tests.anomalies.conftest import NOON, Ledger, Posts

DAY = timedelta(days=1)


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def report(kind: str, *, at: datetime = NOON, booked: datetime | None = None, **numbers: Any) -> None:
    outcome = {"kind": kind, "persona_id": "ai_jesus", "timestamp": at.isoformat(), **numbers}
    (receipt,) = outcomes.accept([encode(outcome)], source="default", at=booked or at, using="default")
    assert receipt.status == "accepted", receipt


def a_week_of(posts: Posts, *, cost: str = "1", engagement: int = 100) -> None:
    for day in range(1, 8):
        posts.write(cost, at=NOON - DAY * day)
        report("engagement", at=NOON - DAY * day, quantity=engagement)


class TestEfficiency:
    def test_a_dollar_that_brings_half_of_what_it_did_is_found(self, posts: Posts) -> None:
        a_week_of(posts)
        posts.write("1")
        report("engagement", quantity=50)

        detect.sweep(NOON)

        drop = Anomaly.objects.get(rule="efficiency_drop")
        assert (drop.severity, drop.current, drop.baseline) == (Severity.HIGH, Decimal(50), Decimal(100))
        assert drop.scope == {"persona_id": "ai_jesus", "outcome": "engagement"}

    def test_the_same_efficiency_at_twice_the_cost_is_no_drop(self, posts: Posts) -> None:
        a_week_of(posts)
        posts.write("2")
        report("engagement", quantity=200)

        detect.sweep(NOON)

        assert not Anomaly.objects.filter(rule="efficiency_drop").exists()

    def test_a_persona_without_outcomes_is_not_judged(self, posts: Posts) -> None:
        posts.write("1")

        detect.sweep(NOON)

        assert not Anomaly.objects.filter(rule__in=["efficiency_drop", "negative_roi"]).exists()


class TestReturn:
    def test_less_than_half_of_the_cost_back_is_found(self, posts: Posts) -> None:
        posts.write("10")
        report("revenue", amount="4")

        detect.sweep(NOON)

        negative = Anomaly.objects.get(rule="negative_roi")
        assert (negative.severity, negative.current) == (Severity.CRITICAL, Decimal(-60))
        assert (negative.evidence["revenue"], negative.evidence["cost"]) == ("4", "10")

    @pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
    def test_new_revenue_is_looked_at_at_once(
        self, posts: Posts, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        posts.write("10")
        with django_capture_on_commit_callbacks(execute=True):
            report("revenue", amount="1")
        detect.check_touched(NOON)
        is_found = Anomaly.objects.open().filter(rule="negative_roi").exists()

        with django_capture_on_commit_callbacks(execute=True):
            report("revenue", amount="9")
        detect.check_touched(NOON)
        detect.check_touched(NOON + timedelta(minutes=1))
        detect.sweep(NOON + timedelta(minutes=1))

        assert is_found
        assert not Anomaly.objects.open().filter(rule="negative_roi").exists()

    def test_late_revenue_changes_the_past_and_says_so(self, posts: Posts) -> None:
        posts.write("10")
        report("revenue", amount="1")
        detect.sweep(NOON)
        later = NOON + DAY * 2

        report("revenue", amount="11", at=NOON, booked=later)
        detect.sweep(later)

        revised = Anomaly.objects.get(rule="negative_roi").transitions.get(change=Change.REVISED)
        assert revised.reason == "Late outcomes: the return of its window is 20 %, was -90 %."

    def test_revenue_that_is_reported_once_a_day_is_not_missed_until_then(self, posts: Posts) -> None:
        for day in range(1, 4):
            posts.write("12", at=NOON - DAY * day)
            report("revenue", at=NOON - DAY * day, amount="24")
        posts.write("12")

        detect.sweep(NOON + timedelta(hours=10))

        assert not Anomaly.objects.filter(rule="negative_roi").exists()

    def test_revenue_that_never_came_before_is_not_missed(self, posts: Posts) -> None:
        posts.write("10")
        report("follow", quantity=2000)

        detect.sweep(NOON)

        assert not Anomaly.objects.filter(rule="negative_roi").exists()


class TestFollows:
    def test_a_follow_above_its_target_is_a_low_finding(self, posts: Posts) -> None:
        posts.write("0.03", "0.03")
        report("follow", quantity=5)

        detect.sweep(NOON)

        dear = Anomaly.objects.get(rule="cost_threshold")
        assert (dear.severity, dear.scope["reading"]) == (Severity.LOW, "cost_per_follow")
        assert (dear.current, dear.baseline) == (Decimal("0.012"), Decimal("0.01"))
