"""Holds, refusals and increases over HTTP: found, narrowed, and let go by a person."""

from decimal import Decimal
from typing import Any

import pytest

from controls import increases
from controls.models import BudgetIncrease
from tests.controls.conftest import make_budget
from tests.controls.rows import HOUR, make_hold, make_refusal, now, numbered
from tests.controls.test_api_controls import listed, refused
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


class TestWhatDecisionsLeftBehind:
    def test_refusals_come_newest_first_and_narrowed(self, caller: Caller) -> None:
        first, second = make_refusal(), make_refusal("other", "deny", budget_id=3)

        def ids(**asked: str) -> list[Any]:
            return listed(caller, "/controls/refusals", "refusals", "id", **asked)

        assert ids() == [second.pk, first.pk]
        assert ids(persona_id="ai_jesus") == ids(decision="throttle") == ids(cursor=str(second.pk)) == [first.pk]

    def test_holds_come_newest_first_and_narrowed(self, caller: Caller) -> None:
        make_hold(id=numbered(1), post_id="p")
        make_hold("other", "unpriced", id=numbered(2), pending=Decimal("0.5"))
        make_hold("other", "settled", id=numbered(3), actual=Decimal("0.5"))

        def last(**asked: str) -> str:
            return "".join(text[-1] for text in listed(caller, "/controls/holds", "holds", "id", **asked))

        assert (last(), last(persona_id="other"), last(state="open")) == ("321", "32", "1")
        assert (last(post_id="p"), last(pending="true"), last(cursor=str(numbered(3)))) == ("1", "2", "21")

    @pytest.mark.parametrize(
        ("path", "asked"),
        [
            ("/controls", {"all": "yes"}),
            ("/controls", {"level": "pause"}),
            ("/controls", {"cursor": ""}),
            ("/controls/overrides", {"cursor": "-1"}),
            ("/controls/overrides", {"persona_id": "\0"}),
            ("/controls/policies", {"all": "true"}),
            ("/controls/switches", {"all": "true"}),
            ("/controls/refusals", {"decision": "allow"}),
            ("/controls/refusals", {"cursor": "\uff11"}),
            ("/controls/holds", {"state": "gone"}),
            ("/controls/holds", {"cursor": "1"}),
            ("/controls/holds", {"post_id": "x" * 256}),
        ],
    )
    def test_a_question_without_an_answer_is_refused(self, caller: Caller, path: str, asked: dict[str, str]) -> None:
        assert refused(caller.get(path, **asked)) == (422, next(iter(asked)))

    def test_what_is_pending_is_written_off_once(self, caller: Caller) -> None:
        hold = make_hold(state="unpriced", pending=Decimal("0.5"))

        status, body = caller.call("post", f"/controls/holds/{hold.pk}/write-off")

        assert (status, body["state"], body["pending"]) == (200, "written off", 0)
        assert body["closed_by"].startswith("key test")
        assert caller.call("post", f"/controls/holds/{hold.pk}/write-off") == (200, body)

    def test_an_open_hold_is_not_written_off(self, caller: Caller) -> None:
        hold = make_hold()

        assert caller.call("post", f"/controls/holds/{hold.pk}/write-off")[0] == 409
        assert caller.call("post", f"/controls/holds/{numbered(9)}/write-off")[0] == 404


class TestIncreases:
    def test_one_is_made_listed_and_ended(self, caller: Caller) -> None:
        budget = make_budget("10", at=now())
        path = f"/budgets/{budget.pk}/increases"

        status, body = caller.post(path, {"amount": "2.5", "reason": "a launch", "duration_minutes": 60})

        assert (status, body["amount"], body["is_active"], body["ended_at"]) == (201, Decimal("2.5"), True, None)
        assert caller.get(path) == (200, {"increases": [body], "cursor": None})
        _, usage = caller.get(f"/budgets/{budget.pk}")
        assert (usage["increase"], usage["remaining"]) == (Decimal("2.5"), Decimal("12.5"))
        status, ended = caller.call("delete", f"{path}/{body['id']}")
        assert (status, ended["is_active"], ended["ended_by"]) == (200, False, body["actor"])
        assert caller.call("delete", f"{path}/{body['id']}") == (200, ended)
        assert caller.get(f"/budgets/{budget.pk}")[1]["increase"] == 0

    @pytest.mark.parametrize(
        ("said", "path"),
        [
            ({"amount": 0}, "amount"),
            ({"amount": None}, "amount"),
            ({"amount": "1e-13"}, "amount"),
            ({"reason": " "}, "reason"),
            ({"reason": "\0"}, "reason"),
            ({"duration_minutes": None}, "expires_at"),
            ({"expires_at": "2026-11-24T12:00:00Z"}, "expires_at"),
            ({"duration_minutes": None, "expires_at": "2020-11-24T12:00:00Z"}, "expires_at"),
            ({"duration_minutes": None, "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
            ({"duration_minutes": None, "expires_at": "2026-11-24T12:00:00"}, "expires_at"),
            ({"duration_minutes": 366 * 24 * 60 + 1}, "duration_minutes"),
        ],
    )
    def test_what_makes_none_is_refused_with_its_field(self, caller: Caller, said: dict[str, Any], path: str) -> None:
        budget = make_budget(at=now())
        given = {"amount": 1, "reason": "a launch", "duration_minutes": 60} | said

        assert refused(caller.post(f"/budgets/{budget.pk}/increases", given)) == (422, path)
        assert not BudgetIncrease.objects.exists()

    def test_an_ended_budget_gets_none(self, caller: Caller) -> None:
        budget = make_budget(at=now())
        caller.call("delete", f"/budgets/{budget.pk}")

        said = {"amount": 1, "reason": "a launch", "duration_minutes": 60}
        assert caller.post(f"/budgets/{budget.pk}/increases", said)[0] == 409

    def test_one_is_found_only_beneath_its_budget(self, caller: Caller) -> None:
        one, other = make_budget(at=now()), make_budget(at=now())
        made = increases.make(one.pk, Decimal(1), reason="x", actor="ann", expires_at=now() + HOUR, at=now())

        assert caller.call("delete", f"/budgets/{other.pk}/increases/{made.pk}")[0] == 404
        assert caller.get("/budgets/999999/increases")[0] == 404
