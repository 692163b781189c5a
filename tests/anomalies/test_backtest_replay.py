"""A replay of stored costs finds what live detection found, when it found it."""

import io
import json
import math
import random
import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from alerts.signal import Severity
from anomalies import detect, series
from anomalies.backtest import plot
from anomalies.backtest.report import Run
from anomalies.backtest.run import Question, over_ledger
from anomalies.backtest.series import UnusableSeries
from anomalies.models import Anomaly, RulePolicy, Transition
from controls import budgets
from controls.models import Budget
from costs.models import HourlyCost, HourlyOutcome
from costs.periods import DAY, HOUR, Span
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes
from tests.costs.conftest import amount_event, usage_event


def replayed(rule: str, start: datetime, end: datetime, *personas: str, **levels: Decimal) -> Run:
    return over_ledger(Question(rule, levels=levels), Span(start, end), personas, "hour")


def happened(run: Run) -> list[tuple[datetime, str, str]]:
    found = [(each.at, str(each.change), str(each.severity)) for one in run.judge.incidents for each in one.events]
    return sorted(found)


def stored(rule: str) -> list[tuple[datetime, str, str]]:
    """What live detection wrote down."""
    transitions = Transition.objects.filter(anomaly__rule=rule)
    return sorted((each.at, each.change, each.severity) for each in transitions)


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


class TestReplayOfSpending:
    def live(self, posts: Posts, written: dict[int, list[str]], until: int) -> None:
        """Posts by the second after noon at which they are written; a look at each, and the sweeps between."""
        for second in range(0, until + 1, 5):
            at = NOON + timedelta(seconds=second)
            if second in written:
                posts.write(*written[second], at=at)
                detect.check_touched(at)
            elif second % 30 == 0:
                detect.sweep(at)

    @pytest.mark.parametrize(
        "written",
        [
            {0: ["0.02"], 65: ["0.09"]},
            {10: ["0.07"], 40: ["0.50"], 100: ["0.01"] * 9, 135: ["0.01"] * 10},
            {5: ["0.09"], 905: ["0.02"], 1000: ["0.30"]},
            {5: ["0.01"] * 5, 300: ["0.10"], 305: ["0.02"]},
        ],
    )
    def test_a_spike_is_found_when_live_detection_found_it(self, posts: Posts, written: dict[int, list[str]]) -> None:
        posts.write_history("0.02")
        self.live(posts, written, until=3000)

        run = replayed("cost_spike", NOON, NOON + minutes(60))

        assert stored("cost_spike")
        assert happened(run) == stored("cost_spike")

    def test_a_runaway_of_normal_posts_is_found_by_its_rate(self, posts: Posts) -> None:
        for number in range(60):
            posts.write("0.02", at=NOON - minutes(60) - minutes(5) * number)
        posts.write(*["0.02"] * 300, at=NOON + minutes(7))

        run = replayed("cost_spike", NOON, NOON + minutes(60))

        (incident,) = run.incidents
        assert incident.scope == {"persona_id": "ai_jesus", "reading": "spend_rate"}
        assert incident.opened_at == NOON + minutes(10)
        assert (incident.worst.current, incident.worst.baseline) == (Decimal(6), Decimal("0.02"))

    def test_other_levels_and_stored_policies_may_be_tried(self, posts: Posts) -> None:
        posts.write_history("0.02")
        posts.write("0.09")
        RulePolicy.objects.create(persona_id="ai_jesus", rule="cost_spike", medium=Decimal(10))

        assert replayed("cost_spike", NOON, NOON + HOUR).incidents == []
        assert len(replayed("cost_spike", NOON, NOON + HOUR, high=Decimal(4)).incidents) == 1

    def test_a_dear_post_is_found_and_ends_a_quarter_of_an_hour_later(self, posts: Posts) -> None:
        posts.write("0.04", "0.05")

        run = replayed("cost_threshold", NOON, NOON + HOUR)

        (incident,) = run.incidents
        assert (incident.opened_at, incident.ended_at) == (NOON, NOON + minutes(15))
        assert incident.excess == Decimal("0.01")

    def test_only_the_personas_that_are_named_are_replayed(self, ledger: Ledger, posts: Posts) -> None:
        posts.write("0.50")
        Posts(ledger, "other").write("0.50")

        assert len(replayed("cost_spike", NOON, NOON + HOUR).incidents) == 2
        assert len(replayed("cost_spike", NOON, NOON + HOUR, "other").incidents) == 1
        with pytest.raises(UnusableSeries, match="nobody had no costs"):
            replayed("cost_spike", NOON, NOON + HOUR, "nobody")


