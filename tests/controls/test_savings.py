"""What the controls saved: known where the event has come, estimated where not, and nothing for who only waited."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from controls import switches
from controls.models import Hold
from controls.savings import extrapolated, savings
from costs.periods import InvalidQuery
from costs.pricing import PriceBook, default_rates
from tests.controls.left_behind import NOW, hold, observed, observed_step, refusal
from tests.costs.conftest import Ledger, amount_event

pytestmark = pytest.mark.django_db
BOOK = PriceBook(default_rates())
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def saved(**asked: Any) -> dict[str, Any]:
    """On 24 November, all of it over, in UTC."""
    switches.forget()
    at = asked.pop("at", datetime(2026, 12, 1, tzinfo=UTC))
    days = {"start_date": "2026-11-24", "end_date": "2026-11-24"}
    return savings(**days | asked, at=at, prices=BOOK, lists=switches.stored(at))


def of_kind(name: str, **asked: Any) -> dict[str, Any]:
    return {key: value for key, value in saved(**asked)["by_kind"][name].items() if value}


class TestSwitched:
    def test_a_settled_call_saved_what_its_own_tokens_had_cost_more(self) -> None:
        hold(state=Hold.State.SETTLED, actual="0.0006", asked_actual="0.01")

        assert of_kind("switched") == {
            "calls": 1,
            "would_have_cost": Decimal("0.01"),
            "cost": Decimal("0.0006"),
            "saved": Decimal("0.0094"),
        }

    @pytest.mark.parametrize("state", ["open", "unpriced"])
    def test_a_call_that_is_under_way_or_has_no_price_yet_counts_by_its_estimate(self, state: str) -> None:
        hold(state=state)

        assert of_kind("switched") == {
            "calls": 1,
            "would_have_cost": Decimal("0.0075"),
            "cost": Decimal("0.00045"),
            "saved": Decimal("0.00705"),
            "estimated": Decimal("0.00705"),
        }

    @pytest.mark.parametrize("state", ["released", "expired", "written off"])
    def test_a_call_that_never_took_place_saved_nothing(self, state: str) -> None:
        hold(state=state)

        assert of_kind("switched") == {}

    def test_a_call_whose_asked_model_has_no_price_is_counted_apart(self) -> None:
        hold(state=Hold.State.SETTLED, actual="0.0006")

        assert of_kind("switched") == {"unknown_calls": 1}

    def test_a_switch_may_turn_out_dearer(self) -> None:
        hold(state=Hold.State.SETTLED, actual="0.02", asked_actual="0.01")

        assert of_kind("switched")["saved"] == Decimal("-0.01")

    def test_a_call_that_was_not_switched_saved_nothing(self) -> None:
        hold(model="gpt-4o", amount="0.0075", state=Hold.State.SETTLED, actual="0.01", asked_actual="0.01")

        assert of_kind("switched") == {}


class TestRefused:
    @pytest.mark.parametrize(("decision", "kind"), [("throttle", "throttled"), ("deny", "denied")])
    def test_a_call_that_was_never_let_in_saved_its_estimate_once(self, decision: str, kind: str) -> None:
        refusal("0.0075", decision, attempts=9)

        assert of_kind(kind) == {
            "calls": 1,
            "would_have_cost": Decimal("0.0075"),
            "saved": Decimal("0.0075"),
            "estimated": Decimal("0.0075"),
        }

    def test_a_call_that_was_let_in_later_was_delayed_and_saved_nothing(self) -> None:
        refusal("0.0075", "throttle", admitted_at=NOW + timedelta(minutes=1))

        assert of_kind("throttled") == {"delayed_calls": 1}


class TestObserved:
    def test_what_was_let_through_only_because_a_policy_observes_is_told_apart(self) -> None:
        observed("deny", state=Hold.State.SETTLED, actual="0.01", asked_actual="0.01")
        observed_step()

        found = saved()

        assert (found["saved"], found["observed"]["would_have_saved"]) == (0, Decimal("0.01"))
        assert found["observed"]["steps"] == 1
        assert found["observed"]["by_decision"]["deny"] == {
            "calls": 1,
            "cost": Decimal("0.01"),
            "would_have_saved": Decimal("0.01"),
            "delayed_calls": 0,
        }

    def test_a_call_that_would_have_been_throttled_would_only_have_been_delayed(self) -> None:
        observed("throttle")
        observed("throttle", state=Hold.State.SETTLED, actual="0.01", asked_actual="0.01")

        found = saved()["observed"]

        assert found["would_have_saved"] == 0
        assert found["by_decision"]["throttle"] == {
            "calls": 0,
            "cost": Decimal(0),
            "would_have_saved": Decimal(0),
            "delayed_calls": 2,
        }

    @pytest.mark.parametrize(
        ("at", "share"),
        [
            # gpt-3.5-turbo-0125 for a sixth of the price, then gpt-4o-mini for 6 per cent.
            (datetime(2026, 10, 22, 12, tzinfo=UTC), Decimal(5) / 6),
            (NOW, Decimal("0.94")),
        ],
    )
    def test_a_switch_would_have_saved_the_share_of_the_first_target_of_that_day(
        self, at: datetime, share: Decimal
    ) -> None:
        observed("switch", at=at)
        observed("switch", at=at, state=Hold.State.SETTLED, actual="0.0225", asked_actual="0.0225")

        found = saved(start_date="2026-10-01")["observed"]["by_decision"]["switch"]

        assert (found["calls"], found["cost"]) == (2, Decimal("0.03"))
        assert found["would_have_saved"] == Decimal("0.03") * share

    def test_a_model_without_a_target_would_have_saved_nothing(self) -> None:
        observed("switch", asked_model="gpt-4o-mini", model="gpt-4o-mini")

        assert saved()["observed"]["by_decision"]["switch"] == {
            "calls": 1,
            "cost": Decimal("0.0075"),
            "would_have_saved": Decimal(0),
            "delayed_calls": 0,
        }


class TestPeriods:
    @pytest.mark.parametrize(
        ("zone", "start", "end"),
        [
            ("UTC", datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)),
            ("Europe/Berlin", datetime(2026, 11, 23, 23, tzinfo=UTC), datetime(2026, 11, 24, 23, tzinfo=UTC)),
            ("Asia/Kathmandu", datetime(2026, 11, 23, 18, 15, tzinfo=UTC), datetime(2026, 11, 24, 18, 15, tzinfo=UTC)),
        ],
    )
    def test_a_day_is_that_of_the_zone_and_half_open(self, zone: str, start: datetime, end: datetime) -> None:
        for number, at in enumerate((start - MICROSECOND, start, end - MICROSECOND, end)):
            hold(at=at, asked_amount=str(10**number), amount="0")
            refusal(str(10**number), at=at)

        found = saved(timezone=zone)

        assert [found["by_kind"][kind]["saved"] for kind in ("switched", "denied")] == [110, 110]
        assert (found["start_date"], found["end_date"], found["timezone"]) == (start, end, zone)

    def test_per_cent_is_of_what_would_have_been_spent(self, ledger: Ledger) -> None:
        ledger.record([amount_event("2", timestamp=NOW), amount_event("9", timestamp=NOW - DAY)], at=NOW)
        refusal("1")

        found = saved()

        assert (found["spent"], found["saved"], found["saved_percent"]) == (2, 1, Decimal("33.33"))

    def test_nothing_has_no_per_cent(self) -> None:
        assert (saved()["saved"], saved()["saved_percent"]) == (0, None)

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (datetime(2026, 11, 24, tzinfo=UTC), None),
            (datetime(2026, 11, 24, 6, tzinfo=UTC), "120"),
            (datetime(2026, 11, 25, tzinfo=UTC), "30"),
            (datetime(2027, 11, 25, tzinfo=UTC), "30"),
        ],
    )
    def test_a_month_is_extrapolated_from_what_has_passed(self, at: datetime, expected: str | None) -> None:
        refusal("1")

        found = saved(at=at)["saved_per_30_days_extrapolated"]

        assert found == (expected and Decimal(expected))

    def test_what_is_extrapolated_has_six_decimals(self) -> None:
        assert extrapolated(Decimal("0.1"), timedelta(days=7)) == Decimal("0.428571")


class TestPersonas:
    def test_groups_add_up_and_who_saved_most_comes_first(self, ledger: Ledger) -> None:
        ledger.record([amount_event("2", persona_id="c", timestamp=NOW), amount_event("4", timestamp=NOW)], at=NOW)
        hold(asked_amount="1", amount="0")
        refusal("3", persona_id="b")
        refusal("0.5", persona_id="")

        found = saved(group_by="persona_id")

        assert [(group["key"]["persona_id"], group["saved"], group["spent"]) for group in found["groups"]] == [
            ("b", 3, 0),
            ("a", 1, 0),
            (None, Decimal("0.5"), 4),
            ("c", 0, 2),
        ]
        for name in ("saved", "spent"):
            assert sum(group[name] for group in found["groups"]) == found[name]

    def test_one_persona_is_told_alone(self, ledger: Ledger) -> None:
        ledger.record([amount_event(f"{n}", persona_id=p, timestamp=NOW) for n, p in ((2, "a"), (8, "b"))], at=NOW)
        for persona_id in ("a", "b"):
            hold(persona_id=persona_id)
            observed("deny", persona_id=persona_id)
            observed("switch", persona_id=persona_id)
            refusal("1", persona_id=persona_id)
            observed_step(persona_id)

        for found in (saved(persona_id="a"), saved(personas=["a"])):
            assert (found["spent"], found["saved"]) == (2, Decimal("1.00705"))
            assert (found["observed"]["steps"], found["observed"]["by_decision"]["switch"]["calls"]) == (1, 1)
            assert found["observed"]["would_have_saved"] == Decimal("0.0075") + Decimal("0.00705")
        assert saved(persona_id="b", personas=["a"])["saved"] == 0
        assert saved(personas=[])["saved"] == 0

    def test_another_grouping_is_refused(self) -> None:
        with pytest.raises(InvalidQuery, match="group_by: must be persona_id, not 'model'"):
            saved(group_by="model")

    def test_any_number_of_calls_takes_three_statements(self) -> None:
        for number in range(30):
            hold(persona_id=f"p{number}")
            observed("switch", persona_id=f"p{number}")
            refusal("1", persona_id=f"p{number}")
        at = datetime(2026, 12, 1, tzinfo=UTC)
        lists = switches.stored(at)

        with CaptureQueriesContext(connection) as queries:
            savings(start_date="2026-11-24", end_date="2026-11-24", at=at, prices=BOOK, lists=lists)

        assert len(queries) == 3
