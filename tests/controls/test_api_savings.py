"""Savings and recommendations over HTTP: as they are, in the order that is asked for, and of nobody else."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils.timezone import now

from controls import documentation_savings, switches
from costs.models import Scope
from tests.controls.left_behind import hold, refusal
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
DAY = {"start_date": "2026-11-24", "end_date": "2026-11-24"}


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


class TestSavings:
    def test_the_answer_is_the_documented_one(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record([amount_event("2", persona_id="a", timestamp="2026-11-24T12:00:00Z")])
        hold()
        refusal("1.00000045", persona_id="b")

        status, body = caller.get("/controls/savings", **DAY, group_by="persona_id")

        assert status == 200, body
        assert set(body) == set(documentation_savings.SAVINGS_EXAMPLE)
        assert (body["start_date"], body["end_date"]) == ("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z")
        assert body["saved"] == Decimal("1.00705045")
        assert [group["key"] for group in body["groups"]] == [{"persona_id": "b"}, {"persona_id": "a"}]
        assert body["groups"][1]["by_kind"]["switched"]["estimated"] == Decimal("0.00705")

    def test_the_example_adds_up(self) -> None:
        example = documentation_savings.SAVINGS_EXAMPLE

        kinds = example["by_kind"].values()

        assert sum(Decimal(str(kind["saved"])) for kind in kinds) == Decimal(str(example["saved"]))
        for kind in kinds:
            assert round(kind["would_have_cost"] - kind["cost"] - kind["saved"], 9) == 0

    @pytest.mark.parametrize(
        ("parameters", "path", "sentence"),
        [
            ({"start_date": "2026-11-24"}, "end_date", "is required"),
            (DAY | {"group_by": "model"}, "group_by", "must be persona_id, not 'model'"),
            (DAY | {"timezone": "Mars"}, "timezone", "must be an IANA name such as Europe/Berlin, not 'Mars'"),
            (DAY | {"persona_id": ""}, "persona_id", "must be a name of 1 to 100 characters"),
            (DAY | {"end_date": "2026-11-23"}, "end_date", "must lie after start_date"),
            (
                DAY | {"model": "m"},
                "model",
                "is no parameter; these are: start_date, end_date, timezone, persona_id, group_by",
            ),
        ],
    )
    def test_a_wrong_parameter_is_named(
        self, caller: Caller, parameters: dict[str, Any], path: str, sentence: str
    ) -> None:
        status, body = caller.get("/controls/savings", **parameters)

        assert (status, body["errors"]) == (422, [{"path": path, "detail": sentence}])

    def test_a_bound_key_sees_its_personas_only(self, caller: Caller) -> None:
        refusal("1", persona_id="a")
        refusal("2", persona_id="b")

        _, body = Caller.with_key(name="bound", personas=["a"]).get("/controls/savings", **DAY, group_by="persona_id")

        assert body["saved"] == 1
        assert [group["key"]["persona_id"] for group in body["groups"]] == ["a"]


class TestRecommendations:
    @pytest.fixture(autouse=True)
    def two_personas(self, ledger: Ledger) -> None:
        switches.forget()
        at = now() - timedelta(hours=2)
        ledger.record([usage_event(persona_id=name, operation="hook", timestamp=at) for name in ("a", "b", "b")])

    def test_the_answer_is_the_documented_one(self, caller: Caller) -> None:
        status, body = caller.get("/controls/recommendations")

        example = documentation_savings.RECOMMENDATIONS_EXAMPLE
        assert status == 200, body
        assert set(body) == set(example)
        assert [each["persona_id"] for each in body["recommendations"]] == ["b", "a"]
        first, shown = body["recommendations"][0], example["recommendations"][0]
        assert (set(first), set(first["options"][0])) == (set(shown), set(shown["options"][0]))
        assert (first["cost"], first["calls"], first["return_per_dollar"]) == (Decimal("0.015"), 2, None)

    def test_a_bound_key_sees_its_personas_only(self) -> None:
        bound = Caller.with_key(name="bound", personas=["a"])

        _, body = bound.get("/controls/recommendations", days=3, rank_by="return_per_dollar")

        assert [each["persona_id"] for each in body["recommendations"]] == ["a"]

    def test_one_persona_may_be_asked_for(self, caller: Caller) -> None:
        _, body = caller.get("/controls/recommendations", persona_id="a")

        assert [each["persona_id"] for each in body["recommendations"]] == ["a"]

    @pytest.mark.parametrize(
        ("parameters", "path", "sentence"),
        [
            ({"days": "0"}, "days", "must lie between 1 and 90"),
            ({"days": "91"}, "days", "must lie between 1 and 90"),
            ({"days": "1.5"}, "days", "must be a whole number"),
            ({"days": "\u0661"}, "days", "must be a whole number"),
            ({"persona_id": "a\0"}, "persona_id", "must be a name of 1 to 100 characters"),
            ({"persona_id": ""}, "persona_id", "must be a name of 1 to 100 characters"),
            ({"rank_by": "luck"}, "rank_by", "must be saved or return_per_dollar, not 'luck'"),
            ({"model": "m"}, "model", "is no parameter; these are: days, persona_id, rank_by"),
        ],
    )
    def test_a_wrong_parameter_is_named(
        self, caller: Caller, parameters: dict[str, Any], path: str, sentence: str
    ) -> None:
        status, body = caller.get("/controls/recommendations", **parameters)

        assert (status, body["errors"]) == (422, [{"path": path, "detail": sentence}])


@pytest.mark.parametrize("path", ["/controls/savings", "/controls/recommendations"])
def test_it_takes_the_right_to_read_costs(path: str, db: None) -> None:
    assert Caller().get(path)[0] == 401
    assert Caller.with_key(scopes=[Scope.CONTROLS_WRITE]).get(path)[0] == 403
