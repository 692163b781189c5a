"""Detection and alerts in a real browser: from what was said down to its cause, and what a person does about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import expect

from alerts.acknowledge import acknowledge
from alerts.models import AlertGroup, Channel, Decision, Delivery, Route, Silence, State
from anomalies import incidents
from anomalies.models import Anomaly, RulePolicy, Tolerance
from tests.alerts.conftest import seed
from tests.anomalies.incidents import EVIDENCE, found, look, spike_of
from tests.anomalies.test_admin import one
from tests.end_to_end.audit_desk import LOOKS, NAME, address_of, audit_desk

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]
RULES = ("cost_threshold", "unpriced", "budget_overrun", "negative_roi", "forecast", "burn_rate", "no_data")
LISTS = ("anomalies_anomaly", "anomalies_rulepolicy", "anomalies_tolerance")
ALERT_LISTS = ("alertgroup", "delivery", "channel", "route", "silence", "decision")


def now() -> datetime:
    return datetime.now(UTC)


def test_an_anomaly_is_acknowledged_with_a_note() -> None:
    seed()
    spike_of("ai_jesus")

    with audit_desk() as desk:
        desk.follow("Anomalies")
        desk.follow("Cost spike")
        expect(desk.page.locator("#happened")).to_contain_text("6.7 times its baseline of $0.02.")
        desk.page.get_by_label("Note").fill("The new prompt.")
        desk.page.get_by_role("button", name="Acknowledge").click()
        expect(desk.page.locator("#history")).to_contain_text("The new prompt.")
        expect(desk.page.get_by_role("button", name="Acknowledge")).to_have_count(0)

    assert AlertGroup.objects.get().acknowledged_by == NAME


def test_a_false_alarm_is_called_with_the_keyboard_alone() -> None:
    seed()
    anomaly = spike_of("ai_jesus")

    with audit_desk() as desk:
        desk.open(address_of(anomaly))
        desk.tab_to("False alarm…")
        desk.page.keyboard.press("Enter")
        expect(desk.page.locator(".finops")).to_contain_text("up to 7.37 times its baseline is taken as normal")
        desk.tab_to("It is a false alarm")
        desk.page.keyboard.press("Enter")
        expect(desk.page.locator("body")).to_contain_text("Ended. As much is normal from now on.")

    assert Tolerance.objects.get().created_by == NAME


def test_a_silence_is_made_and_ended() -> None:
    seed()
    spike_of("ai_jesus")

    with audit_desk() as desk:
        desk.follow("Silences")
        desk.page.locator("a[href*='silence/add']").first.click()
        desk.page.locator("[name=persona_id]").fill("ai_jesus")
        desk.page.locator("[name=reason]").fill("a launch")
        desk.page.locator("button[name=_save]").click()
        desk.follow("any")
        desk.page.get_by_role("button", name="End now").click()
        expect(desk.page.locator("body")).to_contain_text("Ended: everything of ai_jesus until")

    assert Silence.objects.get().ended_by == NAME


def test_the_address_of_a_channel_is_written_and_never_shown() -> None:
    seed()

    with audit_desk() as desk:
        desk.follow("Channels")
        desk.follow("slack")
        desk.page.get_by_label("Webhook address").fill("https://hooks.slack.com/services/T/B/canary")
        desk.page.locator("button[name=_continue]").click()
        expect(desk.page.get_by_label("Webhook address", exact=True)).to_have_attribute(
            "placeholder", "kept: https://hooks.slack.com/•••"
        )
        afterwards = desk.page.content()

    assert "canary" not in afterwards
    assert Channel.objects.get(name="slack").settings == {"url": "https://hooks.slack.com/services/T/B/canary"}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_quiet_fits_and_is_within_reach_of_the_keyboard(look: str) -> None:
    pages = a_night_of_incidents()

    with audit_desk(**LOOKS[look]) as desk:
        troubles = desk.walk(pages, look)

    assert troubles == {}


def a_night_of_incidents() -> dict[str, str]:
    """Rows of every kind and state; returns the path of every page, by name."""
    seed()
    spike = spike_of("ai_jesus", score="3", current="0.06")
    found(look("6.7", scope=spike.scope))
    found(look("2.1", scope=spike.scope, current="0.042"))
    found(look("3.1", scope={"persona_id": "a_persona_with_quite_a_long_name", "reading": "spend_rate"}, current="4.2"))
    rows = {rule: one(rule, evidence=_evidence(rule)) for rule in RULES}
    over, false = spike_of("stoic_daily"), spike_of("night_owl")
    incidents.end([over], reason="calm again", at=now())
    incidents.mark_false_positive(false, actor="ann", at=now())
    group = AlertGroup.objects.get(persona_id="ai_jesus")
    acknowledge(group.pk, by="ann", at=now())
    return {**_lists(), **_pages(spike, over, false, rows, group), **_forms(spike)}


def _evidence(rule: str) -> dict[str, Any]:
    more: dict[str, dict[str, Any]] = {
        "burn_rate": {"burn": {"hour": "14.4", "five_minutes": "20", "six_hours": "6.1", "half_hour": "17"}},
        "forecast": {"exceeded_at": "2026-11-28T06:00:00Z", "expected": "120", "limit": "100"},
        "budget_overrun": {"limit": "100", "used_percent": "85"},
    }
    about = {"budget": "stoic, a month"} if rule in more else {"contributors": EVIDENCE["contributors"]}
    return {"window": EVIDENCE["window"], "driven_by": EVIDENCE["driven_by"], **about, **more.get(rule, {})}


def _lists() -> dict[str, str]:
    names = [*LISTS, *(f"alerts_{name}" for name in ALERT_LISTS)]
    return {name.replace("_", "-", 1): reverse(f"admin:{name}_changelist") for name in names}


def _pages(
    spike: Anomaly, over: Anomaly, false: Anomaly, rows: dict[str, Anomaly], group: AlertGroup
) -> dict[str, str]:
    deliveries(group)
    policy = RulePolicy.objects.create(rule="cost_spike", persona_id="ai_jesus", medium=4, high="4.5")
    silence = Silence.objects.create(
        persona_id="stoic_daily", starts_at=now(), ends_at=now() + timedelta(hours=4), owner="ann", reason="A launch."
    )
    gone = Silence.objects.create(
        rule="no_data", starts_at=now() - timedelta(hours=2), ends_at=now() + timedelta(hours=1), owner="ann",
        reason="The importer moves.",
    )  # fmt: skip
    gone.end("bob", now())
    slack, pager = Channel.objects.get(name="slack"), Channel.objects.get(name="pagerduty")
    slack.settings = {"url": "https://hooks.slack.com/services/T/B/x", "templates": {"anomaly": "${title}"}}
    slack.save()
    pager.switch_off("PagerDuty answered 400: Invalid routing key.", now())
    hook = Channel.objects.create(name="house hook", kind="webhook")
    shown: dict[str, Model] = {
        "anomaly": spike,
        "anomaly-over": over,
        "anomaly-false": false,
        **{f"anomaly-{rule}": row for rule, row in rows.items()},
        "incident": group,
        "decision": Decision.objects.filter(group=group)[0],
        "delivery-sent": Delivery.objects.filter(state=State.SENT)[0],
        "delivery-dead": Delivery.objects.dead()[0],
        "policy": policy,
        "tolerance": Tolerance.objects.get(),
        "silence": silence,
        "silence-over": gone,
        "channel-slack": slack,
        "channel-off": pager,
        "channel-email": Channel.objects.get(name="email"),
        "channel-hook": hook,
        "route": Route.objects.get(severity="critical"),
    }
    return {name: address_of(row) for name, row in shown.items()}


def _forms(spike: Anomaly) -> dict[str, str]:
    forms = ("anomalies_rulepolicy", "alerts_channel", "alerts_route", "alerts_silence")
    return {
        "false-alarm": reverse("admin:anomalies_false_positive", args=[spike.pk]),
        **{f"{name.split('_')[1]}-new": reverse(f"admin:{name}_add") for name in forms},
    }


def deliveries(group: AlertGroup) -> None:
    """As if channels had been there: one message that arrived, one that died, one that waits."""
    at = group.opened_at
    said = {
        "slack": {"state": State.SENT, "sent_at": at, "receipt": "ok", "attempts": 1},
        "pagerduty": {"state": State.DEAD, "error": "PagerDuty answered 400: Invalid routing key.", "attempts": 1},
        "email": {"state": State.PENDING, "error": "The mail server did not answer within 10 s.", "attempts": 3},
    }
    notice: dict[str, Any] = {
        "event": "opened",
        "dedup_key": group.dedup_key,
        "rule": group.rule,
        "severity": "critical",
    }
    notice |= {"persona_id": group.persona_id, "title": "Cost spike: ai_jesus", "at": at.isoformat(), "lines": []}
    for name, fields in said.items():
        Delivery.objects.create(
            group=group, sequence=1, channel=Channel.objects.get(name=name), event="opened", urgency=3, created_at=at,
            due_at=at, gives_up_at=at + timedelta(hours=24),
            stored_notice=notice | {"facts": [["current", "0.134"], ["multiplier", "6.7"]]}, **fields,
        )  # fmt: skip
    assert Decision.objects.filter(group=group).exists()
