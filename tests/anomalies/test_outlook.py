"""Forecasts out of the counters, over HTTP and on the command line: whose costs, which days, what still fits."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import path

from anomalies import capacity, outlook
from anomalies.api_forecast import ForecastView
from anomalies.capacity import Load, Reached, disk_full, rate_reached, told, weekly_growth
from controls.models import Usage
from costs.models import DailyCost, HourlyCost, Scope
from costs.periods import InvalidQuery
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)

urlpatterns = [path("forecast", ForecastView.as_view())]


def spend(amount: str, *, days: int, persona: str = "a", until: date = TODAY, **names: Any) -> None:
    """The same cost on each of the days before `until`."""
    names = {"provider": "openai", "cost_type": "openai_api", "model": "gpt-4o", "operation": ""} | names
    sums = {"adjustments": 0, "events": 10, "unpriced": 0, "deviating": 0} | {
        name: names.pop(name) for name in ("events", "unpriced") if name in names
    }
    DailyCost.objects.bulk_create(
        DailyCost(day=until - number * DAY, persona_id=persona, amount=Decimal(amount), **sums, **names)
        for number in range(1, days + 1)
    )


def spend_by_hour(amount: str, hours: list[int], *, days: int, persona: str = "a") -> None:
    midnight = NOW.replace(hour=0)
    HourlyCost.objects.bulk_create(
        HourlyCost(
            hour=midnight - number * DAY + timedelta(hours=hour),
            persona_id=persona,
            provider="openai",
            cost_type="openai_api",
            model="gpt-4o",
            amount=Decimal(amount),
            adjustments=0,
            events=36,
            unpriced=0,
            deviating=0,
        )
        for number in range(1, days + 1)
        for hour in hours
    )


def usage(**fields: Any) -> Usage:
    """A budget of $100 a month of which $80 are spent on the 24th at noon."""
    given = {
        "budget_id": 1,
        "name": "month",
        "scope": {},
        "period": "monthly",
        "timezone": "UTC",
        "limit": Decimal(100),
        "increase": Decimal(0),
        "spent": Decimal(80),
        "held": Decimal(0),
        "pending": Decimal(0),
        "starts_at": datetime(2026, 11, 1, tzinfo=UTC),
        "ends_at": datetime(2026, 12, 1, tzinfo=UTC),
        "hard": False,
        "warn_levels": (80, 85, 95),
        "created_at": datetime(2026, 11, 1, tzinfo=UTC),
        "ended_at": None,
        "revision": 1,
    }
    return Usage(**given | fields)  # type: ignore[arg-type]


@pytest.mark.django_db
class TestTheNextThirtyDays:
    def test_go_on_from_tomorrow(self) -> None:
        spend("2.5", days=40)

        found = outlook.outlook(at=NOW)

        assert (found["start_date"], found["end_date"]) == ("2026-11-25", "2026-12-24")
        assert found["total"]["expected"] == 75
        assert found["total"]["history"] == {"days": 40, "spent_last_30_days": 75, "unpriced_events": 0}
        assert found["series"] == []

    def test_are_read_from_what_the_drain_counted(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1.5", timestamp=NOW - number * DAY, persona_id="a") for number in range(1, 11)])

        assert outlook.outlook(at=NOW)["total"]["expected"] == 45

    @pytest.mark.parametrize(
        ("group_by", "names"),
        [("persona_id", ["b", "a"]), ("model", ["gpt-4o", None]), ("cost_type", ["openai_api", "cdn"])],
    )
    def test_are_told_by_group_the_dearest_first(self, group_by: str, names: list[str | None]) -> None:
        spend("3", days=20, persona="b")
        spend("1", days=20, persona="a", cost_type="cdn", model="", provider="")

        found = outlook.outlook(at=NOW, group_by=group_by)

        assert [series["key"] for series in found["series"]] == [{group_by: name} for name in names]
        assert [series["expected"] for series in found["series"]] == [90, 30]
        assert found["total"]["expected"] == 120

    def test_name_the_dearest_groups_and_count_the_others_in_the_total(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outlook, "MOST_SERIES", 2)
        for number in range(1, 6):
            spend(str(number), days=10, persona=f"p{number}")

        found = outlook.outlook(at=NOW, group_by="persona_id")

        assert [series["key"]["persona_id"] for series in found["series"]] == ["p5", "p4"]
        assert found["omitted_series"] == 3
        assert found["total"]["expected"] == 15 * 30

    def test_complete_the_running_day_and_leave_it_out_of_the_history(self) -> None:
        spend("24", days=10)
        spend("100", days=1, until=TODAY + DAY)

        found = outlook.outlook(at=NOW + timedelta(hours=6))["total"]

        assert found["today"] == {"spent": 100, "expected": 106, "low": 106, "high": 106}
        assert found["expected"] == 24 * 30

    def test_know_nothing_of_days_to_come(self) -> None:
        spend("1", days=10)
        spend("1000", days=1, until=TODAY + 2 * DAY)

        assert outlook.outlook(at=NOW)["total"]["expected"] == 30

    def test_count_days_without_costs_as_zero(self) -> None:
        spend("7", days=1)
        spend("7", days=1, until=TODAY - 20 * DAY)

        assert outlook.outlook(at=NOW)["total"]["history"]["days"] == 21

    @pytest.mark.parametrize(("days", "reason"), [(0, "No costs in the last 120 days."), (6, "Only 6 full days of")])
    def test_are_not_forecast_from_too_little_and_the_reason_is_said(self, days: int, reason: str) -> None:
        spend("1", days=days)

        found = outlook.outlook(at=NOW)["total"]

        assert found["reason"].startswith(reason)
        assert (found["method"], found["expected"], found["days"], found["backtest"]) == (None, None, [], None)

    def test_look_back_no_further_than_the_window(self) -> None:
        spend("1", days=400)

        assert outlook.outlook(at=NOW)["total"]["history"]["days"] == 120

    def test_tell_what_has_no_price_yet(self) -> None:
        spend("1", days=10, unpriced=2)

        assert outlook.outlook(at=NOW)["total"]["history"]["unpriced_events"] == 20

    def test_are_one_statement(self) -> None:
        spend("1", days=30)

        with CaptureQueriesContext(
            connection,
        ) as queries:
            outlook.outlook(at=NOW, group_by="persona_id", personas=["a"])

        assert len(queries) == 1

    def test_read_only_the_window_by_the_key_of_the_counter(self) -> None:
        spend("1", days=120)
        DailyCost.objects.bulk_create(
            DailyCost(
                day=date(2020, 1, 1) + number * DAY,
                persona_id="old",
                provider="",
                cost_type="cdn",
                model="",
                operation="",
                amount=1,
                adjustments=0,
                events=1,
                unpriced=0,
                deviating=0,
            )
            for number in range(2000)
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE costs_dailycost")
        with CaptureQueriesContext(connection) as queries:
            outlook.outlook(at=NOW, group_by="model")

        with connection.cursor() as cursor:
            # How dear a scan is depends on what other tests left in the file; whether the key serves does not.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {queries[0]['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())

        assert "costs_dailycost_pkey" in plan
        assert "Seq Scan on costs_dailycost" not in plan

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"group_by": "colour"}, "group_by"),
            ({"persona_id": ""}, "persona_id"),
            ({"persona_id": "\0"}, "persona_id"),
        ],
    )
    def test_refuse_a_question_without_an_answer(self, asked: dict[str, str], field: str) -> None:
        with pytest.raises(InvalidQuery) as refused:
            outlook.outlook(at=NOW, **asked)

        assert refused.value.field == field


@pytest.mark.django_db
class TestABudgetLasts:
    def test_until_the_day_that_the_forecast_tells(self) -> None:
        spend("4", days=30)

        found = outlook.of_budget(usage(), NOW)

        assert found is not None
        assert found.expected == 106
        assert found.exceeded_at == datetime(2026, 11, 29, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("scope", "expected"),
        [({"persona_id": "a"}, 106), ({"persona_id": "b"}, 93), ({"model": "gpt-4o", "cost_type": "openai_api"}, 119)],
    )
    def test_by_the_costs_of_its_own_scope(self, scope: dict[str, str], expected: int) -> None:
        spend("4", days=30)
        spend("2", days=30, persona="b")
        spend("50", days=30, persona="c", model="other")

        found = outlook.of_budget(usage(scope=scope), NOW)

        assert found is not None
        assert found.expected == expected

    def test_by_the_hours_in_which_it_is_spent(self) -> None:
        spend("4", days=30)
        spend_by_hour("2", [3, 9], days=14)

        found = outlook.of_budget(usage(ends_at=datetime(2026, 11, 25, tzinfo=UTC)), NOW)

        assert found is not None
        assert found.expected == 80

    def test_unknown_with_under_a_week_of_history(self) -> None:
        spend("4", days=6)

        assert outlook.of_budget(usage(), NOW) is None

    def test_is_one_statement(self) -> None:
        spend("4", days=30)

        with CaptureQueriesContext(connection) as queries:
            outlook.of_budget(usage(scope={"persona_id": "a"}), NOW)

        assert len(queries) == 1


@pytest.mark.django_db
@pytest.mark.urls(__name__)
class TestOverHTTP:
    @pytest.fixture(autouse=True)
    def _costs(self) -> None:
        today = datetime.now(UTC).date()
        spend("1", days=40, persona="mine", until=today)
        spend("10", days=40, persona="theirs", until=today)

    def test_everything_is_told_to_a_key_that_sees_everything(self) -> None:
        status, body = Caller.with_key().get("/forecast", group_by="persona_id")

        assert status == 200
        assert body["total"]["expected"] == 330
        assert [series["key"] for series in body["series"]] == [{"persona_id": "theirs"}, {"persona_id": "mine"}]
        assert body["total"]["backtest"]["sum_error"] == 0
        assert body["capacity"]["ledger"]["events"] == 800

    def test_a_bound_key_reads_only_its_own_persona_and_no_capacity(self) -> None:
        status, body = Caller.with_key(personas=["mine"]).get("/forecast", group_by="persona_id")

        assert status == 200
        assert body["total"]["expected"] == 30
        assert [series["key"] for series in body["series"]] == [{"persona_id": "mine"}]
        assert body["capacity"] is None

    def test_a_foreign_persona_looks_like_one_that_does_not_exist(self) -> None:
        caller = Caller.with_key(personas=["mine"])

        theirs, nobody = (caller.get("/forecast", persona_id=name)[1] for name in ("theirs", "nobody"))

        for body in (theirs, nobody):
            del body["made_at"], body["total"]["today"]
        assert theirs == nobody
        assert theirs["total"]["reason"] == "No costs in the last 120 days."

    @pytest.mark.parametrize("asked", [{"group_by": "operation"}, {"persona_id": "x" * 101}, {"days": "90"}])
    def test_a_question_without_an_answer_is_refused(self, asked: dict[str, str]) -> None:
        status, problem = Caller.with_key().get("/forecast", **asked)

        assert (status, problem["errors"][0]["path"]) == (422, next(iter(asked)))

    def test_it_takes_the_scope_of_reading_costs(self) -> None:
        assert Caller().get("/forecast")[0] == 401
        assert Caller.with_key(scopes=[Scope.EVENTS_WRITE]).get("/forecast")[0] == 403


@pytest.mark.django_db
class TestTheCommand:
    def run(self, *arguments: str) -> str:
        out = StringIO()
        call_command("forecast", *arguments, stdout=out)
        return out.getvalue()

    def test_prints_a_table_that_lines_up(self) -> None:
        today = datetime.now(UTC).date()
        spend("1234.5", days=40, persona="ai_jesus", until=today)
        spend("1", days=3, persona="newcomer", until=today, unpriced=1)

        lines = self.run("--group-by", "persona_id").splitlines()

        header, everything, first, newcomer = lines[3:7]
        assert header.split() == "last 30 days today next 30 days range method off by held".split()
        assert first.startswith("ai_jesus")
        assert "37,035.00" in first
        assert "no forecast" in newcomer
        assert len({line.index(text) for line, text in ((header, "method"), (first, "damped"), (newcomer, "no "))}) == 1
        assert everything.startswith("all ")
        assert "newcomer: Only 3 full days of history: a forecast needs 7." in lines
        assert "newcomer: 3 events have no price yet and are not in it." in lines

    def test_prints_small_costs_to_the_last_forecast_digit(self) -> None:
        spend("0.000004", days=20, until=datetime.now(UTC).date())

        assert "0.000120" in self.run()

    def test_ends_with_the_capacity(self) -> None:
        printed = self.run()

        assert "Drain rate" in printed
        assert "FINOPS_DISK_BYTES is not set" in printed

    def test_prints_everything_as_json(self) -> None:
        spend("1", days=20, persona="a", until=datetime.now(UTC).date())

        found = json.loads(self.run("--json", "--persona", "a"), parse_float=Decimal)

        assert found["total"]["expected"] == 30
        assert found["capacity"]["events_per_day"] == 10

    def test_refuses_what_is_no_name(self) -> None:
        with pytest.raises(CommandError, match="persona_id"):
            self.run("--persona", "x" * 101)


class TestGrowth:
    @pytest.mark.parametrize("days", [0, 7, 14, 20])
    def test_needs_three_weeks(self, days: int) -> None:
        assert weekly_growth([5] * days) is None

    @pytest.mark.parametrize("growth", [-0.2, 0.0, 0.1, 1.0])
    def test_is_the_share_from_week_to_week(self, growth: float) -> None:
        weeks = [7_000 * (1 + growth) ** number for number in range(6)]

        found = weekly_growth([round(week / 7) for week in weeks for _ in range(7)])

        assert found == pytest.approx(growth, abs=0.002)

    def test_is_not_moved_by_one_week(self) -> None:
        assert weekly_growth([100] * 35 + [5_000] * 7 + [100] * 14) == pytest.approx(0)


class TestWhatRunsOut:
    @pytest.mark.parametrize(
        ("peak", "growth", "on"),
        [(10_000.0, None, TODAY), (5_000.0, 1.0, TODAY + 7 * DAY), (2_500.0, 1.0, TODAY + 14 * DAY)],
    )
    def test_the_drain_rate_is_reached_by_growth(self, peak: float, growth: float | None, on: date) -> None:
        assert rate_reached(peak, 10_000, growth, TODAY) == Reached(on)

    @pytest.mark.parametrize(
        ("peak", "growth", "reason"),
        [
            (5.0, None, "A trend needs 3 weeks with events."),
            (5.0, 0.0, "The events do not grow."),
            (5.0, -0.1, "The events do not grow."),
            (0.0, 0.5, "The events do not grow."),
            (5.0, 0.001, "Not within 3 years."),
        ],
    )
    def test_or_it_is_said_why_not(self, peak: float, growth: float | None, reason: str) -> None:
        assert rate_reached(peak, 10_000, growth, TODAY) == Reached(None, reason)

    @pytest.mark.parametrize(
        ("free", "growth", "expected"),
        [
            (0.0, 0.0, Reached(TODAY)),
            (70.0, None, Reached(TODAY + 7 * DAY)),
            (70.0, 0.0, Reached(TODAY + 7 * DAY)),
            (70.0, 1.0, Reached(TODAY + 6 * DAY)),
            (70.0, -0.99, Reached(None, "The events become fewer.")),
            (1e12, 0.0, Reached(None, "Not within 3 years.")),
        ],
    )
    def test_the_disk_fills_up_by_what_each_day_brings(
        self, free: float, growth: float | None, expected: Reached
    ) -> None:
        assert disk_full(free, 10.0, growth, TODAY) == expected

    def test_the_size_of_few_events_says_nothing(self) -> None:
        load = Load(0, 0, (1,) * 21, events=999, partitions=4, ledger_bytes=10**6, database_bytes=10**7, months_ahead=3)

        found = told(load, NOW, drain_rate=10_000, disk_bytes=10**9)

        assert found["ledger"]["bytes_per_event"] is None
        assert found["disk"]["reason"] == "What a day brings cannot be told yet."

    def test_a_load_is_told_in_the_units_of_an_operator(self) -> None:
        load = Load(
            last_hour=3_600,
            peak_hour=7_200,
            days=(1_000,) * 21,
            events=100_000,
            partitions=4,
            ledger_bytes=10**8,
            database_bytes=2 * 10**8,
            months_ahead=3,
        )

        found = told(load, NOW, drain_rate=10_000, disk_bytes=10**9)

        assert found["events_per_second"] == {"last_hour": 1, "peak_hour_of_7_days": 2}
        assert (found["ledger"]["bytes_per_event"], found["ledger"]["growth_bytes_per_day"]) == (1_000, 1_000_000)
        assert found["partitions"] == {"months_ahead": 3, "last_until": "2027-03-01"}
        assert found["disk"]["full_on"] == (TODAY + 400 * DAY).isoformat()

    @pytest.mark.parametrize(("ahead", "until"), [(-1, "2026-11-01"), (0, "2026-12-01"), (1, "2027-01-01")])
    def test_partitions_end_with_the_last_month_that_has_one(self, ahead: int, until: str) -> None:
        load = Load(0, 0, (), events=0, partitions=0, ledger_bytes=0, database_bytes=0, months_ahead=ahead)

        assert told(load, NOW, drain_rate=1, disk_bytes=0)["partitions"]["last_until"] == until


@pytest.mark.django_db
def test_the_load_is_measured_on_the_counters_and_the_disk(ledger: Ledger) -> None:
    ledger.record([amount_event("1", timestamp=NOW - number * timedelta(minutes=40)) for number in range(1, 100)])
    spend_by_hour("1", [5], days=1, persona="busy")

    load = capacity.measure(NOW)

    assert (load.last_hour, load.peak_hour) == (1, 37)
    assert load.events == 99
    assert load.days == (9, 36, 36)
    assert load.partitions >= 1
    assert 0 < load.ledger_bytes < load.database_bytes
