"""Where the money goes, drawn: the figures are those of the breakdown, and every one leads to the rows behind it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from costs import metric_gauges
from costs.admin import post_costs, spending
from costs.admin.plots import Column, Kind, Level, Look, Plot, Row, mean
from costs.admin.posts import PostTotals, cumulated, steps_of
from costs.admin.spending import Period
from costs.attribution import Target
from costs.breakdown import breakdown
from costs.reprice import reprice_unpriced
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.test_admin import LINES, POSTS, clerk, find, give_a_price, read

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
TARGET = Target(Decimal("0.02"), Decimal(2))


def charge(amount: str, at: datetime = NOON, **fields: Any) -> dict[str, Any]:
    return amount_event(amount, timestamp=at.isoformat(), **fields)


def period(key: str = "7d", at: datetime = NOON) -> Period:
    return Period.of(key, at)


def groups(found: Period, name: str) -> dict[str, Decimal]:
    answer = breakdown(start_date=found.first.isoformat(), end_date=found.today.isoformat(), group_by=name)
    return {group["key"][name] or "": group["cost"] for group in answer["groups"]}


class TestPeriods:
    @pytest.mark.parametrize(
        ("key", "first", "steps"), [("today", "2026-11-24", 24), ("7d", "2026-11-18", 7), ("30d", "2026-10-26", 30)]
    )
    def test_end_with_today(self, key: str, first: str, steps: int) -> None:
        found = period(key)

        assert found.first.isoformat() == first
        assert len(found.steps) == steps

    @pytest.mark.parametrize("key", ["", "8d", "<script>"])
    def test_that_there_are_not_are_seven_days(self, key: str) -> None:
        assert period(key).key == "7d"


class TestSpending:
    def test_equals_the_breakdown_by_day_persona_model_and_type(self, ledger: Ledger) -> None:
        ledger.record(
            [
                charge("0.25", persona_id="ai_jesus", model="gpt-4o"),
                charge("0.000000000001", NOON - timedelta(days=6, hours=12, minutes=30), persona_id="stoic"),
                charge("9", NOON - timedelta(days=6, hours=12, minutes=31)),
                charge("0.5", NOON - timedelta(days=2), cost_type="kubernetes"),
            ],
            at=NOON,
        )
        asked = period()

        found = spending.read(asked)

        for name in ("persona_id", "model", "cost_type"):
            assert {key: named.amount for key, named in found.names[name].items()} == groups(asked, name)
        assert found.total == Decimal("0.750000000001")
        assert found.month == Decimal("9.750000000001")
        assert found.today == Decimal("0.25")

    def test_of_one_day_is_told_by_hours(self, ledger: Ledger) -> None:
        ledger.record([charge("1"), charge("2", NOON - timedelta(hours=1)), charge("4", NOON - timedelta(days=1))])

        found = spending.read(period("today"))
        plot = spending.over_time(found, NOON, {})

        assert {row.label: row.values[0] for row in plot.rows if row.values[0]} == {"11:00": 2, "12:00": 1}
        assert plot.rows[-1].label == "12:00"
        assert found.today == Decimal(3)

    def test_of_the_first_minutes_of_a_month_is_all_of_this_month(self, ledger: Ledger) -> None:
        first = datetime(2026, 11, 1, 0, 5, tzinfo=UTC)
        ledger.record([charge("1", first), charge("2", first - timedelta(minutes=6))])

        found = spending.read(period("7d", first))

        assert (found.month, found.today, found.total) == (Decimal(1), Decimal(1), Decimal(3))

    def test_the_dearest_names_come_first_and_the_rest_together(self, ledger: Ledger) -> None:
        ledger.record([charge(f"0.{number:02}", persona_id=f"p{number:02}") for number in range(1, 16)])

        by_persona = spending.ranks(spending.read(period()))[0]

        assert [row.label for row in by_persona.rows][:2] == ["p15", "p14"]
        assert by_persona.rows[-1] == Row("3 others", (Decimal("0.06"),))

    def test_a_name_whose_charges_have_no_price_says_so(self, ledger: Ledger) -> None:
        ledger.record([usage_event(model="gpt-99-imaginary", timestamp=NOON.isoformat())])

        by_model = spending.ranks(spending.read(period()))[1]

        assert [(row.label, row.note) for row in by_model.rows] == [("gpt-99-imaginary", "1 unpriced")]

    def test_what_is_expected_stands_beside_what_was_spent(self, ledger: Ledger) -> None:
        ledger.record([charge("1")])
        ahead = {NOON.date() + timedelta(days=1): Decimal("1.5")}

        plot = spending.over_time(spending.read(period()), NOON, ahead)

        assert [row.values for row in plot.rows[-2:]] == [(Decimal(1), None), (None, Decimal("1.5"))]
        assert [column.look for column in plot.columns] == [Look.SERIES, Look.EXPECTED]


class TestWhereAFigureLeads:
    def test_a_bar_s_lines_add_up_to_it(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([charge("0.25", persona_id="a"), charge("0.5", NOON - timedelta(days=3), persona_id="a")])
        ledger.record([charge("7", persona_id="b"), charge("9", NOON - timedelta(days=20), persona_id="a")])
        found = spending.read(period())

        for plot in (spending.over_time(found, NOON, {}), *spending.ranks(found)):
            for row in plot.rows:
                if row.url:
                    assert admin_client.get(row.url).context["totals"].amount == row.values[0]

    @pytest.mark.parametrize("field", ["persona_id", "model"])
    def test_what_has_no_name_leads_to_the_lines_without_one(
        self, admin_client: Client, ledger: Ledger, field: str
    ) -> None:
        ledger.record([charge(amount, NOON, **{field: name}) for amount, name in (("1", None), ("2", "a"), ("4", "-"))])
        rows = {row.label: row for plot in spending.ranks(spending.read(period())) for row in plot.rows}
        word = spending.NAMES[field]

        answer = admin_client.get(rows[f"no {word}"].url)

        assert f"Only lines without a {word}." in read(answer)
        assert answer.context["totals"].amount == Decimal(1)
        assert len(answer.context["page"].entries) == 1
        assert admin_client.get(rows[f"no {word}"].url, {"q": "nothing"}).status_code == 200

    @pytest.mark.parametrize("without", ["cost_type", "x", ""])
    def test_a_name_that_there_is_always_is_not_asked_for(
        self, admin_client: Client, ledger: Ledger, without: str
    ) -> None:
        ledger.record([charge("1", persona_id=None)])

        assert find(admin_client, without=without, start="2026-11-24").context["totals"].amount == Decimal(1)

    def test_what_leads_to_more_than_it_counts_says_so(self, ledger: Ledger) -> None:
        ledger.record([charge("0.03", post_id="a")], at=NOON)

        around = {key: post_costs.over_time(period(key), mean_costs(period(key))).around for key in spending.PERIODS}

        assert around == {"today": "the posts used that day", "7d": "", "30d": ""}

    def test_an_hour_s_lines_are_those_of_the_hour(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([charge("1"), charge("2", NOON.replace(minute=0)), charge("4", NOON.replace(hour=13, minute=0))])

        answer = admin_client.get(spending.hour_url(NOON))

        assert answer.context["totals"].amount == Decimal(3)
        assert "Only the hour that begins at 2026-11-24 12:00 UTC." in read(answer)

    @pytest.mark.parametrize("hour", ["24", "-1", "x", ""])
    def test_an_hour_that_there_is_not_counts_as_none(self, admin_client: Client, ledger: Ledger, hour: str) -> None:
        ledger.record([charge("1"), charge("2", NOON.replace(hour=3))])

        answer = find(admin_client, start="2026-11-24", end="2026-11-24", hour=hour)

        assert answer.context["totals"].amount == Decimal(3)

    def test_an_hour_without_a_day_means_nothing(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("1")])

        assert admin_client.get(LINES, {"hour": "3"}).context["totals"].amount == Decimal(1)


class TestCostPerPost:
    def test_is_the_mean_of_the_whole_cost_of_the_posts_used_then(self, ledger: Ledger) -> None:
        yesterday = NOON - timedelta(days=1)
        ledger.record(
            [
                charge("0.03", post_id="a"),
                charge("0.01", post_id="b"),
                charge("0.05", yesterday, post_id="b"),
                charge("5", yesterday),
            ],
            at=NOON,
        )

        found = mean_costs(period())

        assert found.today == post_costs.Posts(2, Decimal("0.09"))
        assert [posts.mean for posts in found.steps[-2:]] == [Decimal("0.06"), Decimal("0.045")]
        assert found.steps[0].mean is None

    def test_of_today_is_the_same_whatever_the_period(self, ledger: Ledger) -> None:
        ledger.record([charge("0.03", post_id="a"), charge("0.01", NOON - timedelta(hours=5), post_id="b")], at=NOON)

        found = [mean_costs(period(key)).today for key in spending.PERIODS]

        assert found == [post_costs.Posts(2, Decimal("0.04"))] * 3

    def test_of_few_lines_is_that_of_all_of_them(self, ledger: Ledger) -> None:
        ledger.record([charge("0.01", post_id=f"p{number}") for number in range(300)], at=NOON)

        found = mean_costs(period("30d"))

        assert found.today == post_costs.Posts(300, Decimal(3))
        assert found.is_whole

    def test_of_many_lines_is_that_of_the_latest_of_each_hour_and_says_so(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(post_costs, "TODAY_LINES", 48)
        old, new = NOON.replace(minute=1), NOON.replace(minute=20)
        ledger.record([charge("9", old, post_id=f"old{number}") for number in range(60)], at=NOON)
        ledger.record([charge("1", new, post_id=f"new{number}") for number in range(2)], at=NOON)

        found = mean_costs(period())

        assert found.steps[-1] == post_costs.Posts(2, Decimal(2))
        assert "Of busy days only" in post_costs.over_time(period(), found).note
        assert post_costs.touched_on(NOON.date()) == ["new0", "new1"]

    def test_of_a_busy_day_today_is_all_its_posts_as_they_were_last_added_up(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(post_costs, "TODAY_LINES", 48)
        yesterday, early = NOON - timedelta(days=1), NOON.replace(minute=1)
        ledger.record([charge("9", early, post_id=f"old{number}") for number in range(60)], at=NOON)
        ledger.record([charge("1", post_id="new"), charge("5", yesterday, post_id="new")], at=NOON)
        ledger.record([charge("0.5", yesterday, post_id="yesterday's"), charge("2", early, post_id=None)], at=NOON)
        ledger.record([charge("2", yesterday, post_id="new", persona_id="another")], at=NOON)
        before = mean_costs(period())

        metric_gauges.refresh(NOON)

        assert (before.today, before.today_at) == (None, None)
        for key in spending.PERIODS:
            found = mean_costs(period(key))
            assert (found.today, found.today_at) == (post_costs.Posts(61, Decimal(548)), NOON)

    def test_what_was_added_up_yesterday_is_not_today_s(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(post_costs, "TODAY_LINES", 48)
        ledger.record([charge("9", post_id=f"p{number}") for number in range(60)], at=NOON)

        metric_gauges.refresh(NOON - timedelta(hours=13))

        assert mean_costs(period()).today is None

    @pytest.mark.parametrize(
        ("charges", "most", "limits"),
        [
            ([10, 20, 30], 60, [None, None, None]),
            ([10, 20, 31], 60, [None, None, 1]),
            ([0, 4800, 9600], 9600, [None, None, 200]),
            ([9600, 9600], 9600, [200, 200]),
            ([], 9600, []),
        ],
    )
    def test_days_with_few_lines_leave_their_share_to_the_others(
        self, charges: list[int], most: int, limits: list[int | None]
    ) -> None:
        assert post_costs._limits(charges, most) == limits

    def test_has_the_target_and_the_alert_threshold_as_levels(self) -> None:
        assert [(level.name, level.value) for level in post_costs.levels(TARGET)] == [
            ("target", Decimal("0.02")),
            ("alert", Decimal("0.04")),
        ]

    def test_a_day_leads_to_its_posts(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([charge("0.03", post_id="a"), charge("0.01", NOON - timedelta(days=1), post_id="b")], at=NOON)

        text = read(admin_client.get(post_costs.posts_url(NOON.date())))

        assert "The posts with lines on 2026-11-24 (UTC)" in text
        assert "a $0.03" in text
        assert "b $0.01" not in text

    @pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "0001-01-01", "9999-12-31"])
    def test_a_day_that_cannot_be_is_no_error(self, admin_client: Client, day: str) -> None:
        assert admin_client.get(POSTS, {"day": day}).status_code == 200


class TestThePostOverTime:
    def test_grows_charge_by_charge_to_the_total(self, ledger: Ledger) -> None:
        ledger.record(
            [
                charge("0.01", NOON, post_id="p"),
                charge("0.03", NOON - timedelta(minutes=5), post_id="p"),
                usage_event(model="house-model", post_id="p", timestamp=(NOON + timedelta(minutes=1)).isoformat()),
            ]
        )
        give_a_price("house-model")
        reprice_unpriced(at=datetime.now(UTC))

        plot = cumulated(steps_of("p"), Decimal("0.0475"), TARGET)

        assert [row.values[0] for row in plot.rows] == [Decimal("0.03"), Decimal("0.04"), Decimal("0.0475")]
        assert plot.kind is Kind.STEPS

    def test_begins_with_what_the_charges_cost_that_are_not_shown(self, ledger: Ledger) -> None:
        ledger.record([charge("0.01", post_id="p")])

        (row,) = cumulated(steps_of("p"), Decimal("0.5"), TARGET).rows

        assert row.values == (Decimal("0.5"),)

    def test_of_a_charge_without_a_price_it_does_not_grow_and_says_why(self, ledger: Ledger) -> None:
        ledger.record([usage_event(model="gpt-99-imaginary", post_id="p")])

        (row,) = cumulated(steps_of("p"), Decimal(0), TARGET).rows

        assert (row.values, row.note) == ((Decimal(0),), "without a price")

    def test_stands_on_the_page_with_its_values_as_a_table(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([charge("0.01", post_id="p")])

        answer = admin_client.get(f"{reverse('admin:costs_post')}?id=p")

        assert 'data-value="0.010000000000"' in answer.content.decode()
        assert "What it had cost, charge by charge" in read(answer)


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
def test_all_of_a_post_s_page_is_of_one_moment(
    admin_client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record([charge("0.01", post_id="p")])

    def totals_after_another_booking(post_ids: list[str]) -> list[PostTotals]:
        with ThreadPoolExecutor(1) as another:
            another.submit(ledger.record, [charge("0.5", post_id="p")]).result()
            another.submit(connections.close_all).result()
        return totals(post_ids)

    totals = PostTotals.of
    monkeypatch.setattr(PostTotals, "of", totals_after_another_booking)

    context = admin_client.get(f"{reverse('admin:costs_post')}?id=p").context

    assert context["found"]["total_cost"] == context["totals"].amount == Decimal("0.01")
    assert [row.amount for row in context["by_type"]] == [Decimal("0.01")]
    assert [step.amount for step in context["steps"]] == [Decimal("0.01")]


class TestPlots:
    def test_print_every_digit_with_its_unit(self) -> None:
        dollars = plot_of("$", Decimal("1234.500000000001"))
        charges = plot_of("charges", Decimal(1200))

        assert dollars.table[0][1] == [("1234.500000000001", "$1,234.500000000001")]
        assert charges.table[0][1] == [("1200", "1,200 charges")]

    def test_without_values_are_empty(self) -> None:
        assert plot_of("$", None).is_empty
        assert plot_of("$", Decimal(0)).is_empty
        assert not plot_of("$", Decimal(-1)).is_empty

    def test_a_mean_has_12_decimals_and_of_nothing_there_is_none(self) -> None:
        assert mean(Decimal(1), 3) == Decimal("0.333333333333")
        assert mean(Decimal(0), 0) is None

    def test_an_auditor_without_rights_sees_none(self) -> None:
        assert clerk().get(POSTS, {"day": "2026-11-24"}).status_code == 403


def mean_costs(asked: Period) -> post_costs.PostCosts:
    return post_costs.read(asked, NOON, spending.read(asked).charges)


def plot_of(unit: str, value: Decimal | None) -> Plot:
    levels = (Level("target", Decimal("0.02"), Look.TARGET),)
    return Plot("one", "One", Kind.BARS, "Day", (Column("Spent"),), (Row("a", (value,)),), levels, unit=unit)
