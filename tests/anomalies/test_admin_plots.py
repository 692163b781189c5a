"""The page of an anomaly draws what its rule looked at, with the baseline and the moment when it was found."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from anomalies.admin.plots import plot_of
from anomalies.detectors import DETECTORS
from anomalies.models import Anomaly
from controls import budgets
from controls.models import Budget
from costs.admin.plots import Look, Plot
from costs.models import DeadLetter, HourlyOutcome
from tests.anomalies.conftest import NOON, Posts
from tests.anomalies.incidents import EVIDENCE, found, look
from tests.anomalies.test_admin import ONE_OF_EACH, page
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION, clerk, read

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def an(rule: str, **fields: Any) -> Anomaly:
    """One that was found at noon."""
    (anomaly,) = found(look(rule=rule, **{**ONE_OF_EACH[rule][0], **fields}), at=NOON)
    return anomaly


def charge(amount: str, at: datetime, **fields: Any) -> dict[str, Any]:
    return amount_event(amount, timestamp=at.isoformat(), **{"persona_id": "a", **fields})


def drawn(anomaly: Anomaly, at: datetime = NOON + HOUR) -> Plot:
    plot = plot_of(anomaly, at)
    assert plot is not None
    return plot


def points(plot: Plot) -> dict[str, Decimal]:
    """What is not zero, by the time of day."""
    return {row.label[11:16]: row.values[0] for row in plot.rows if row.values[0]}


class TestASpike:
    def test_of_posts_shows_each_post_with_its_whole_cost(self, ledger: Ledger) -> None:
        posts = Posts(ledger)
        usual, dear = posts.write("0.02", at=NOON - HOUR), posts.write("0.134", at=NOON)
        ledger.record([charge("0.01", NOON - 3 * HOUR, persona_id="ai_jesus", post_id=usual[0])], at=NOON)

        plot = drawn(an("cost_spike"))

        assert [(row.note, row.values) for row in plot.rows] == [
            (usual[0], (Decimal("0.03"),)),
            (dear[0], (Decimal("0.134"),)),
        ]
        assert [(level.name, level.value) for level in plot.levels] == [("baseline", Decimal("0.02"))]
        assert [(moment.name, moment.at) for moment in plot.moments] == [("found", NOON)]

    def test_of_the_rate_shows_five_minutes_and_what_came_after(self, ledger: Ledger) -> None:
        ledger.record([charge("1", NOON - timedelta(minutes=7)), charge("2", NOON + timedelta(minutes=6))], at=NOON)
        anomaly = an("cost_spike", scope={"persona_id": "a", "reading": "spend_rate"})

        plot = drawn(anomaly)

        assert points(plot) == {"11:50": 1, "12:05": 2}
        assert plot.rows[0].label.endswith("09:00:00") or plot.rows[0].label.endswith("08:55:00")

    def test_that_is_over_shows_when_it_ended(self, ledger: Ledger) -> None:
        ledger.record([charge("1", NOON)], at=NOON)
        anomaly = an("cost_spike", scope={"persona_id": "a", "reading": "spend_rate"})
        anomaly.resolved_at = NOON + timedelta(minutes=30)

        assert [moment.name for moment in drawn(anomaly).moments] == ["found", "ended"]

    def test_with_lines_of_others_only_has_no_plot(self, ledger: Ledger) -> None:
        Posts(ledger, "somebody_else").write("0.1", at=NOON)

        assert plot_of(an("cost_spike"), NOON) is None


class TestAThreshold:
    def test_of_a_post_shows_how_its_cost_grew(self, ledger: Ledger) -> None:
        ledger.record([charge("0.05", NOON, post_id="p"), charge("0.01", NOON - HOUR, post_id="p")], at=NOON)

        plot = drawn(an("cost_threshold"))

        assert [row.values[0] for row in plot.rows] == [Decimal("0.01"), Decimal("0.06")]
        assert [(level.name, level.value, level.look) for level in plot.levels] == [
            ("target", Decimal("0.02"), Look.TARGET),
            ("threshold", Decimal("0.04"), Look.ALERT),
        ]

    def test_of_follows_shows_what_one_cost_on_each_day(self, ledger: Ledger) -> None:
        ledger.record([charge("1", NOON - HOUR), charge("2", NOON - 25 * HOUR)], at=NOON)
        brought("follow", NOON - HOUR, "10")
        anomaly = an("cost_threshold", scope={"persona_id": "a", "reading": "cost_per_follow"}, evidence=until(NOON))

        plot = drawn(anomaly)

        assert [row.values[0] for row in plot.rows][-2:] == [None, Decimal("0.1")]
        assert plot.levels[0].name == "target"


class TestOutcomes:
    def test_efficiency_is_what_a_dollar_brought_on_each_day(self, ledger: Ledger) -> None:
        ledger.record([charge("2", NOON - HOUR), charge("1", NOON - 25 * HOUR)], at=NOON)
        brought("follow", NOON - HOUR, "16")
        brought("follow", NOON - 25 * HOUR, "20")

        plot = drawn(an("efficiency_drop", evidence=until(NOON)))

        assert [row.values[0] for row in plot.rows][-2:] == [20, 8]
        assert plot.levels[0].value == 20

    def test_a_return_is_in_per_cent_and_may_be_negative(self, ledger: Ledger) -> None:
        ledger.record([charge("2", NOON - HOUR)], at=NOON)
        HourlyOutcome.objects.create(
            persona_id="a", hour=NOON - HOUR, kind="revenue", quantity=0, amount=Decimal("0.8"), outcomes=1
        )

        plot = drawn(an("negative_roi", evidence=until(NOON)))

        assert plot.rows[-1].values == (Decimal(-60),)
        assert plot.table[-1][1][0][1] == "-60 %"

    @pytest.mark.parametrize(
        "evidence", [{}, {"window": "now"}, {"window": {"end": "soon"}}, {"window": {"end": None}}]
    )
    def test_evidence_that_says_nothing_ends_with_the_hour(self, ledger: Ledger, evidence: dict[str, Any]) -> None:
        ledger.record([charge("2", NOON)], at=NOON)
        brought("follow", NOON, "16")

        anomaly = an("efficiency_drop")
        anomaly.evidence = evidence

        assert drawn(anomaly).rows[-1].values == (Decimal(8),)


class TestBudgets:
    @pytest.mark.parametrize("rule", ["budget_overrun", "forecast", "burn_rate"])
    def test_show_what_was_spent_of_the_period_against_the_limit(self, ledger: Ledger, rule: str) -> None:
        made = Budget(name="a day", persona_id="a", period="daily", limit=Decimal(10))
        budget = budgets.create(made, actor="ann", at=NOON - 12 * HOUR)
        ledger.record([charge("4", NOON - HOUR), charge("5", NOON - 2 * HOUR), charge("7", NOON - 13 * HOUR)], at=NOON)
        ledger.record([charge("9", NOON, persona_id="b")], at=NOON)

        plot = drawn(of_budget(rule, budget))

        assert [row.values[0] for row in plot.rows if row.label.endswith(("00:00:00", "11:00:00", "12:00:00"))] == [
            0,
            5,
            9,
        ]
        assert plot.levels[0].value == 10

    @pytest.mark.parametrize("rule", ["budget_overrun", "forecast", "burn_rate"])
    def test_show_the_limit_of_the_time_when_it_was_found(self, ledger: Ledger, rule: str) -> None:
        made = Budget(name="a day", persona_id="a", period="daily", limit=Decimal(10))
        budget = budgets.create(made, actor="ann", at=NOON - 12 * HOUR)
        budgets.revise(budget.pk, {"limit": Decimal(50)}, actor="ann", at=NOON + timedelta(minutes=1))
        ledger.record([charge("4", NOON - HOUR)], at=NOON)

        (level,) = drawn(of_budget(rule, budget)).levels

        assert (level.name, level.value) == ("limit when found", Decimal(10))

    @pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin"])
    def test_count_the_period_of_their_zone_to_the_minute(self, ledger: Ledger, zone: str) -> None:
        made = Budget(name="a day", persona_id="a", period="daily", timezone=zone, limit=Decimal(10))
        budget = budgets.create(made, actor="ann", at=NOON - 30 * HOUR)
        period, minute = budget.span_at(NOON), timedelta(minutes=1)
        for amount, at in (("1", period.start - minute), ("2", period.start), ("4", period.start + HOUR)):
            ledger.record([charge(amount, at)], at=at)
        for amount, at in (("8", period.end - minute), ("16", period.end)):
            ledger.record([charge(amount, at)], at=at)

        plot = drawn(of_budget("budget_overrun", budget), at=period.end + 3 * HOUR)

        assert (plot.rows[0].at, plot.rows[-1].at) == (period.start, period.end)
        assert plot.rows[-1].values == (budget.period_at(NOON).spent,) == (Decimal(14),)

    def test_that_are_not_there_have_no_plot(self) -> None:
        assert plot_of(an("budget_overrun"), NOON) is None


class TestTheOthers:
    def test_a_learned_hour_stands_among_the_hours_before(self, ledger: Ledger) -> None:
        ledger.record([charge("3", NOON - HOUR), charge("1", NOON - 20 * HOUR)], at=NOON)

        plot = drawn(an("learned"))

        assert points(plot) == {"11:00": 3, "16:00": 1}
        assert plot.levels[0].name == "expected when found"

    def test_learned_five_minutes_stand_among_those_before(self, ledger: Ledger) -> None:
        ledger.record([charge("3", NOON - timedelta(minutes=9))], at=NOON)

        assert points(drawn(an("learned", scope={"persona_id": "a", "grain": "five minutes"}))) == {"11:50": 3}

    def test_silence_is_what_follows_a_week_of_costs(self, ledger: Ledger) -> None:
        ledger.record([charge("1", NOON - 3 * HOUR), charge("2", NOON - 160 * HOUR)], at=NOON)

        plot = drawn(an("no_data"))

        assert len(plot.rows) == 7 * 24 + 1
        assert plot.rows[-1].values == (Decimal(0),)

    def test_charges_without_a_price_are_counted_by_hour(self, ledger: Ledger) -> None:
        ledger.record([usage_event(model="gpt-99", timestamp=(NOON - HOUR).isoformat())], at=NOON)
        scope = {"provider": "openai", "model": "gpt-99", "cost_type": "openai_api"}

        plot = drawn(an("unpriced", scope=scope))

        assert points(plot) == {"11:00": 1}
        assert plot.unit == "charges"

    def test_dead_letters_are_counted_by_hour(self, ledger: Ledger) -> None:
        ledger.record([usage_event(usage=CONTRADICTION)], source="studio", at=NOON)
        DeadLetter.objects.update(created_at=NOON - HOUR)

        assert points(drawn(an("dead_letters"))) == {"11:00": 1}

    @pytest.mark.parametrize("rule", DETECTORS)
    def test_every_rule_s_page_opens_with_an_empty_ledger(self, admin_client: Client, rule: str) -> None:
        assert admin_client.get(page(an(rule))).status_code == 200


class TestThePage:
    def test_shows_the_plot_to_who_may_see_the_ledger(self, admin_client: Client, ledger: Ledger) -> None:
        Posts(ledger).write("0.134", at=NOON)
        anomaly = an("cost_spike")

        assert "found 2026-11-24 12:00:00 UTC" in read(admin_client.get(page(anomaly)))
        assert "Posts, each with its whole cost" not in read(clerk("view_anomaly").get(page(anomaly)))

    def test_a_row_leads_to_the_rows_behind_it(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record(
            [charge("3", NOON - HOUR), charge("9", NOON - 2 * HOUR), charge("7", NOON - HOUR, persona_id="b")]
        )

        (row,) = [row for row in drawn(an("learned")).rows if row.values == (Decimal(3),)]

        assert admin_client.get(row.url).context["totals"].amount == 3

    def test_a_row_that_leads_to_more_than_it_counts_says_so(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([charge("3", NOON - timedelta(minutes=9))], at=NOON)
        five_minutes = an("learned", scope={"persona_id": "a", "grain": "five minutes"})

        assert drawn(an("learned")).around == ""
        assert (
            'aria-label="2026-11-24 11:50:00: the lines around it"'
            in admin_client.get(page(five_minutes)).content.decode()
        )

    def test_leads_to_the_forms_of_others_filled_in(self, admin_client: Client) -> None:
        anomaly = an("cost_spike")

        context = admin_client.get(page(anomaly)).context
        silence = admin_client.get(context["silence_url"]).content.decode()
        breaker = admin_client.get(context["override_url"]).content.decode()

        assert 'value="ai_jesus"' in silence
        assert f'value="Cost spike {anomaly.pk}"' in silence
        assert f'value="Cost spike {anomaly.pk}"' in breaker

    def test_overrules_nobody_where_it_is_about_nobody(self, admin_client: Client) -> None:
        text = read(admin_client.get(page(an("dead_letters"))))

        assert "Overrule the breaker" not in text

    def test_offers_no_word_to_who_may_say_none(self) -> None:
        text = read(clerk("view_anomaly").get(page(an("cost_spike"))))

        assert "Overrule the breaker" not in text
        assert "Silence for longer" not in text

    def test_overrules_where_the_page_of_the_breaker_may_be_seen(self) -> None:
        asked = page(an("cost_spike"))

        assert "Overrule the breaker" not in read(clerk("view_anomaly", "add_override").get(asked))
        User.objects.all().delete()
        assert "Overrule the breaker" in read(clerk("view_anomaly", "add_override", "view_control").get(asked))

    def test_shows_lines_and_links_to_them_to_who_may_see_the_ledger(self, admin_client: Client) -> None:
        anomaly = an("cost_threshold", evidence=EVIDENCE)

        everything = read(admin_client.get(page(anomaly)))
        answer = clerk("view_anomaly").get(page(anomaly))

        assert "The dearest events" in everything
        assert "What drove it" in everything
        assert "The dearest events" not in read(answer)
        assert "What drove it" not in read(answer)
        assert reverse("admin:costs_post") not in answer.content.decode()

    def test_a_reason_in_the_address_is_cut_to_what_the_form_takes(self, admin_client: Client) -> None:
        answer = admin_client.get(reverse("admin:controls_control_change", args=["a"]), {"reason": "x" * 600})

        assert f'value="{"x" * 500}"' in answer.content.decode()


def brought(kind: str, at: datetime, quantity: str) -> None:
    HourlyOutcome.objects.create(
        persona_id="a", hour=at.replace(minute=0), kind=kind, quantity=Decimal(quantity), amount=0, outcomes=1
    )


def of_budget(rule: str, budget: Budget) -> Anomaly:
    baseline = "1" if rule == "burn_rate" else "10"
    return an(rule, scope={"persona_id": "a", "budget_id": str(budget.pk)}, baseline=baseline)


def until(end: datetime) -> dict[str, Any]:
    return {"window": {"start": (end - 24 * HOUR).isoformat(), "end": end.isoformat()}}
