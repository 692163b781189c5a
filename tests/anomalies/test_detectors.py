"""Both sides of every boundary of every rule."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alerts.signal import Severity
from anomalies.detectors import DETECTORS, Levels, Window
from anomalies.detectors.budget_overrun import BudgetOverrun, BudgetReading
from anomalies.detectors.burn_rate import Burn, BurnRate, BurnReading
from anomalies.detectors.cost_spike import COST_PER_POST, SPEND_RATE, CostReading, CostSpike
from anomalies.detectors.cost_threshold import CostPerFollow, CostThreshold, FollowReading, PostReading
from anomalies.detectors.efficiency_drop import EfficiencyDrop, EfficiencyReading
from anomalies.detectors.forecast import ForecastOverrun, OutlookReading
from anomalies.detectors.negative_roi import NegativeROI, ReturnReading
from anomalies.detectors.no_data import NoData, SilenceReading

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
WINDOW = Window(NOON - timedelta(hours=1), NOON)


def cost(current: str, baseline: str = "0.02", *, kind: str = COST_PER_POST, amount: str | None = None) -> CostReading:
    now = Decimal(current)
    return CostReading("ai_jesus", kind, now, Decimal(baseline), Decimal(amount or current), 1, WINDOW)


class TestCostSpike:
    @pytest.mark.parametrize(
        ("current", "severity"),
        [
            ("0.059999999999", None),
            ("0.06", Severity.MEDIUM),
            ("0.067", Severity.MEDIUM),
            ("0.069999999999", Severity.MEDIUM),
            ("0.07", Severity.HIGH),
            ("0.099999999999", Severity.HIGH),
            ("0.1", Severity.CRITICAL),
        ],
    )
    def test_three_times_the_baseline_is_a_spike_and_five_times_a_critical_one(
        self, current: str, severity: Severity | None
    ) -> None:
        judged = CostSpike().inspect(cost(current))

        assert judged is not None
        assert judged.severity == severity

    def test_the_specified_sample_is_3_35_times_the_target(self) -> None:
        judged = CostSpike().inspect(cost("0.067", "0.02"))

        assert judged is not None
        assert judged.multiplier == Decimal("3.35")

    def test_three_times_nothing_is_nothing(self) -> None:
        little, none = CostSpike().inspect(cost("0.0499", "0.001")), CostSpike().inspect(cost("0.05", "0"))

        assert little is not None
        assert (little.severity, little.is_calm) == (None, False)
        assert none is None

    def test_a_spend_rate_counts_from_half_a_dollar_in_five_minutes(self) -> None:
        below, above = (CostSpike().inspect(cost(rate, "0.01", kind=SPEND_RATE)) for rate in ("0.499", "0.50"))

        assert below is not None
        assert above is not None
        assert (below.severity, above.severity) == (None, Severity.CRITICAL)

    def test_a_reading_that_is_too_little_may_still_show_that_all_is_calm(self) -> None:
        judged = CostSpike().inspect(cost("0.02"))

        assert judged is not None
        assert judged.is_calm

    def test_an_incident_may_end_below_seven_tenths_of_the_threshold(self) -> None:
        between, calm = CostSpike().inspect(cost("0.05")), CostSpike().inspect(cost("0.02", amount="0.1"))

        assert between is not None
        assert calm is not None
        assert not between.is_calm
        assert calm.is_calm


class TestEfficiency:
    @pytest.mark.parametrize(
        ("outcomes", "severity"),
        [
            ("701", None),
            ("700", Severity.MEDIUM),
            ("501", Severity.MEDIUM),
            ("500", Severity.HIGH),
            ("0", Severity.HIGH),
        ],
    )
    def test_a_drop_of_thirty_percent_is_found_and_of_fifty_is_high(
        self, outcomes: str, severity: Severity | None
    ) -> None:
        reading = EfficiencyReading("p", "engagement", Decimal(outcomes), Decimal(10), Decimal(100), 7, WINDOW)

        judged = EfficiencyDrop().inspect(reading)

        assert judged is not None
        assert judged.severity == severity

    @pytest.mark.parametrize(("spent", "baseline", "days"), [("0.04", "100", 7), ("10", "0", 7), ("10", "100", 2)])
    def test_it_says_nothing_of_too_little(self, spent: str, baseline: str, days: int) -> None:
        reading = EfficiencyReading("p", "follow", Decimal(0), Decimal(spent), Decimal(baseline), days, WINDOW)

        assert EfficiencyDrop().inspect(reading) is None


class TestReturn:
    @pytest.mark.parametrize(
        ("revenue", "severity"),
        [("5.01", None), ("5", Severity.MEDIUM), ("4.51", Severity.MEDIUM), ("4.5", Severity.CRITICAL)],
    )
    def test_half_of_the_cost_lost_is_found(self, revenue: str, severity: Severity | None) -> None:
        judged = NegativeROI().inspect(ReturnReading("p", Decimal(revenue), Decimal(10), WINDOW))

        assert judged is not None
        assert judged.severity == severity

    def test_no_cost_has_no_return(self) -> None:
        assert NegativeROI().inspect(ReturnReading("p", Decimal(0), Decimal("0.01"), WINDOW)) is None

    def test_an_incident_may_end_above_minus_35_percent(self) -> None:
        between = NegativeROI().inspect(ReturnReading("p", Decimal("6.5"), Decimal(10), WINDOW))
        calm = NegativeROI().inspect(ReturnReading("p", Decimal("6.51"), Decimal(10), WINDOW))

        assert between is not None
        assert calm is not None
        assert (between.is_calm, calm.is_calm) == (False, True)


class TestBudget:
    @pytest.mark.parametrize(
        ("spent", "severity"),
        [("79.99", None), ("80", Severity.MEDIUM), ("85", Severity.HIGH), ("95", Severity.CRITICAL)],
    )
    def test_eighty_percent_used_is_found(self, spent: str, severity: Severity | None) -> None:
        judged = BudgetOverrun().inspect(budget(spent, []))

        assert judged is not None
        assert judged.severity == severity

    def test_a_budgets_own_levels_count(self) -> None:
        judged = BudgetOverrun().inspect(budget("51", [Decimal(50), Decimal(90)]))

        assert judged is not None
        assert judged.severity == Severity.MEDIUM


def budget(spent: str, levels: list[Decimal]) -> BudgetReading:
    return BudgetReading(1, "day", {"persona_id": "p"}, Decimal(spent), Decimal(100), levels, WINDOW)


class TestPosts:
    @pytest.mark.parametrize(("amount", "fires"), [("0.04", False), ("0.040000000001", True)])
    def test_a_post_above_the_alert_threshold_is_found(self, amount: str, fires: bool) -> None:
        reading = PostReading("p", "post", Decimal(amount), Decimal("0.04"), WINDOW)

        judged = CostThreshold().inspect(reading)

        assert bool(judged and judged.severity) == fires

    def test_own_levels_stand_above_the_configured_threshold(self) -> None:
        detector = CostThreshold().with_levels(high=Decimal("0.5"))

        low = detector.inspect(PostReading("p", "post", Decimal("0.4"), Decimal("0.04"), WINDOW))
        high = detector.inspect(PostReading("p", "post", Decimal("0.6"), Decimal("0.04"), WINDOW))

        assert low is not None
        assert high is not None
        assert (low.severity, high.severity) == (None, Severity.HIGH)

    @pytest.mark.parametrize(("follows", "fires"), [("100", False), ("99", True), ("0", False)])
    def test_a_follow_above_its_target_is_a_low_finding(self, follows: str, fires: bool) -> None:
        judged = CostPerFollow().inspect(FollowReading("p", Decimal(1), Decimal(follows), Decimal("0.01"), WINDOW))

        assert (judged is not None and judged.severity == Severity.LOW) == fires


class TestOthers:
    @pytest.mark.parametrize(
        ("fast", "slow", "severity"),
        [
            ((20, 20), (1, 1), Severity.HIGH),
            ((20, 1), (1, 1), None),
            ((1, 20), (1, 1), None),
            ((14.3, 20), (7, 7), Severity.MEDIUM),
            ((1, 1), (6, 6), Severity.MEDIUM),
            ((1, 1), (60, 60), Severity.MEDIUM),
            ((1, 1), (6, 5.9), None),
        ],
    )
    def test_a_budget_burns_when_both_windows_of_a_pair_do(
        self, fast: tuple[float, float], slow: tuple[float, float], severity: Severity | None
    ) -> None:
        pairs = [Burn(Decimal(str(long)), Decimal(str(short))) for long, short in (fast, slow)]
        reading = BurnReading(1, "day", {}, pairs[0], pairs[1], Decimal(1), Decimal(10), WINDOW)

        judged = BurnRate().inspect(reading)

        assert judged is not None
        assert judged.severity == severity

    @pytest.mark.parametrize(("active", "hours", "silent", "fires"), [
        (168, 168, 2, True), (168, 168, 1, False), (150, 168, 2, False), (90, 90, 5, False),
    ])  # fmt: skip
    def test_two_silent_hours_are_found_where_there_always_were_costs(
        self, active: int, hours: int, silent: int, fires: bool
    ) -> None:
        judged = NoData().inspect(SilenceReading("p", active, hours, silent, WINDOW))

        assert bool(judged and judged.severity) == fires

    @pytest.mark.parametrize(("expected", "fires"), [("99.9", False), ("100", True)])
    def test_a_budget_that_will_not_last_is_found(self, expected: str, fires: bool) -> None:
        judged = ForecastOverrun().inspect(
            OutlookReading(1, "month", {}, Decimal(expected), Decimal(100), None, WINDOW)
        )

        assert judged is not None
        assert bool(judged.severity) == fires


def test_levels_know_their_first_and_may_leave_some_out() -> None:
    levels = Levels(medium=Decimal(3), critical=Decimal(5))

    assert levels.entry == 3
    assert [levels.severity_of(Decimal(score)) for score in (2, 3, 4, 5)] == [
        None,
        Severity.MEDIUM,
        Severity.MEDIUM,
        Severity.CRITICAL,
    ]


def test_the_registry_holds_every_type_that_readings_find() -> None:
    assert set(DETECTORS) == {
        *("cost_spike", "efficiency_drop", "negative_roi", "budget_overrun", "cost_threshold"),
        *("learned", "unpriced", "no_data", "forecast", "burn_rate", "dead_letters", "ledger_drift"),
    }
