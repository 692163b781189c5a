"""Savings in the admin: every figure leads to its calls, and the calls add up to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from controls import switches
from controls.admin.savings import calls_behind
from controls.savings import savings
from costs.periods import Span
from costs.pricing import PriceBook, default_rates
from tests.controls.left_behind import NOW, hold, observed, observed_step, refusal
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.test_admin import clerk, read

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:controls_savings_changelist")
CALLS = reverse("admin:controls_savings_calls")
DAY = {"start_date": "2026-11-24", "end_date": "2026-11-24"}
PERIOD = Span(datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC))


def left_behind() -> None:
    for persona_id in ("a", "b", ""):
        hold(persona_id=persona_id)
        hold(persona_id=persona_id, state="settled", actual="0.0006", asked_actual="0.01")
        hold(persona_id=persona_id, state="expired")
        refusal("0.25", "deny", persona_id=persona_id)
        refusal("0.5", "throttle", persona_id=persona_id, attempts=3)
        refusal("0.5", "throttle", persona_id=persona_id, admitted_at=NOW + timedelta(seconds=9))
        observed("deny", persona_id=persona_id)
    observed_step()


class TestFigures:
    def test_the_page_shows_what_was_saved_and_where_it_stands_to_what_was_specified(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([amount_event("2", persona_id="a", timestamp=NOW)], at=NOW)
        left_behind()

        text = read(admin_client.get(PAGE, DAY))

        assert "Saved $2.29935 53.48 % of what would have been spent; specified: 15 %" in text
        assert "specified: $3,000" in text
        assert "switched 6 $0.0525" in text
        assert "throttled 3 $1.5 $0 $1.5 $1.5 3 only delayed" in text
        assert "The breaker would have taken 1 step" in text

    @pytest.mark.parametrize("kind", ["switched", "throttled", "denied"])
    @pytest.mark.parametrize("persona_id", [None, "a"])
    def test_the_calls_behind_a_figure_add_up_to_it(self, kind: str, persona_id: str | None) -> None:
        left_behind()
        switches.forget()
        at = datetime(2026, 12, 1, tzinfo=UTC)
        lists, book = switches.stored(at), PriceBook(default_rates())

        found = savings(**DAY, persona_id=persona_id, at=at, prices=book, lists=lists)["by_kind"][kind]
        behind = list(calls_behind(kind, PERIOD, persona_id))

        assert sum((call.saved or Decimal(0) for call in behind), Decimal(0)) == found["saved"]
        assert len(behind) == found["calls"] + found["delayed_calls"]

    def test_every_figure_leads_to_its_calls(self, admin_client: Client) -> None:
        left_behind()
        page = admin_client.get(PAGE, DAY).content.decode()

        for kind in ("switched", "throttled", "denied", "throttle", "switch", "deny", "steps"):
            assert f"{CALLS}?kind={kind}&amp;start_date=2026-11-24&amp;end_date=2026-11-24" in page
        assert "kind=denied&amp;start_date=2026-11-24&amp;end_date=2026-11-24&amp;persona_id=b" in page

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"kind": "switched"}, "gpt-4o to gpt-4o-mini known $0.01 $0.0006 $0.0094"),
            ({"kind": "throttled"}, "asked 3 times: budget $0.5 $0 $0.5"),
            ({"kind": "throttled"}, "then let in: only delayed"),
            ({"kind": "denied", "persona_id": "b"}, "persona b."),
            ({"kind": "denied", "persona_id": ""}, "without a persona"),
            ({"kind": "deny"}, "Calls that would have been denied"),
            ({"kind": "steps"}, "closed to throttle"),
            ({"kind": "nothing"}, "Calls that were switched"),
            ({"kind": "switch"}, "There are none in this period."),
            ({"kind": "switched", "start_date": "nonsense"}, "must be a date"),
        ],
    )
    def test_the_calls_tell_how_well_they_are_known(
        self, admin_client: Client, asked: dict[str, Any], words: str
    ) -> None:
        left_behind()

        assert words in read(admin_client.get(CALLS, DAY | asked))

    @pytest.mark.parametrize("kind", ["switched", "throttled", "deny", "steps"])
    def test_each_call_leads_to_its_own_page(self, admin_client: Client, kind: str) -> None:
        left_behind()

        for call in calls_behind(kind, PERIOD, "a"):
            assert f'<a href="{call.url}">' in admin_client.get(CALLS, DAY | {"kind": kind}).content.decode()
            assert admin_client.get(call.url).status_code == 200


class TestThePage:
    def test_without_a_period_it_shows_the_last_30_days(self, admin_client: Client) -> None:
        refusal("0.25", at=datetime.now(UTC) - timedelta(days=29))
        refusal("9", at=datetime.now(UTC) - timedelta(days=31))

        assert "Saved $0.25 " in read(admin_client.get(PAGE))

    def test_a_wrong_period_is_a_sentence(self, admin_client: Client) -> None:
        assert "must lie after start_date" in read(admin_client.get(PAGE, DAY | {"end_date": "2026-11-01"}))

    def test_it_recommends_what_else_could_be_saved(self, admin_client: Client, ledger: Ledger) -> None:
        switches.forget()
        at = datetime.now(UTC) - timedelta(hours=2)
        ledger.record([usage_event(persona_id="a", operation="hook", timestamp=at)])

        text = read(admin_client.get(PAGE))

        assert "a hook gpt-4o" in text
        assert "gpt-4o-mini listed" in text

    def test_nothing_to_recommend_is_said(self, admin_client: Client) -> None:
        assert "No cheaper model would have served." in read(admin_client.get(PAGE))

    @pytest.mark.parametrize("path", [PAGE, CALLS])
    @pytest.mark.parametrize(("right", "status"), [("view_budget", 403), ("view_hold", 200)])
    def test_it_takes_the_right_to_see_holds(self, path: str, right: str, status: int) -> None:
        assert clerk(right).get(path).status_code == status
