"""Forecasts of generated histories: how far off, how often the range holds, and when nothing can be said."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from anomalies.forecast import BudgetOutlook, Forecast, History, NoForecast, Range, budget_outlook, forecast
from anomalies.futures import Array, weekly_rhythm

YESTERDAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WEEK = np.array([1.1, 1.15, 1.1, 1.05, 1.0, 0.6, 0.5])
HORIZON = 30
# None of these was looked at while the method's numbers were chosen.
SEEDS = range(7000, 7060)

Generated = Callable[[np.random.Generator, int], Array]


def weekly(draw: np.random.Generator, days: int) -> Array:
    return 10 * WEEK[np.arange(days) % 7] * draw.lognormal(0, 0.15, days)


def growing(draw: np.random.Generator, days: int) -> Array:
    return weekly(draw, days) * (1 + 0.01 * np.arange(days))


def falling(draw: np.random.Generator, days: int) -> Array:
    return weekly(draw, days) * (1.6 - 0.008 * np.arange(days))


def drifting(draw: np.random.Generator, days: int) -> Array:
    return weekly(draw, days) * np.exp(np.cumsum(draw.normal(0, 0.03, days)))


def noisy(draw: np.random.Generator, days: int) -> Array:
    return 10 * draw.lognormal(0, 0.6, days)


def working_days(draw: np.random.Generator, days: int) -> Array:
    return np.where(np.arange(days) % 7 < 5, 10 * draw.lognormal(0, 0.2, days), 0)


def history(costs: Array | list[float]) -> History:
    return History(YESTERDAY, tuple(Decimal(f"{cost:.6f}") for cost in costs))


def forecasted(costs: Array | list[float]) -> Forecast:
    result = forecast(history(costs))
    assert isinstance(result, Forecast)
    return result


def lies_in(cost: float, expected: Range) -> bool:
    return float(expected.low) <= cost <= float(expected.high)


class TestGeneratedHistories:
    """120 days of history and the 31 that followed, which the forecast did not see."""

    @pytest.mark.parametrize(
        ("series", "largest_error"),
        [(weekly, 0.07), (growing, 0.08), (falling, 0.25), (drifting, 0.15), (noisy, 0.30), (working_days, 0.09)],
        ids=lambda value: getattr(value, "__name__", value),
    )
    def test_are_forecast_within_bounds(self, series: Generated, largest_error: float) -> None:
        errors, days_held, sums_held = [], [], []

        for seed in SEEDS:
            costs = series(np.random.default_rng(seed), 120 + 1 + HORIZON)
            result, truth = forecasted(costs[:120]), costs[121:]
            errors.append(abs(float(result.total.expected) / truth.sum() - 1))
            days_held += [lies_in(cost, day.cost) for cost, day in zip(truth, result.days, strict=True)]
            sums_held.append(lies_in(truth.sum(), result.total))

        assert np.mean(errors) <= largest_error
        assert 0.65 <= np.mean(days_held) <= 0.95
        assert np.mean(sums_held) >= 0.65

    def test_the_back_test_tells_the_error_that_comes(self) -> None:
        told, came = [], []

        for seed in SEEDS:
            costs = weekly(np.random.default_rng(seed), 128)
            result = forecasted(costs[:120])
            assert result.errors is not None
            told.append(result.errors.sum_error or 0)
            came.append(abs(sum(float(day.cost.expected) for day in result.days[:7]) / costs[121:].sum() - 1) * 100)

        assert np.mean(told) == pytest.approx(np.mean(came), abs=2.0)

    def test_growth_goes_on_and_fades(self) -> None:
        costs = [10 + 0.2 * day for day in range(60)]

        days = [float(day.cost.expected) for day in forecasted(costs).days]

        assert days[0] == pytest.approx(22, rel=0.05)
        assert 21 < days[-1] < 28

    def test_one_outlier_does_not_move_the_forecast(self) -> None:
        costs = weekly(np.random.default_rng(3), 60)
        calm = forecasted(costs).total.expected
        costs[-2] *= 30

        assert forecasted(costs).total.expected == pytest.approx(calm, rel=Decimal("0.25"))

    def test_last_week_is_repeated_where_that_was_nearer_to_the_truth(self) -> None:
        rhythm_that_changed = np.concatenate([np.tile([5.0, 1, 1, 1, 1, 1, 1], 9), np.tile([1.0, 1, 9, 1, 1, 4, 1], 3)])

        result = forecasted(rhythm_that_changed)

        assert result.method == "last_week"
        assert result.errors is not None
        assert result.errors_of_other is not None
        assert (result.errors.sum_error or 0) < (result.errors_of_other.sum_error or 0)

    def test_a_week_that_is_one_of_a_kind_is_not_repeated(self) -> None:
        costs = [1.0] * 80 + [0.0] * 33 + [0.0, 0, 0, 50, 0, 0, 0]

        assert forecasted(costs).method != "last_week"

    def test_the_same_history_gives_the_same_forecast(self) -> None:
        costs = noisy(np.random.default_rng(5), 90)

        assert forecast(history(costs)) == forecast(history(costs))


class TestHistoriesThatSayLittle:
    @pytest.mark.parametrize("days", range(7))
    def test_under_a_week_there_is_no_forecast_but_a_reason(self, days: int) -> None:
        result = forecast(history([1.0] * days))

        assert isinstance(result, NoForecast)
        assert result.reason.startswith(f"Only {days} full day")
        assert "needs 7" in result.reason

    @pytest.mark.parametrize(("days", "is_tested"), [(7, False), (13, False), (14, True), (120, True)])
    def test_a_back_test_needs_two_weeks(self, days: int, is_tested: bool) -> None:
        result = forecasted([1.0] * days)

        assert (result.errors is not None) == is_tested
        assert bool(result.reason) != is_tested

    @pytest.mark.parametrize("days", [7, 14, 20, 21, 28, 60, 120])
    def test_the_same_cost_each_day_goes_on_exactly(self, days: int) -> None:
        result = forecasted([2.5] * days)

        assert {day.cost for day in result.days} == {Range(Decimal("2.5"), Decimal("2.5"), Decimal("2.5"))}
        assert result.total.expected == 75

    def test_zero_days_go_on(self) -> None:
        result = forecasted([0.0] * 30)

        assert result.total == Range(Decimal(0), Decimal(0), Decimal(0))
        assert result.errors is not None
        assert result.errors.sum_error is None

    def test_what_stopped_is_not_expected_any_more(self) -> None:
        assert forecasted([10.0] * 30 + [0.0] * 60).total.expected == 0

    @pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.6])
    def test_costs_that_come_now_and_then_keep_their_sum(self, share: float) -> None:
        sums = []
        for seed in SEEDS:
            draw = np.random.default_rng(seed)
            sums.append(float(forecasted(np.where(draw.random(120) < share, 5.0, 0.0)).total.expected))

        assert np.mean(sums) == pytest.approx(30 * 5 * share, rel=0.25)

    @pytest.mark.parametrize("seed", range(10))
    def test_no_cost_is_negative_and_ranges_are_in_order(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        falling = np.maximum(0, 20 - 0.3 * np.arange(100)) * draw.lognormal(0, 0.8, 100)

        result = forecasted(falling)

        for cost in [result.today, result.total, *(day.cost for day in result.days)]:
            assert 0 <= cost.low <= cost.expected <= cost.high

    def test_a_day_that_a_correction_made_negative_counts_as_none(self) -> None:
        assert forecasted([-5.0] * 30).total.expected == 0

    def test_money_is_exact_to_six_decimals_and_adds_up(self) -> None:
        result = forecasted(noisy(np.random.default_rng(1), 50))

        assert sum(day.cost.expected for day in result.days) == result.total.expected
        assert all(day.cost.expected.as_tuple().exponent == -6 for day in result.days)

    def test_the_days_begin_with_tomorrow(self) -> None:
        days = [day.day for day in forecasted([1.0] * 10).days]

        assert (days[0], days[-1], len(days)) == (date(2026, 11, 25), date(2026, 12, 24), 30)


class TestWeeklyRhythm:
    @pytest.mark.parametrize(("days", "is_seen"), [(20, False), (21, True), (120, True)])
    def test_it_is_seen_after_three_weeks(self, days: int, is_seen: bool) -> None:
        pattern = np.array([1.0, 1, 1, 1, 1, 0, 0])

        rhythm = weekly_rhythm(np.resize(pattern, days))

        assert (rhythm.max() > 1.3) == is_seen
        assert rhythm.mean() == pytest.approx(1)

    def test_it_begins_with_the_day_after_the_last(self) -> None:
        saturday_last = np.resize(np.array([1.0, 2, 3, 4, 5, 6, 7]), 7 * 5 + 3)

        assert weekly_rhythm(saturday_last).argmax() == 3

    def test_one_strange_week_does_not_change_it(self) -> None:
        costs = np.resize(np.array([1.0, 1, 1, 1, 1, 0, 0]), 42)
        costs[26] = 50

        assert weekly_rhythm(costs)[5] == 0


class TestABudget:
    def outlook(self, costs: list[float], *, spent: str, limit: str, days: float, **fields: object) -> BudgetOutlook:
        found = budget_outlook(
            spent=Decimal(spent),
            limit=Decimal(limit),
            at=NOW,
            period_end=NOW + timedelta(days=days),
            history=history(costs),
            **fields,  # type: ignore[arg-type]
        )
        assert found is not None
        return found

    def test_is_exceeded_when_even_spending_reaches_its_limit(self) -> None:
        found = self.outlook([24.0] * 30, spent="100", limit="136", days=3)

        assert found.expected == 172
        assert found.exceeded_at == NOW + timedelta(hours=36)
        assert found.earliest == found.latest == found.exceeded_at
        assert found.chance == 1

    @pytest.mark.parametrize(("limit", "is_exceeded"), [("171.9", True), ("172.0", False), ("172.1", False)])
    def test_is_exceeded_above_its_limit_and_not_at_it(self, limit: str, is_exceeded: bool) -> None:
        found = self.outlook([24.0] * 30, spent="100", limit=limit, days=3)

        assert (found.exceeded_at is not None) == is_exceeded

    def test_that_is_used_up_was_exceeded_already(self) -> None:
        assert self.outlook([24.0] * 30, spent="100", limit="99", days=3).exceeded_at == NOW

    def test_has_a_range_of_dates(self) -> None:
        costs = weekly(np.random.default_rng(2), 60).tolist()

        found = self.outlook(costs, spent="0", limit="150", days=30)

        assert found.earliest is not None
        assert found.exceeded_at is not None
        assert found.latest is not None
        assert found.earliest < found.exceeded_at < found.latest
        assert found.low < found.expected < found.high

    def test_may_last_or_not(self) -> None:
        costs = noisy(np.random.default_rng(2), 60).tolist()
        middle = self.outlook(costs, spent="0", limit="1000000", days=14).expected

        found = self.outlook(costs, spent="0", limit=str(middle), days=14)

        assert Decimal("0.25") < found.chance < Decimal("0.75")
        assert found.earliest is not None
        assert found.latest is None

    def test_of_a_day_follows_the_hours_in_which_it_is_spent(self) -> None:
        mornings = [1 / 12] * 12 + [0.0] * 12

        even = self.outlook([24.0] * 30, spent="12", limit="20", days=0.5)
        over = self.outlook([24.0] * 30, spent="12", limit="20", days=0.5, hour_shares=mornings)

        assert [even.expected, over.expected] == [24, 12]
        assert even.exceeded_at == NOW + timedelta(hours=8)
        assert over.exceeded_at is None

    @pytest.mark.parametrize("offset", [timedelta(minutes=7), timedelta(hours=5, minutes=45), timedelta(days=31)])
    def test_may_end_at_any_minute(self, offset: timedelta) -> None:
        found = budget_outlook(
            spent=Decimal(0),
            limit=Decimal(1000),
            at=NOW + timedelta(seconds=83),
            period_end=NOW + offset,
            history=history([24.0] * 30),
        )

        assert found is not None
        assert float(found.expected) == pytest.approx((offset.total_seconds() - 83) / 3600, abs=1e-6)

    @pytest.mark.parametrize(("days", "left"), [(6, 1), (30, 0), (30, -1)])
    def test_with_little_history_or_no_time_left_has_no_outlook(self, days: int, left: int) -> None:
        found = budget_outlook(
            spent=Decimal(0),
            limit=Decimal(10),
            at=NOW,
            period_end=NOW + timedelta(days=left),
            history=history([1.0] * days),
        )

        assert found is None
