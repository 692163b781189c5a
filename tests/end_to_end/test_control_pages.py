"""The controls in a real browser: stopping the spending in an emergency, and every page of theirs in every look."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import expect

from controls import budgets, increases, overrides
from controls.models import Budget, BudgetPeriod, Control, Override, Policy, Switch
from tests.controls.conftest import make_budget
from tests.controls.rows import HOUR, make_control, make_hold, make_refusal, make_transition
from tests.end_to_end.audit_desk import LOOKS, NAME, address_of, audit_desk

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox"]),
    pytest.mark.slow,
]
LISTS = ("control", "override", "controltransition", "budget", "hold", "refusal", "policy", "switch", "settingchange")
LONG = "a_persona_with_quite_a_long_name"


def now() -> datetime:
    return datetime.now(UTC)


def test_everything_is_paused_and_let_go_again() -> None:
    with audit_desk() as desk:
        desk.follow("Breaker")
        desk.follow("Pause everything…")
        desk.page.get_by_label("Reason").fill("the bill explodes")
        desk.page.get_by_role("button", name="Pause everything").click()
        expect(desk.page.locator("body")).to_contain_text("In force for everybody until")
        desk.page.get_by_role("link", name=re.compile("End override")).click()
        desk.page.get_by_role("button", name="End now").click()
        expect(desk.page.locator("body")).to_contain_text("Ended: force_open of everybody.")

    override = Override.objects.get()
    assert (override.actor, override.ended_by, override.reason) == (NAME, NAME, "the bill explodes")


def test_one_persona_is_paused_with_the_keyboard_alone() -> None:
    make_control()

    with audit_desk() as desk:
        desk.open(reverse("admin:controls_control_changelist"))
        desk.tab_to("ai_jesus")
        desk.page.keyboard.press("Enter")
        expect(desk.page.locator("#why")).to_contain_text("3.9 times its baseline.")
        desk.page.get_by_label("Reason").focus()
        desk.page.keyboard.type("watched by hand")
        desk.tab_to("Pause")
        desk.page.keyboard.press("Enter")
        expect(desk.page.locator("#override")).to_contain_text("watched by hand")
        expect(desk.page.locator("#obeyed")).to_have_text("paused")

    assert Override.objects.get().persona_id == "ai_jesus"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_quiet_fits_and_is_within_reach_of_the_keyboard(look: str) -> None:
    pages = a_day_of_controls()

    with audit_desk(**LOOKS[look]) as desk:
        troubles = desk.walk(pages, look)

    assert troubles == {}


def a_day_of_controls() -> dict[str, str]:
    """Rows of every kind and state; returns the path of every page, by name."""
    throttled = make_control(reason="A post of ai_jesus costs $0.078, 3.9 times its baseline of $0.02. Throttled.")
    make_control("stoic_daily", "pause", per_minute=10, severity="critical", trigger="budget_overrun")
    make_control(LONG, "switch", is_observing=True, per_minute=None, severity="medium")
    make_control("night_owl", "half_open")
    make_control("calm", "closed", per_minute=None)
    step = make_transition(reason=throttled.reason)
    make_transition(version=2, from_level="throttle", to_level="switch", reason="The level throttle did not help.")
    _word("force_open", "stoic_daily", "Its loop is looked into.")
    everybodys = _word("disabled", "", "A test of the breaker's own, all day long, with the people of the studio.")
    over = _word("force_closed", "ai_jesus", "A launch, watched by hand.")
    overrides.end(over.pk, actor="bob", at=now())
    budget = _full_budget()
    hold = make_hold(state="settled", actual=Decimal("0.0003"), asked_actual=Decimal("0.005"), budget_ids=[budget.pk])
    make_hold(budget_ids=[budget.pk])
    make_hold(LONG, "released", asked_model="gpt-4o-mini", observed="throttle")
    pending = make_hold("stoic_daily", "unpriced", pending=Decimal("0.5"), budget_ids=[budget.pk])
    refusal = make_refusal(decision="deny", reason="hard_budget", budget_id=budget.pk, attempts=17)
    make_refusal(LONG, admitted_at=now())
    policy = Policy.objects.create(persona_id=LONG, is_observing=True, pause_persona=False)
    shown: dict[str, Model] = {
        "control": throttled,
        "control-paused": Control.objects.get(pk="stoic_daily"),
        "transition": step,
        "override": everybodys,
        "override-over": over,
        "budget-full": budget,
        "hold": hold,
        "hold-pending": pending,
        "refusal": refusal,
        "policy-of-one": policy,
        "policy-of-all": Policy.objects.get(persona_id=""),
        "switch": Switch.objects.filter(model="gpt-4o")[0],
    }
    return {**_lists(), **{name: address_of(row) for name, row in shown.items()}}


def _word(kind: str, persona: str, reason: str) -> Override:
    return overrides.begin(kind, persona, reason=reason, actor="ann", for_=HOUR, at=now())


def _full_budget() -> Budget:
    budget = make_budget("10", at=now(), name="stoic daily, a day", persona_id="stoic_daily", hard=True)
    amounts = {"spent": Decimal("8.25"), "held": Decimal("1.75"), "pending": Decimal("0.5")}
    BudgetPeriod.objects.filter(budget=budget).update(**amounts)
    for amount, days in (("0.25", 3), ("0.1", 1)):
        more = {"reason": "The launch of the second season.", "actor": "ann"}
        made = increases.make(budget.pk, Decimal(amount), expires_at=now() + timedelta(days=days), at=now(), **more)
    increases.end(made.pk, actor="bob", at=now())
    budgets.revise(budget.pk, {"limit": Decimal(10), "name": "stoic daily, each day"}, actor="ann", at=now())
    return budget


def _lists() -> dict[str, str]:
    lists = {f"controls-{name}": reverse(f"admin:controls_{name}_changelist") for name in LISTS}
    return {
        **lists,
        "controls-hold-all": f"{lists['controls-hold']}?state=all",
        "controls-override-all": f"{lists['controls-override']}?state=all",
        "controls-pause-everything": reverse("admin:controls_control_pause_everything"),
        **{f"controls-{name}-new": reverse(f"admin:controls_{name}_add") for name in ("override", "policy", "switch")},
    }