class TestReplayOfSeries:
    def write(self, ledger: Ledger, hours: int, *, seed: int = 3, planted: dict[int, int] | None = None) -> None:
        """Costs of each hour up to noon, a few cents around a daily rhythm."""
        noise = random.Random(seed)
        amounts = [
            (1 + 0.5 * math.sin(hour / 24 * 2 * math.pi) + noise.gauss(0, 0.05)) * (planted or {}).get(hour, 1)
            for hour in range(hours)
        ]
        ledger.record(
            [
                amount_event(
                    f"{amount:.4f}",
                    event_id=f"hour-{hour}",
                    persona_id="p",
                    timestamp=(NOON - HOUR * (hours - hour)).isoformat(),
                )
                for hour, amount in enumerate(amounts)
            ],
            at=NOON,
        )

    def test_the_learned_rule_finds_what_it_found_live(self, ledger: Ledger) -> None:
        self.write(ledger, 12 * 24, planted={11 * 24: 6, 11 * 24 + 12: 8})
        start = NOON - HOUR * 48
        for hour in range(49):
            series.catch_up(start + HOUR * hour + minutes(2))

        runs = [over_ledger(Question("learned"), Span(start, NOON), [], grain) for grain in ("hour", "five minutes")]

        assert all(happened(run) for run in runs)
        assert sorted(each for run in runs for each in happened(run)) == stored("learned")

    def test_silence_is_found_after_two_full_hours(self, ledger: Ledger) -> None:
        self.write(ledger, 120)

        run = replayed("no_data", NOON - HOUR, NOON + HOUR * 6)

        assert happened(run) == [(NOON + HOUR * 2, "opened", "low")]

    def test_usage_without_a_price_waits_from_its_booking_on(self, ledger: Ledger) -> None:
        event = usage_event(event_id="odd", persona_id="p", model="no-such-model", timestamp=NOON.isoformat())
        ledger.record([event], at=NOON + minutes(1))

        run = replayed("unpriced", NOON, NOON + HOUR)

        (incident,) = run.incidents
        assert (incident.scope["model"], incident.opened_at) == ("no-such-model", NOON + minutes(1))

    def test_a_month_of_fifty_personas_takes_less_than_a_minute(self, db: None) -> None:
        HourlyCost.objects.bulk_create(
            [
                HourlyCost(
                    hour=NOON - HOUR * hour, persona_id=f"p{persona}", provider="", cost_type="cdn", model="",
                    amount=Decimal(1 + (hour + persona) % 24), adjustments=0, events=1, unpriced=0, deviating=0,
                )
                for persona in range(50)
                for hour in range(1, 30 * 24)
            ],
            batch_size=5000,
        )  # fmt: skip
        began = time.process_time()

        run = replayed("learned", NOON - timedelta(days=30), NOON)

        assert run.looks == 50 * (30 * 24 - 1)
        assert time.process_time() - began < 60


class TestReplayOfOutcomes:
    @pytest.fixture(autouse=True)
    def _eight_days_that_went_well_and_one_that_did_not(self, ledger: Ledger) -> None:
        hours = range(9 * 24)
        ledger.record(
            [
                amount_event(
                    "0.1", event_id=f"e{hour}", persona_id="p", timestamp=(NOON - HOUR * (hour + 1)).isoformat()
                )
                for hour in hours
            ],
            at=NOON,
        )
        HourlyOutcome.objects.bulk_create(
            HourlyOutcome(
                persona_id="p",
                hour=NOON - HOUR * (hour + 1),
                kind=kind,
                quantity=20 if hour >= 24 else 5,
                amount=(Decimal("0.3") if hour >= 24 else Decimal("0.01")) * (kind == "revenue"),
                outcomes=1,
            )
            for hour in hours
            for kind in ("follow", "revenue")
        )

    @pytest.mark.parametrize("rule", ["efficiency_drop", "negative_roi"])
    def test_it_is_found_by_the_hour_as_live_detection_finds_it(self, rule: str) -> None:
        start = NOON - HOUR * 24
        for hour in range(1, 25):
            detect._sweep_outcomes(start + HOUR * hour - timedelta(seconds=1))

        run = replayed(rule, start, NOON)

        live = [(at + timedelta(seconds=1), change, severity) for at, change, severity in stored(rule)]
        assert happened(run) == live
        assert live[0][1] == "opened"
        assert run.excess is not None
        assert run.excess > 0

    def test_a_follow_that_costs_more_than_its_target_is_a_low_finding(self) -> None:
        run = replayed("cost_threshold", NOON - HOUR * 24, NOON)

        assert {each.severity for each in run.incidents if "reading" in each.scope} == {Severity.LOW}


