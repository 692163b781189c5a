"""Budgets over HTTP: exact, strict, and nothing of anybody else."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from controls import budgets, documentation, examples
from controls.models import Budget, BudgetRevision
from costs.documentation import JSON
from costs.models import Scope
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
FIELDS = {"name": "a month", "scope": {"persona_id": "a"}, "period": "monthly", "limit": 100}


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


def send(caller: Caller, method: str, path: str, body: object) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    send_as: Any = getattr(caller._client, method)
    return caller._read(send_as(path, content, content_type="application/json", headers=caller._headers))


def made(caller: Caller, **fields: Any) -> Any:
    status, body = caller.post("/budgets", FIELDS | fields)
    assert status == 201, body
    return body


def now() -> datetime:
    return datetime.now(UTC)


class TestMaking:
    def test_a_budget_is_made_with_what_its_period_has_cost(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record([amount_event("84.259999", persona_id="a"), amount_event("1", persona_id="b")])

        body = made(caller)

        assert caller.headers["Location"] == f"/budgets/{body['id']}"
        assert (body["limit"], body["spent"], body["remaining"]) == (100, Decimal("84.259999"), Decimal("15.740001"))
        assert (body["used_percent"], body["warn_levels"], body["hard"]) == (Decimal("84.25"), [80, 85, 95], False)
        assert body["scope"] == {"persona_id": "a", "model": None, "cost_type": None}
        assert (body["timezone"], body["revision"], body["ended_at"]) == ("UTC", 1, None)
        assert body["period_starts_at"].endswith("-01T00:00:00Z")
        assert caller.get(f"/budgets/{body['id']}") == (200, body)

    def test_the_key_is_kept_as_who_made_it(self, caller: Caller) -> None:
        made(caller)

        assert BudgetRevision.objects.get().actor.startswith("key test (fin_")

    def test_the_smallest_the_largest_and_the_textual_limit_are_kept_digit_by_digit(self, caller: Caller) -> None:
        for limit in ("0.000000000001", "999999999.999999999999", "2.50"):
            assert made(caller, limit=limit)["limit"] == Decimal(limit)
        assert send(caller, "post", "/budgets", json.dumps(FIELDS).replace("100", "1e2").encode())[0] == 201

    @pytest.mark.parametrize(
        ("fields", "path", "sentence"),
        [
            ({"limit": 0}, "limit", "must be above 0"),
            ({"limit": "-0"}, "limit", "must be above 0"),
            ({"limit": -1}, "limit", "must be above 0"),
            ({"limit": 1_000_000_000}, "limit", "below 1000000000"),
            ({"limit": 10**40}, "limit", "below 1000000000"),
            ({"limit": "0.0000000000001"}, "limit", "at most 12 decimals"),
            ({"limit": "NaN"}, "limit", "must be a decimal number"),
            ({"limit": "Infinity"}, "limit", "must be a decimal number"),
            ({"limit": "1_0"}, "limit", "must be a decimal number"),
            ({"limit": "\uff11"}, "limit", "must be a decimal number"),
            ({"limit": True}, "limit", "must be a decimal number"),
            ({"limit": None}, "limit", "must be a decimal number"),
            ({"limit": [1]}, "limit", "must be a decimal number"),
            ({"name": ""}, "name", "length >= 1"),
            ({"name": "x" * 101}, "name", "length <= 100"),
            ({"name": "a\0"}, "name", "NUL"),
            ({"name": None}, "name", "Expected `str`"),
            ({"period": "yearly"}, "period", "Invalid enum value"),
            ({"timezone": "Mars/Olympus"}, "timezone", "must be an IANA name"),
            ({"timezone": ""}, "timezone", "must be an IANA name"),
            ({"timezone": 1}, "timezone", "Expected `str`"),
            ({"hard": "yes"}, "hard", "Expected `bool`"),
            ({"warn_levels": []}, "warn_levels", "length >= 1"),
            ({"warn_levels": [1, 2, 3, 4]}, "warn_levels", "length <= 3"),
            ({"warn_levels": [0]}, "warn_levels[0]", ">= 1"),
            ({"warn_levels": [101]}, "warn_levels[0]", "<= 100"),
            ({"warn_levels": [80, 80]}, "warn_levels", "must ascend"),
            ({"warn_levels": [90, 80]}, "warn_levels", "must ascend"),
            ({"scope": "a"}, "scope", "Expected `object`"),
            ({"scope": {"persona": "a"}}, "scope.persona", "is no field here"),
            ({"scope": {"persona_id": "x" * 101}}, "scope.persona_id", "length <= 100"),
            ({"scope": {"model": "m\0"}}, "scope.model", "NUL"),
            ({"parent": 1}, "parent", "is no field here"),
        ],
    )
    def test_what_makes_no_budget_is_refused_with_its_path(
        self, caller: Caller, fields: dict[str, Any], path: str, sentence: str
    ) -> None:
        status, problem = caller.post("/budgets", FIELDS | fields)

        assert status == 422, problem
        assert problem["errors"][0]["path"] == path
        assert sentence in problem["errors"][0]["detail"]
        assert not Budget.objects.exists()

    @pytest.mark.parametrize("name", list(FIELDS))
    def test_every_field_without_a_default_is_required(self, caller: Caller, name: str) -> None:
        status, problem = caller.post("/budgets", {field: value for field, value in FIELDS.items() if field != name})

        assert (status, problem["errors"]) == (422, [{"path": name, "detail": "is required"}])

    @pytest.mark.parametrize(
        ("body", "status"),
        [(b"", 415), (b" ", 400), (b"{", 400), (b"[]", 422), (b"1e999999", 422), (b"[" * 100_000, 422), (b"\xff", 400)],
    )
    def test_what_is_no_object_is_refused(self, caller: Caller, body: bytes, status: int) -> None:
        assert send(caller, "post", "/budgets", body)[0] == status

    @pytest.mark.parametrize("limit", [b"NaN", b"1e400", b"1e-400", b"-Infinity"])
    def test_numbers_that_are_none_are_refused(self, caller: Caller, limit: bytes) -> None:
        body = json.dumps(FIELDS).encode().replace(b"100", limit)

        assert send(caller, "post", "/budgets", body)[0] in (400, 422)

    def test_half_a_character_is_refused(self, caller: Caller) -> None:
        body = json.dumps(FIELDS).encode().replace(b"a month", b"\\ud800")

        assert send(caller, "post", "/budgets", body)[0] in (400, 422)


class TestHowMany:
    @pytest.mark.parametrize("scope", [{"persona_id": "ai_jesus"}, {}])
    def test_active_ones_of_a_persona_are_bounded(
        self, caller: Caller, scope: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(budgets, "MOST_BUDGETS", 3)
        first, *_ = [make_budget(at=now(), **scope) for _ in range(3)]
        make_budget(at=now(), persona_id="other")

        status, problem = caller.post("/budgets", FIELDS | {"scope": scope})
        budgets.end(first.pk, actor="ann", at=now())

        assert (status, "There are 3 active budgets of" in problem["detail"]) == (422, True)
        assert Budget.objects.filter(persona_id=scope.get("persona_id", "")).count() == 3
        assert caller.post("/budgets", FIELDS | {"scope": scope})[0] == 201


class TestRevising:
    def test_a_patch_is_a_new_revision(self, caller: Caller) -> None:
        budget = made(caller)

        status, body = send(
            caller, "patch", f"/budgets/{budget['id']}", {"limit": "50.5", "hard": True, "warn_levels": [50]}
        )

        expected = {"limit": Decimal("50.5"), "remaining": Decimal("50.5"), "hard": True, "warn_levels": [50]}
        assert (status, body) == (200, budget | expected | {"revision": 2})

    @pytest.mark.parametrize(
        ("changes", "path", "sentence"),
        [
            ({"scope": {"persona_id": "b"}}, "scope", "cannot change"),
            ({"period": "monthly"}, "period", "cannot change"),
            ({"timezone": "UTC"}, "timezone", "cannot change"),
            ({"limit": 0}, "limit", "must be above 0"),
            ({"limit": None}, "limit", "must be a decimal number"),
            ({"name": ""}, "name", "length >= 1"),
            ({"name": "\0"}, "name", "NUL"),
            ({"hard": None}, "hard", "Expected `bool`"),
            ({"warn_levels": None}, "warn_levels", "Expected `array`"),
            ({"spent": 0}, "spent", "is no field here"),
        ],
    )
    def test_what_cannot_change_is_refused(
        self, caller: Caller, changes: dict[str, Any], path: str, sentence: str
    ) -> None:
        budget = made(caller)

        status, problem = send(caller, "patch", f"/budgets/{budget['id']}", changes)

        assert status == 422
        assert (problem["errors"][0]["path"], sentence in problem["errors"][0]["detail"]) == (path, True)
        assert caller.get(f"/budgets/{budget['id']}")[1]["revision"] == 1

    def test_nothing_to_change_changes_nothing(self, caller: Caller) -> None:
        budget = made(caller)

        assert send(caller, "patch", f"/budgets/{budget['id']}", {}) == (200, budget)

    def test_an_ended_budget_stays_readable_and_as_it_was(self, caller: Caller) -> None:
        path = f"/budgets/{made(caller)['id']}"

        status, ended = caller.call("delete", path)

        assert (status, bool(ended["ended_at"]), ended["revision"]) == (200, True, 2)
        assert caller.call("delete", path) == (200, ended)
        assert caller.get(path) == (200, ended)
        status, problem = send(caller, "patch", path, {"limit": 1})
        assert (status, "has ended" in problem["detail"]) == (422, True)


class TestListing:
    def test_active_ones_come_and_all_when_asked(self, caller: Caller) -> None:
        first, second = make_budget(name="1", at=now()), make_budget(name="2", persona_id="a", at=now())
        budgets.end(first.pk, actor="ann", at=now())

        def names(**asked: str) -> list[str]:
            status, body = caller.get("/budgets", **asked)
            assert status == 200, body
            return [budget["name"] for budget in body["budgets"]]

        assert names() == names(all="false") == names(persona_id="a") == ["2"]
        assert names(all="true") == ["1", "2"]
        assert names(persona_id="b", all="true") == names(cursor=str(second.pk)) == []

    def test_many_come_page_by_page(self, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controls.api.PAGE", 2)
        expected = [make_budget(at=now()).pk for _ in range(4)]

        def pages() -> Iterator[int]:
            asked: dict[str, str] = {}
            while True:
                _, body = caller.get("/budgets", **asked)
                yield from [budget["id"] for budget in body["budgets"]]
                if body["cursor"] is None:
                    return
                asked = {"cursor": body["cursor"]}

        assert list(pages()) == expected

    @pytest.mark.parametrize(
        ("asked", "path"),
        [
            ({"all": "yes"}, "all"),
            ({"cursor": "-1"}, "cursor"),
            ({"cursor": "9" * 30}, "cursor"),
            ({"cursor": "\uff11"}, "cursor"),
            ({"persona_id": ""}, "persona_id"),
            ({"persona_id": "\0"}, "persona_id"),
            ({"persona_id": "x" * 101}, "persona_id"),
            ({"model": "m"}, "model"),
        ],
    )
    def test_a_question_without_an_answer_is_refused(self, caller: Caller, asked: dict[str, str], path: str) -> None:
        status, problem = caller.get("/budgets", **asked)

        assert (status, problem["errors"][0]["path"]) == (422, path)

    @pytest.mark.parametrize("number", ["1", "0", "9" * 18, "9" * 40])
    def test_an_unknown_budget_is_a_404(self, caller: Caller, number: str) -> None:
        for status, problem in (
            caller.get(f"/budgets/{number}"),
            caller.call("delete", f"/budgets/{number}"),
            send(caller, "patch", f"/budgets/{number}", {"limit": 1}),
        ):
            assert (status, problem["detail"]) == (404, f"No budget {number} is known.")


class TestWhoMay:
    def test_reading_and_writing_take_different_scopes(self) -> None:
        reader, writer = Caller.with_key(scopes=[Scope.COSTS_READ]), Caller.with_key(scopes=[Scope.CONTROLS_WRITE])
        path = f"/budgets/{made(writer)['id']}"

        assert [reader.get("/budgets")[0], reader.get(path)[0]] == [200, 200]
        assert [writer.get("/budgets")[0], writer.get(path)[0]] == [403, 403]
        assert reader.post("/budgets", FIELDS)[0] == 403
        assert send(reader, "patch", path, {"limit": 1})[0] == reader.call("delete", path)[0] == 403
        assert Caller().get("/budgets")[0] == Caller().post("/budgets", FIELDS)[0] == 401

    def test_a_bound_key_sees_and_changes_only_budgets_of_its_personas(self) -> None:
        mine, all_of_them = Caller.with_key(personas=["mine"]), Caller.with_key()
        own = made(mine, scope={"persona_id": "mine", "model": "m"})
        foreign = [made(all_of_them, scope={"persona_id": "yours"}), made(all_of_them, scope={})]

        assert [budget["id"] for budget in mine.get("/budgets")[1]["budgets"]] == [own["id"]]
        assert mine.get("/budgets", persona_id="yours")[1]["budgets"] == []
        for budget in foreign:
            path, absent = f"/budgets/{budget['id']}", "/budgets/999999"
            for method in ("get", "delete"):
                assert mine.call(method, path)[0] == mine.call(method, absent)[0] == 404
            assert send(mine, "patch", path, {"limit": 1})[0] == 404
            assert all_of_them.get(path) == (200, budget)

    @pytest.mark.parametrize("scope", [{}, {"persona_id": ""}, {"persona_id": "yours"}, {"model": "mine"}])
    def test_a_bound_key_makes_budgets_only_for_its_personas(self, scope: dict[str, str]) -> None:
        status, problem = Caller.with_key(personas=["mine"]).post("/budgets", FIELDS | {"scope": scope})

        assert (status, problem["errors"][0]["path"]) == (422, "scope.persona_id")


@pytest.mark.parametrize(
    ("operation", "status", "example"),
    [
        (documentation.LIST_BUDGETS, 200, examples.BUDGETS),
        (documentation.MAKE_BUDGET, 201, examples.BUDGET),
        (documentation.GET_BUDGET, 200, examples.BUDGET),
    ],
)
def test_an_example_shows_every_documented_field(
    operation: dict[str, Any], status: int, example: dict[str, Any]
) -> None:
    assert set(example) == set(operation["responses"][status, JSON]["properties"])


def test_an_answer_has_exactly_the_documented_fields(caller: Caller) -> None:
    assert set(made(caller)) == set(documentation.BUDGET["properties"])
    assert set(made(caller, **examples.NEW_BUDGET)) == set(examples.BUDGET)
