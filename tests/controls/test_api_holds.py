"""Holds, refusals and increases over HTTP: found, narrowed, and let go by a person."""

import threading
from decimal import Decimal
from typing import Any

import pytest

from controls import increases, postgres
from controls.models import BudgetIncrease, Hold
from costs.models import Scope
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


class TestReleaseByThoseWhoLookAfterTheControls:
    """The producer is gone, and its estimate is still held."""

    def test_an_open_hold_of_any_source_is_released_by_name(self) -> None:
        keeper, hold = Caller.with_key(scopes=[Scope.CONTROLS_WRITE]), make_hold(source="another")

        status, body = keeper.call("post", f"/controls/holds/{hold.pk}/release")

        hold.refresh_from_db()
        assert (status, body["state"], hold.state) == (200, "released", "released")
        assert hold.closed_by.startswith("key test (fin_")

    def test_only_of_the_personas_of_a_bound_key(self) -> None:
        keeper = Caller.with_key(scopes=[Scope.CONTROLS_WRITE], personas=["ai_jesus"])
        mine, others = make_hold("ai_jesus", source="another"), make_hold("other", source="another")

        assert keeper.call("post", f"/controls/holds/{mine.pk}/release")[0] == 200
        assert keeper.call("post", f"/controls/holds/{others.pk}/release")[0] == 404
        assert Hold.objects.get(pk=others.pk).state == "open"

    def test_none_is_extended_for_its_producer(self) -> None:
        keeper, both = Caller.with_key(scopes=[Scope.CONTROLS_WRITE]), Caller.with_key()
        hold = make_hold(source="another")

        assert keeper.post(f"/controls/holds/{hold.pk}/extend", {"ttl_seconds": 60})[0] == 403
        assert both.post(f"/controls/holds/{hold.pk}/extend", {"ttl_seconds": 60})[0] == 404

    def test_a_key_that_only_reads_ends_none(self) -> None:
        hold = make_hold()

        assert Caller.with_key(scopes=[Scope.COSTS_READ]).call("post", f"/controls/holds/{hold.pk}/release")[0] == 403

    def test_too_many_of_them_are_told_when_to_come_back(self) -> None:
        keeper, hold = Caller.with_key(scopes=[Scope.CONTROLS_WRITE], rate_limit=1), make_hold()

        statuses = [keeper.call("post", f"/controls/holds/{hold.pk}/release")[0] for _ in range(2)]

        assert statuses == [200, 429]
        assert 1 <= int(keeper.headers["Retry-After"]) <= 60

    @pytest.mark.django_db(transaction=True, databases=["default", "decisions"])
    def test_who_finds_no_connection_says_it_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        caller, hold = Caller.with_key(), make_hold()
        turns = threading.BoundedSemaphore(1)
        monkeypatch.setattr(postgres._State, "turns", turns)

        with turns:
            status, problem = caller.call("post", f"/controls/holds/{hold.pk}/release")

        assert (status, problem["status"], caller.headers["Retry-After"]) == (503, 503, "1")
        assert caller.call("post", f"/controls/holds/{hold.pk}/release")[0] == 200


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

    def test_those_in_force_are_bounded(self, caller: Caller) -> None:
        budget, said = make_budget(at=now()), {"amount": 1, "reason": "a launch", "duration_minutes": 60}
        path = f"/budgets/{budget.pk}/increases"
        made = [caller.post(path, said) for _ in range(increases.MOST_INCREASES)]

        status, problem = caller.post(path, said)
        caller.call("delete", f"{path}/{made[0][1]['id']}")

        assert {status for status, _ in made} == {201}
        assert (status, problem["detail"]) == (422, "budget: has 20 increases in force already: end one first")
        assert caller.post(path, said)[0] == 201

    def test_one_is_found_only_beneath_its_budget(self, caller: Caller) -> None:
        one, other = make_budget(at=now()), make_budget(at=now())
        made = increases.make(one.pk, Decimal(1), reason="x", actor="ann", expires_at=now() + HOUR, at=now())

        assert caller.call("delete", f"/budgets/{other.pk}/increases/{made.pk}")[0] == 404
        assert caller.get("/budgets/999999/increases")[0] == 404