class TestReplayOfBudgets:
    @pytest.fixture(autouse=True)
    def _a_daily_budget(self, ledger: Ledger) -> Budget:
        """$0.10 an hour for two days, $1 in one hour; made only now."""
        midnight = NOON.replace(hour=0)
        ledger.record(
            [
                amount_event(
                    "1" if hour == 34 else "0.1",
                    event_id=f"e{hour}",
                    persona_id="p",
                    timestamp=(midnight - HOUR * 36 + HOUR * hour).isoformat(),
                )
                for hour in range(48)
            ],
            at=NOON,
        )
        budget = Budget(name="daily", persona_id="p", period="daily", limit=Decimal("2.5"))
        return budgets.create(budget, actor="test", at=NOON)

    def test_it_fires_at_its_own_levels_and_ends_with_its_period(self) -> None:
        midnight = NOON.replace(hour=0)

        run = replayed("budget_overrun", midnight - HOUR * 24, NOON)

        assert happened(run) == [
            (midnight - HOUR * 5 + minutes(5), "opened", "medium"),
            (midnight - HOUR * 3 + minutes(5), "escalated", "high"),
            (midnight - HOUR * 2 + minutes(5), "escalated", "critical"),
            (midnight + minutes(5), "resolved", "critical"),
        ]
        (incident,) = run.incidents
        assert incident.excess == Decimal("0.8")

    def test_levels_that_are_tried_stand_above_its_own(self) -> None:
        assert replayed("budget_overrun", NOON - HOUR * 36, NOON, high=Decimal(900)).incidents == []

    def test_it_burns_too_fast(self) -> None:
        run = replayed("burn_rate", NOON - HOUR * 36, NOON, medium=Decimal(2), high=Decimal(8))

        assert run.incidents
        assert run.incidents[0].opened_at == NOON - HOUR * 14 + minutes(5)

    def test_its_outlook_is_that_of_each_hour(self, ledger: Ledger) -> None:
        assert replayed("forecast", NOON - HOUR * 12, NOON).looks == 0, "two days of history are no forecast"
        ledger.record(
            [
                amount_event("4", event_id=f"d{day}", persona_id="p", timestamp=(NOON - DAY * day).isoformat())
                for day in range(1, 20)
            ],
            at=NOON,
        )

        run = replayed("forecast", NOON - HOUR * 12, NOON)

        assert run.looks == 12
        assert run.incidents[0].severity is Severity.LOW

    def test_a_budget_of_a_model_has_no_five_minutes(self) -> None:
        other = Budget(name="of a model", model="gpt-4o", period="daily", limit=Decimal(1))
        budgets.create(other, actor="test", at=NOON)

        assert "of a model is left out" in " ".join(replayed("burn_rate", NOON - HOUR, NOON).notes)


