"""What detection has the breaker do: each trigger on both sides of its threshold, from lines, budgets and outcomes."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from anomalies import budget_check, controlled, detect, incidents, series
from anomalies.models import Anomaly, RulePolicy
from controls import breaker, budgets
from controls.models import Budget, BudgetPeriod, Control, ControlTransition, Hold, Policy
from costs import outcomes
from costs.events import encode
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes
from tests.anomalies.incidents import look
from tests.costs.conftest import amount_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def wanted(persona: str = "ai_jesus") -> str:
    """The level that the breaker is to go to; empty where it stays."""
    control = Control.objects.filter(persona_id=persona).first()
    return control.wanted_level if control else ""


def settled(at: datetime = NOON, persona: str = "ai_jesus") -> Control:
    """Where the breaker stands once the task came."""
    breaker.take(persona, Control.objects.get(pk=persona).version, at=at)
    return Control.objects.get(pk=persona)


def set_policy(**fields: Any) -> None:
    Policy.objects.filter(persona_id="").update(**fields)


def held_back(posts: Posts, at: datetime = NOON) -> Control:
    """A spike of 5 times the target has throttled the persona."""
    posts.write(*["0.10"] * 20, at=at)
    detect.check_touched(at)
    return settled(at)


class TestASpikeOfTheCostPerPost:
    @pytest.mark.parametrize(("amount", "level"), [("0.0599", ""), ("0.06", "throttle")])
    def test_trips_it_from_three_times_the_baseline_on(self, posts: Posts, amount: str, level: str) -> None:
        posts.write(*[amount] * 20)

        detect.check_touched(NOON)

        assert wanted() == level

    @pytest.mark.parametrize(("events", "level"), [(19, ""), (20, "throttle")])
    def test_rests_on_twenty_events(self, posts: Posts, events: int, level: str) -> None:
        posts.write(*["0.10"] * events)

        detect.check_touched(NOON)

        assert wanted() == level

    @pytest.mark.parametrize(("amount", "level"), [("0.0049", ""), ("0.005", "throttle")])
    def test_and_on_five_cents(self, posts: Posts, amount: str, level: str) -> None:
        posts.write_history("0.001")
        posts.write(*[amount] * 10)
        posts.ledger.record(
            [amount_event("0", persona_id="ai_jesus", timestamp=NOON.isoformat()) for _ in range(10)], at=NOON
        )

        detect.check_touched(NOON)

        assert wanted() == level

    @pytest.mark.parametrize(
        ("amount", "per_minute"), [("0.06", 50), ("0.069", 50), ("0.07", 30), ("0.099", 30), ("0.10", 10)]
    )
    def test_is_throttled_by_its_severity_and_says_why(self, posts: Posts, amount: str, per_minute: int) -> None:
        posts.write(*[amount] * 20)

        detect.check_touched(NOON)
        control = settled()

        times = f"{Decimal(amount) / Decimal('0.02'):f}"
        assert control.per_minute == per_minute
        assert f"is {times} times its baseline of $0.02" in control.reason or control.trigger == "critical:cost_spike"

    def test_may_trip_it_later_for_one_persona_by_its_policy(self, posts: Posts) -> None:
        Policy.objects.create(persona_id="ai_jesus", spike_from=Decimal(4), on_critical=False)
        posts.write(*["0.079"] * 20)
        detect.check_touched(NOON)
        below = wanted()

        posts.write(*["0.08"] * 10, at=NOON + seconds(1))
        detect.check_touched(NOON + seconds(1))

        assert (below, wanted()) == ("", "throttle")

    def test_that_a_person_called_normal_does_not(self, posts: Posts) -> None:
        posts.write(*["0.10"] * 10)
        detect.check_touched(NOON)
        incidents.mark_false_positive(Anomaly.objects.get(rule="cost_spike"), actor="ann", at=NOON)

        posts.write(*["0.10"] * 10)
        detect.check_touched(NOON)
        tolerated = wanted()
        posts.write(*["0.12"] * 10, at=NOON + seconds(1))
        detect.check_touched(NOON + seconds(1))

        assert (tolerated, wanted()) == ("", "throttle")

    def test_of_hours_ago_is_an_incident_and_holds_nobody_back(self, posts: Posts) -> None:
        posts.write(*["0.50"] * 20, at=NOON - timedelta(hours=2))

        detect.check_touched(NOON)

        assert Anomaly.objects.filter(rule="cost_spike").exists()
        assert wanted() == ""


class TestASpikeOfTheSpendRate:
    @pytest.fixture
    def steady(self, posts: Posts) -> Posts:
        """Four hours of a dollar each five minutes, at the normal cost per post."""
        posts.write(*["0.02"] * 48, at=NOON - minutes(20), every=minutes(5))
        posts.ledger.record(
            [
                amount_event("0.98", persona_id="ai_jesus", timestamp=(NOON - minutes(20 + 5 * place)).isoformat())
                for place in range(48)
            ],
            at=NOON,
        )
        return posts

    @pytest.mark.parametrize(("count", "level"), [(149, ""), (150, "throttle")])
    def test_many_normal_posts_trip_it_too(self, steady: Posts, count: int, level: str) -> None:
        steady.write(*["0.02"] * count)

        detect.check_touched(NOON)

        assert wanted() == level
        assert not level or settled().trigger == "spend_rate"


class TestABudget:
    def budget(self, **fields: Any) -> Budget:
        given = {"name": "the day", "persona_id": "ai_jesus", "period": "daily", "timezone": "UTC"} | fields
        return budgets.create(Budget(limit=Decimal(10), **given), actor="ann", at=NOON - timedelta(hours=1))

    def spend(self, posts: Posts, amount: str, events: int = 20, **named: str) -> None:
        """Without posts: nothing else is tripped."""
        fields = {"persona_id": "ai_jesus", "timestamp": NOON.isoformat()} | named
        first = amount_event(amount, **fields)
        posts.ledger.record([first, *[amount_event("0", **fields) for _ in range(events - 1)]], at=NOON)

    @pytest.mark.parametrize(("amount", "level"), [("8.99", ""), ("9", "throttle")])
    def test_trips_it_from_ninety_per_cent_on_at_once(self, posts: Posts, amount: str, level: str) -> None:
        made = self.budget()
        self.spend(posts, amount)

        detect.check_touched(NOON)

        assert wanted() == level
        assert not level or settled().trigger == f"budget:{made.pk}"

    @pytest.mark.parametrize(
        ("sums", "level"),
        [
            ({"held": "0.99"}, ""),
            ({"held": "1"}, "throttle"),
            ({"held": "0.5", "pending": "0.5"}, "throttle"),
        ],
    )
    def test_counts_what_is_held_as_spent(self, posts: Posts, sums: dict[str, str], level: str) -> None:
        self.budget()
        self.spend(posts, "8")
        BudgetPeriod.objects.update(**{name: Decimal(amount) for name, amount in sums.items()})

        budget_check.check(NOON + minutes(1))

        assert wanted() == level
        assert not level or settled().per_minute == 30, "90 % is high"

    @pytest.mark.parametrize(("holds", "level"), [(0, ""), (1, "throttle")])
    def test_counts_calls_that_are_under_way_among_its_twenty(self, posts: Posts, holds: int, level: str) -> None:
        made = self.budget()
        self.spend(posts, "9.5", events=19)
        for _ in range(holds):
            hold(made)

        detect.check_touched(NOON)

        assert wanted() == level

    def test_of_nobody_holds_nobody_back(self, posts: Posts) -> None:
        self.budget(persona_id="")
        self.spend(posts, "10")

        detect.check_touched(NOON)

        assert wanted() == ""

    def test_of_one_model_of_the_persona_counts_that_models_events(self, posts: Posts) -> None:
        self.budget(model="gpt-4o")
        self.spend(posts, "9.5", events=19, model="gpt-4o")
        self.spend(posts, "0.5", model="gpt-4o-mini")
        detect.check_touched(NOON)
        with_others = wanted()

        self.spend(posts, "0", events=1, model="gpt-4o")
        detect.check_touched(NOON)

        assert (with_others, wanted()) == ("", "throttle")

    def test_that_was_told_to_warn_earlier_trips_it_with_its_own_critical_level(self, posts: Posts) -> None:
        self.budget(warn_levels=[50, 60, 70])
        self.spend(posts, "7")

        detect.check_touched(NOON)

        assert settled().trigger == "critical:budget_overrun"


def hold(budget: Budget) -> Hold:
    return Hold.objects.create(
        id=uuid4(),
        source="default",
        persona_id=budget.persona_id,
        cost_type="openai_api",
        asked_model="gpt-4o",
        model="gpt-4o",
        input_tokens=1,
        output_tokens=1,
        amount=Decimal("0.01"),
        asked_amount=Decimal("0.01"),
        budget_ids=[budget.pk],
        period_starts=[budget.span_at(NOON).start],
        created_at=NOON,
        expires_at=NOON + minutes(2),
    )


class TestAReturn:
    def revenue(self, amount: str) -> None:
        outcome = {"kind": "revenue", "persona_id": "ai_jesus", "timestamp": NOON.isoformat(), "amount": amount}
        outcomes.accept([encode(outcome)], source="default", at=NOON, using="default")

    @pytest.mark.parametrize(("revenue", "level"), [("0.161", ""), ("0.16", "throttle")])
    def test_trips_it_from_sixty_per_cent_lost_on(self, posts: Posts, revenue: str, level: str) -> None:
        set_policy(on_critical=False)
        posts.write(*["0.02"] * 20)
        self.revenue(revenue)

        detect.sweep(NOON)

        assert wanted() == level
        assert not level or settled().trigger == "roi"

    def test_that_is_critical_trips_it_a_little_earlier(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 20)
        self.revenue("0.18")

        detect.sweep(NOON)

        assert settled().trigger == "critical:negative_roi"

    def test_of_few_events_says_nothing(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 19)
        self.revenue("0.01")

        detect.sweep(NOON)

        assert wanted() == ""


class TestWhatIsCritical:
    def dear(self, posts: Posts, critical: str) -> None:
        RulePolicy.objects.create(rule="cost_threshold", critical=Decimal(critical))
        posts.write(*["0.04"] * 20)
        detect.check_touched(NOON)

    @pytest.mark.parametrize(("critical", "level"), [("0.05", ""), ("0.04", ""), ("0.0399", "throttle")])
    def test_trips_it_whatever_its_rule_is(self, posts: Posts, critical: str, level: str) -> None:
        self.dear(posts, critical)

        assert wanted() == level
        assert not level or settled().trigger == "critical:cost_threshold"

    def test_does_not_where_the_policy_says_so(self, posts: Posts) -> None:
        set_policy(on_critical=False)

        self.dear(posts, "0.0399")

        assert wanted() == ""

    def test_keeps_its_level_while_the_incident_is_open(self, posts: Posts) -> None:
        self.dear(posts, "0.0399")
        settled()

        detect.sweep(NOON + seconds(90))
        detect.sweep(NOON + seconds(181))
        still = wanted()
        incidents.end(list(Anomaly.objects.open()), reason="test", at=NOON + seconds(181))
        detect.sweep(NOON + seconds(182))
        detect.sweep(NOON + seconds(272))

        assert (still, wanted()) == ("", "closed")


class TestWhoIsHeldBack:
    def test_is_not_held_back_more_for_what_was_before(self, posts: Posts) -> None:
        held_back(posts)

        posts.write("0.01", at=NOON + seconds(50))
        detect.sweep(NOON + seconds(70))

        assert wanted() == ""

    def test_goes_one_level_up_when_new_posts_are_as_dear(self, posts: Posts) -> None:
        held_back(posts)

        posts.write(*["0.10"] * 3, at=NOON + seconds(50))
        detect.check_touched(NOON + seconds(70))

        assert wanted() == "switch"
        assert ControlTransition.objects.count() == 1, "until somebody takes it"

    def test_is_let_go_when_nothing_happens_any_more(self, posts: Posts) -> None:
        held_back(posts)

        # The posts leave the window of a quarter of an hour.
        detect.sweep(NOON + minutes(16))
        early = wanted()
        detect.sweep(NOON + minutes(16) + seconds(89))
        still = wanted()
        detect.sweep(NOON + minutes(16) + seconds(90))

        assert (early, still, wanted()) == ("", "", "closed")

    def test_is_not_let_go_while_one_trigger_is_above_its_calm(self, posts: Posts) -> None:
        held_back(posts)
        budgets.create(
            Budget(name="day", persona_id="ai_jesus", period="daily", timezone="UTC", limit=Decimal(3)),
            actor="ann",
            at=NOON,
        )

        for moment in (16, 18, 20):
            detect.sweep(NOON + minutes(moment))
            budget_check.check(NOON + minutes(moment))

        assert wanted() == "", "$2 of $3 are 67 %: more than 0.7 of 90 %"

    def test_in_a_pause_is_not_looked_at(self, posts: Posts) -> None:
        control = held_back(posts)
        Control.objects.update(level="pause")

        with CaptureQueriesContext(connection) as queries:
            controlled.revisit(NOON + seconds(30))

        assert len(queries) == 1
        assert Control.objects.get().version == control.version


class TestWhoIsCalm:
    def test_leaves_no_row_and_few_questions(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 20)
        found = [look("1.0", scope={"persona_id": f"p{number}"}) for number in range(50)]

        with CaptureQueriesContext(connection) as queries:
            controlled.observe(found, at=NOON)
        detect.sweep(NOON)

        assert not Control.objects.exists()
        assert len(queries) <= 2

    def test_a_learned_anomaly_is_told_to_the_breaker_once_for_all_windows(
        self, posts: Posts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[int] = []
        monkeypatch.setattr(controlled, "observe", lambda found, at: told.append(len(found)))
        posts.write_history()

        series.catch_up(NOON)
        series.catch_up(NOON + timedelta(hours=1))

        assert len(told) == 2
