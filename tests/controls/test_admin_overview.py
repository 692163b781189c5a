"""What the admin says at a glance: its first page, lists with nothing in them, and the cards of a budget."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from controls import overrides
from controls.templatetags.cards import glance
from tests.controls.rows import HOUR, make_control, make_transition, now
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
FIRST = reverse("admin:index")


def begin(kind: str, persona: str = "") -> None:
    overrides.begin(kind, persona, reason="a loop", actor="ann", for_=HOUR, at=now())


class TestTheFirstPage:
    def test_counts_whom_decisions_hold_back(self, admin_client: Client) -> None:
        make_control("throttled")
        make_control("observed", is_observing=True)
        make_control("let_through")
        make_control("over", since=now() - 2 * HOUR, expires_at=now() - timedelta(minutes=1))
        begin("force_closed", "let_through")
        begin("force_open", "stopped")

        text = read(admin_client.get(FIRST))

        assert "Held back now 2 by the breaker or an override" in text

    def test_says_when_it_is_nobody(self, admin_client: Client) -> None:
        assert "Held back now 0 nobody is" in read(admin_client.get(FIRST))

    def test_says_above_all_that_everything_is_paused_until_when_and_why(self, admin_client: Client) -> None:
        begin("force_open")

        text = read(admin_client.get(FIRST))

        assert re.search(r"paused Everybody until \S+ \S+ UTC, by ann: a loop End override \d+", text)
        assert "Held back now everybody" in text

    def test_is_silent_about_it_to_who_may_not_see_the_breaker(self) -> None:
        begin("force_open")

        text = read(clerk("view_costevent").get(FIRST))

        assert "Today (UTC)" in text
        assert "a loop" not in text
        assert "Held back" not in text

    def test_leads_to_an_override_where_it_may_be_seen(self) -> None:
        begin("force_open")

        answer = clerk("view_control").get(FIRST)

        assert re.search(r"by ann: a loop Override \d+", read(answer))
        assert "/admin/controls/override/" not in answer.content.decode()


class TestListsWithNothingInThem:
    @pytest.mark.parametrize("rows", ["control", "controltransition", "hold", "refusal", "settingchange"])
    def test_ask_nobody_to_create_what_nobody_can(self, admin_client: Client, rows: str) -> None:
        text = read(admin_client.get(reverse(f"admin:controls_{rows}_changelist"), {"q": "nobody"}))

        assert "Nothing to show Another state, filter or search may show more. Reset" in text
        assert "Create a new item" not in text

    def test_still_offer_it_where_it_can_be_done(self, admin_client: Client) -> None:
        text = read(admin_client.get(reverse("admin:controls_budget_changelist")))

        assert "Create a new item" in text

    def test_full_ones_are_the_theme_s(self, admin_client: Client) -> None:
        make_transition("stoic")

        text = read(admin_client.get(reverse("admin:controls_controltransition_changelist")))

        assert "stoic" in text
        assert "Nothing to show" not in text


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("300", "$300"),
        ("1234.5", "$1,234.5"),
        ("0.00005", "under $0.0001"),
        ("0.00015", "$0.0002"),
        ("2.123449999999", "$2.1234"),
        ("-0.123456", "-$0.1235"),
        ("0", "$0"),
    ],
)
def test_a_card_rounds_and_keeps_every_digit_for_who_points_at_it(amount: str, shown: str) -> None:
    text = glance(Decimal(amount))

    assert re.sub("<[^>]+>", "", text) == shown
    assert amount.removeprefix("-").replace("1234.5", "1,234.5") in text


def test_a_level_without_an_end_stands_until_it_changes(admin_client: Client) -> None:
    text = read(admin_client.get(reverse("admin:controls_control_change", args=["never_touched"])))

    assert "Until (UTC) it changes" in text