class TestTheCommandOnStoredCosts:
    def test_it_replays_the_last_fourteen_days_of_everybody(self, ledger: Ledger) -> None:
        at = datetime.now(UTC) - timedelta(days=2)
        Posts(ledger).write("0.50", at=at)
        out = io.StringIO()

        call_command("backtest", "--rule", "cost_spike", stdout=out)

        assert "critical  ai_jesus, cost_per_post" in out.getvalue()
        assert "Stopped as soon as they opened, they would have cost $0.00 less." in out.getvalue()

    def test_a_period_may_be_named_by_dates(self, ledger: Ledger) -> None:
        Posts(ledger).write("0.50", at=NOON - timedelta(days=20))
        out = io.StringIO()

        call_command("backtest", "--rule", "cost_spike", "--from", "2026-11-04", "--to", "2026-11-04", stdout=out)

        assert "2026-11-04 00:00:00 to 2026-11-05 00:00:00 UTC" in out.getvalue()
        assert "1 incident" in out.getvalue()

    def test_a_period_that_is_none_is_refused(self, db: None) -> None:
        with pytest.raises(CommandError, match="--from must be a date"):
            call_command("backtest", "--rule", "cost_spike", "--from", "yesterday")
        with pytest.raises(CommandError, match=r"^--to must lie after --from\.$"):
            call_command("backtest", "--rule", "cost_spike", "--from", "2026-11-04", "--to", "2026-11-02")
        with pytest.raises(CommandError, match=r"^--to must lie after 20\d\d-\d\d-\d\d\.$"):
            call_command("backtest", "--rule", "cost_spike", "--to", "2010-01-01")

    @pytest.mark.parametrize("option", ["--from", "--to"])
    @pytest.mark.parametrize("ahead", [timedelta(minutes=1), timedelta(days=3000)])
    def test_the_future_is_called_so(self, db: None, option: str, ahead: timedelta) -> None:
        later = (datetime.now(UTC) + ahead).isoformat()

        with pytest.raises(CommandError, match=rf"^{option} {re.escape(later)} lies in the future: it is 20"):
            call_command("backtest", "--rule", "cost_spike", option, later)

    @pytest.mark.parametrize("arguments", [[], ["--from"], ["--to"]])
    def test_it_runs_until_now(self, ledger: Ledger, arguments: list[str]) -> None:
        Posts(ledger).write("0.50", at=datetime.now(UTC))
        today, out = f"{datetime.now(UTC):%Y-%m-%d}", io.StringIO()
        named = [argument for option in arguments for argument in (option, today)]

        call_command("backtest", "--rule", "cost_spike", "--format", "json", *named, stdout=out)

        told = json.loads(out.getvalue())
        assert len(told["incidents"]) == 1
        assert abs(datetime.fromisoformat(told["end"]) - datetime.now(UTC)) < minutes(1)

    def test_the_plot_shows_the_whole_period(self, ledger: Ledger, tmp_path: Path) -> None:
        posts = Posts(ledger)
        posts.write(*["0.01"] * 14, at=NOON - DAY, every=DAY)
        posts.write("0.50", at=NOON)
        page = tmp_path / "x.html"
        period = ["--from", "2026-11-11", "--to", "2026-11-24T13:00:00Z"]

        call_command("backtest", "--rule", "cost_spike", *period, "--plot", page, stdout=io.StringIO())

        (line,) = re.findall(r'class="value" points="([^"]+)"', page.read_text())
        places = {round(float(point.split(",")[0])) for point in line.split()}
        assert len(places) >= 14
        assert min(places) < plot.LEFT + 60
        assert max(places) > plot.WIDTH - plot.RIGHT - 10
        assert "<title>opened critical at 2026-11-24 12:00:00Z</title>" in page.read_text()
        assert [each[:6] for each in re.findall(r'class="time[^>]*>([^<]+)<', page.read_text())][::4] == [
            "11 Nov", "24 Nov",
        ]  # fmt: skip

    def test_an_hour_that_is_not_over_is_no_silence_and_no_drop(self, ledger: Ledger) -> None:
        Posts(ledger).write(*["1"] * 240, at=NOON - minutes(30), every=HOUR)
        until = NOON + minutes(59)

        assert replayed("no_data", NOON - HOUR, until).incidents == []
        assert replayed("learned", NOON - HOUR, until).incidents == []
        assert replayed("learned", NOON - HOUR, until).looks == 1

    def test_nothing_stored_is_no_error(self, db: None) -> None:
        out = io.StringIO()

        call_command("backtest", "--rule", "learned", stdout=out)

        assert "No incidents." in out.getvalue()

    def test_a_backtest_changes_nothing(self, posts: Posts) -> None:
        posts.write("0.50")

        replayed("cost_spike", NOON, NOON + HOUR)

        assert not Anomaly.objects.exists()
