"""The first page: its figures, whom each is for, what is to come, and that it stays fast."""

import re
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from alerts.models import Channel
from anomalies import outlook
from controls import budgets
from controls.models import Budget
from costs import metric_gauges, schedule
from costs.admin import post_costs
from costs.breakdown import breakdown
from costs.models import ScheduledRun
from tests.anomalies.incidents import spike_of
from tests.controls.rows import make_control, make_hold
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION, clerk, read

pytestmark = pytest.mark.django_db
HOME, FIGURES = reverse("admin:index"), reverse("admin:overview_figures")


def now() -> datetime:
    return datetime.now(UTC)


def days_of(ledger: Ledger, days: int, amount: str = "1") -> None:
    """So much a day up to yesterday, and half of it today."""
    times = [now() - timedelta(days=back) for back in range(1, days + 1)]
    events = [amount_event(amount, timestamp=at.isoformat(), persona_id="ai_jesus") for at in times]
    ledger.record([*events, amount_event(str(Decimal(amount) / 2), persona_id="ai_jesus")])


def limit(amount: str, period: str = "daily", **scope: str) -> Budget:
    return budgets.create(
        Budget(name=f"{amount} {period}", period=period, limit=Decimal(amount), **scope), actor="ann", at=now()
    )


class TestMoney:
    def test_is_the_breakdown_s_to_the_last_digit(self, admin_client: Client, ledger: Ledger) -> None:
        days_of(ledger, 3, "0.123456789012")
        today = now().date()

        spending = admin_client.get(HOME).context["spending"]

        for first, shown in ((today, spending.today), (today.replace(day=1), spending.month)):
            assert shown == breakdown(start_date=first.isoformat(), end_date=today.isoformat())["total_cost"]

    def test_is_rounded_for_eyes_and_exact_for_who_points_at_it(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("0.123456789012")])

        page = admin_client.get(HOME).content.decode()

        assert '<span title="$0.123456789012">$0.1235</span>' in page

    def test_stands_against_the_budget_of_everything(self, admin_client: Client, ledger: Ledger) -> None:
        limit("10")
        limit("8")
        limit("1", persona_id="ai_jesus")
        limit("100", "monthly")
        ledger.record([amount_event("2")])

        text = read(admin_client.get(HOME))

        assert "25 % of the budget of $8 a day" in text
        assert "2 % of the budget of $100 a month" in text

    def test_stands_against_a_budget_of_another_zone_with_what_that_one_counts(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        budgets.create(
            Budget(name="theirs", period="monthly", timezone="Pacific/Kiritimati", limit=Decimal(100)),
            actor="ann",
            at=now(),
        )
        starts_at = Budget.objects.get().span_at(now()).start
        ledger.record([amount_event("2", timestamp=(starts_at + timedelta(seconds=1)).isoformat())])
        ledger.record([amount_event("4", timestamp=(starts_at - timedelta(seconds=1)).isoformat())])

        text = read(admin_client.get(HOME))

        assert "2 % of the budget of $100 a month by Pacific/Kiritimati, where $2 is spent since " in text
        assert "no budget a month for everything" not in text
        limit("50", "monthly")
        assert "of the budget of $50 a month " in read(admin_client.get(HOME))

    def test_says_that_there_is_no_such_budget(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("2")])

        assert "no budget a day for everything" in read(admin_client.get(HOME))

    def test_is_forecast_as_budgets_are(self, admin_client: Client, ledger: Ledger) -> None:
        days_of(ledger, 20)
        limit("10")

        context = admin_client.get(HOME).context

        (row,) = context["budgets"]
        assert context["ahead"].today == pytest.approx(row.outlook.expected)
        assert context["spending"].today <= context["ahead"].today <= Decimal(2)
        assert context["ahead"].month > context["spending"].month

    def test_the_next_days_are_those_of_the_forecast(self, admin_client: Client, ledger: Ledger) -> None:
        days_of(ledger, 20)

        plot = admin_client.get(HOME, {"period": "30d"}).context["plots"]["over_time"][0]

        days = {day["day"]: day["expected"] for day in outlook.outlook(at=now())["total"]["days"][:7]}
        assert {row.label: row.values[1] for row in plot.rows if row.values[1] is not None} == days

    def test_says_why_there_is_no_forecast_yet(self, admin_client: Client, ledger: Ledger) -> None:
        days_of(ledger, 3)

        assert "Only 3 full days of history: a forecast needs 7." in read(admin_client.get(HOME))

    @pytest.mark.parametrize(
        ("amounts", "words"),
        [
            (["0.02"], "$0.02 within the target 1 post"),
            (["0.020000000002", "0.02"], "above the target 2 posts"),
            (["0.04"], "above the target"),
            (["0.040000000001"], "above the alert threshold"),
        ],
    )
    def test_a_post_s_cost_stands_against_the_target(
        self, admin_client: Client, ledger: Ledger, amounts: list[str], words: str
    ) -> None:
        ledger.record([amount_event(amount, post_id=f"post_{place}") for place, amount in enumerate(amounts)])

        text = read(admin_client.get(HOME))

        assert words in text
        assert "target $0.02, alert above $0.04" in text

    def test_of_a_busy_day_a_post_s_cost_says_when_it_was_added_up(
        self, admin_client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(post_costs, "TODAY_LINES", 1)
        ledger.record([amount_event("0.01", post_id="a"), amount_event("0.02", post_id="b")])
        assert "Cost per post, today not added up yet target $0.02" in read(admin_client.get(HOME))

        at = now()
        metric_gauges.refresh(at)

        assert f"$0.015 within the target 2 posts, as of {at:%H:%M:%S} UTC" in read(admin_client.get(HOME))

    def test_what_was_saved_this_month_is_what_its_page_says(self, admin_client: Client) -> None:
        make_hold(state="settled", actual=Decimal("0.25"), asked_actual=Decimal(1), closed_at=now())

        home = admin_client.get(HOME)

        assert home.context["saved"]["saved"] == Decimal("0.75")
        assert "Saved this month $0.75" in read(home)
        assert admin_client.get(home.context["saved"]["url"]).context["found"]["saved"] == Decimal("0.75")


class TestWhatIsWrongNow:
    def test_open_anomalies_are_counted_and_the_worst_are_told(self, admin_client: Client) -> None:
        for number in range(5):
            spike_of(f"p{number}", score="3")
        worst = spike_of("zealot")

        text = read(admin_client.get(HOME))

        assert "Open anomalies 6 critical 1 medium 5" in text
        assert f"critical Cost spike {worst.pk} A post of zealot costs $0.134, 6.7 times" in text
        assert "The 5 worst of 6." in text

    def test_what_is_over_is_not_wrong(self, admin_client: Client) -> None:
        anomaly = spike_of("a")
        anomaly.resolved_at = now()
        anomaly.save()

        assert "Open anomalies 0 nothing is unusual" in read(admin_client.get(HOME))

    def test_all_that_waits_for_somebody(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(model="gpt-99-imaginary"), usage_event(event_id="broken", usage=CONTRADICTION)])
        ledger.accept([amount_event("1")])
        make_control("throttled")

        text = read(admin_client.get(HOME))

        assert "Charges without a price 1 add prices" in text
        assert "Open dead letters 1 look and replay" in text
        assert "Held back now 1" in text
        assert re.search(r"Events that wait 1 the oldest since \S+ \S+ UTC", text)
        assert "Latest charges without a price" in text

    def test_an_event_that_waits_too_long_says_so(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.accept([amount_event("1")])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE costs_inboxrow SET received_at = now() - interval '31 seconds'")

        assert "Events that wait 1 too long the oldest since" in read(admin_client.get(HOME))

    def test_beat_is_on_time_overdue_or_was_never_seen(self, admin_client: Client) -> None:
        # Else what never ran since the tests began is overdue too.
        MigrationRecorder.Migration.objects.update(applied=now())
        assert "Schedule not seen yet is beat running?" in read(admin_client.get(HOME))

        run = ScheduledRun.objects.create(entry="inbox-sweep", started_at=now(), ended_at=now(), seconds=0.1, runs=1)
        assert "Schedule on time last run" in read(admin_client.get(HOME))

        run.ended_at = now() - timedelta(minutes=10)
        run.save()
        assert "Schedule 1 overdue is beat running? last run" in read(admin_client.get(HOME))

    def test_beat_says_what_fails_and_what_never_ran(self, admin_client: Client) -> None:
        at, ages_ago = now(), now() - timedelta(days=2)
        well = {"started_at": at, "ended_at": at, "seconds": 0.1, "runs": 9}
        names = [entry.name for entry in schedule.entries()]
        MigrationRecorder.Migration.objects.update(applied=ages_ago)
        ScheduledRun.objects.bulk_create(ScheduledRun(entry=name, **well) for name in names[2:])
        ScheduledRun.objects.filter(entry=names[-1]).update(failed_at=at, failures=9)

        text = read(admin_client.get(HOME))

        assert "Schedule 2 never ran, 1 failing is beat running? see the last errors last run" in text

    def test_channels_that_are_switched_off_are_named(self, admin_client: Client) -> None:
        Channel.objects.all().delete()
        assert "Alert channels none nobody is told" in read(admin_client.get(HOME))

        Channel.objects.create(name="chat", kind="slack")
        assert "Alert channels all 1 on" in read(admin_client.get(HOME))

        Channel.objects.create(name="pager", kind="pagerduty", enabled=False)
        assert "Alert channels 1 of 2 off switched off pager" in read(admin_client.get(HOME))

    def test_what_ready_knows_and_no_page_shows_is_told(self, admin_client: Client, settings: Settings) -> None:
        assert "System Partitions: well Redis: well" in read(admin_client.get(HOME))

        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"

            text = read(admin_client.get(HOME))

        assert "Redis: not well Redis does not answer" in text

    def test_budgets_come_with_the_most_used_first(self, admin_client: Client, ledger: Ledger) -> None:
        for number in range(6):
            limit("100", persona_id=f"p{number}")
        limit("4", "monthly", persona_id="ai_jesus")
        ledger.record([amount_event("3.8", persona_id="ai_jesus")])

        text = read(admin_client.get(HOME))

        assert "4 monthly ai_jesus $3.8 $4 a month 95 % 95 % reached needs a week of history" in text
        assert "The 5 most used of 7." in text


class TestForWhom:
    PARTS = (
        *("Today (UTC)", "Open anomalies", "budget", "Held back", "Saved", "dead letters", "Schedule", "that wait"),
        *("Alert channels", "System"),
    )

    def test_nobody_s_part_is_shown_to_who_may_not_see_its_pages(self) -> None:
        spike_of("ai_jesus")
        limit("10")

        _, _, text = read(clerk().get(HOME)).partition("Read at")

        assert [words for words in self.PARTS if words in text] == []

    @pytest.mark.parametrize(
        ("right", "words"),
        [
            ("view_costevent", "Today (UTC)"),
            ("view_anomaly", "Open anomalies"),
            ("view_budget", "No budget is set"),
            ("view_control", "Held back now"),
            ("view_hold", "Saved this month"),
            ("view_deadletter", "Open dead letters"),
            ("view_inboxrow", "Events that wait"),
            ("view_scheduledrun", "not seen yet"),
            ("view_scheduledrun", "Redis: well"),
            ("view_channel", "Alert channels"),
        ],
    )
    def test_each_part_is_there_for_its_own_right(self, right: str, words: str) -> None:
        assert words in read(clerk(right).get(HOME))

    def test_the_figures_alone_are_for_staff_and_never_kept(self, admin_client: Client) -> None:
        answer = admin_client.get(FIGURES, {"period": "today"})

        assert "no-store" in answer["Cache-Control"]
        assert "<html" not in answer.content.decode()
        assert "Today (UTC)" in read(answer)

    def test_a_stranger_s_figures_are_the_login(self, client: Client) -> None:
        assert client.get(FIGURES).status_code == 302


class TestWithNothingInIt:
    def test_it_says_what_to_do_next(self, admin_client: Client) -> None:
        text = read(admin_client.get(HOME))

        assert "Nothing was booked yet" in text
        assert "curl -s http://127.0.0.1:8080/costs/events" in text
        assert "Make an API key" in text

    def test_its_curl_line_is_the_one_of_the_readme(self, admin_client: Client) -> None:
        body = '"usage": {"input_tokens": 1000, "output_tokens": 500}}'

        assert body in read(admin_client.get(HOME))
        with open("README.md") as readme:
            assert body in readme.read()

    def test_who_may_make_no_key_asks_for_one(self) -> None:
        assert "Ask for an API key" in read(clerk("view_costevent").get(HOME))

    def test_an_event_that_waits_is_not_nothing(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.accept([amount_event("1")])

        assert "Nothing was booked yet" not in read(admin_client.get(HOME))
