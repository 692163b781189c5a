"""The breaker, overrides, policies, switches, holds and increases over HTTP: strict, and nothing of anybody else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Model

from controls import documentation_controls, documentation_holds, examples, increases, overrides
from controls.models import BudgetIncrease, Control, Hold, Override, Policy, Switch
from costs.documentation import JSON
from costs.models import Scope
from tests.controls.conftest import make_budget
from tests.controls.rows import HOUR, make_control, make_hold, make_refusal, make_transition, now, numbered
from tests.controls.test_api_budgets import send
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
PAUSE = {"kind": "force_open", "persona_id": "ai_jesus", "reason": "a loop", "duration_minutes": 60}


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


def begin(kind: str = "force_open", persona: str = "ai_jesus") -> Override:
    return overrides.begin(kind, persona, reason="a loop", actor="ann", for_=HOUR, at=now())


def listed(caller: Caller, path: str, name: str, field: str = "persona_id", **asked: str) -> list[Any]:
    status, body = caller.get(path, **asked)
    assert status == 200, body
    return [each[field] for each in body[name]]


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    """The status and the path of the first error."""
    status, problem = answer
    return status, problem["errors"][0]["path"]


class TestTheControls:
    @pytest.mark.parametrize(
        ("level", "minutes", "read", "per_minute"),
        [
            ("throttle", 1, "throttle", 30),
            ("throttle", -1, "closed", None),
            ("switch", -1, "closed", None),
            ("half_open", -1, "closed", None),
            ("pause", 1, "pause", 30),
            ("pause", -1, "half_open", 30),
            ("closed", 1, "closed", None),
        ],
    )
    def test_a_level_that_ran_out_is_read_as_what_follows_it(
        self, caller: Caller, level: str, minutes: int, read: str, per_minute: int | None
    ) -> None:
        ends = now() + timedelta(minutes=minutes)
        make_control(level=level, since=ends - HOUR, expires_at=None if level == "closed" else ends)

        status, body = caller.get("/controls/ai_jesus")

        assert (status, body["level"], body["obeyed_level"], body["per_minute"]) == (200, read, read, per_minute)

    @pytest.mark.parametrize(
        ("kind", "persona", "obeyed"),
        [
            ("force_open", "ai_jesus", "pause"),
            ("force_open", "", "pause"),
            ("force_closed", "ai_jesus", "closed"),
            ("disabled", "", "closed"),
        ],
    )
    def test_what_is_obeyed_is_the_word_of_the_override(
        self, caller: Caller, kind: str, persona: str, obeyed: str
    ) -> None:
        make_control(level="switch")
        override = begin(kind, persona)

        _, body = caller.get("/controls/ai_jesus")

        assert (body["level"], body["obeyed_level"], body["override"]["id"]) == ("switch", obeyed, override.pk)

    def test_what_is_only_observed_is_not_obeyed(self, caller: Caller) -> None:
        make_control(level="pause", is_observing=True)

        _, body = caller.get("/controls/ai_jesus")

        assert (body["level"], body["obeyed_level"], body["is_observing"]) == ("pause", "closed", True)

    def test_those_that_are_held_back_or_overridden_come_and_all_when_asked(self, caller: Caller) -> None:
        make_control("held")
        make_control("calm", "closed")
        make_control("over", "throttle", since=now() - 2 * HOUR, expires_at=now() - HOUR)
        begin(persona="overridden")
        everybodys = begin("disabled", "")

        assert listed(caller, "/controls", "controls") == ["held", "overridden"]
        assert listed(caller, "/controls", "controls", all="true") == ["calm", "held", "over", "overridden"]
        assert listed(caller, "/controls", "controls", persona_id="calm") == ["calm"]
        assert caller.get("/controls")[1]["override_of_everybody"]["id"] == everybodys.pk

    def test_many_come_page_by_page(self, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controls.asked.PAGE", 2)
        for persona in ("a", "b", "c", "D", "e"):
            make_control(persona)

        def pages() -> Iterator[str]:
            asked: dict[str, str] = {}
            while True:
                _, body = caller.get("/controls", **asked)
                yield from [control["persona_id"] for control in body["controls"]]
                if body["cursor"] is None:
                    return
                asked = {"cursor": body["cursor"]}

        assert sorted(pages()) == sorted(("a", "b", "c", "D", "e"))

    def test_a_persona_that_the_ledger_knows_is_closed_and_any_other_is_unknown(
        self, caller: Caller, ledger: Ledger
    ) -> None:
        ledger.record([amount_event("1", persona_id="quiet")])

        status, body = caller.get("/controls/quiet")

        assert (status, body["level"], body["since"], body["override"]) == (200, "closed", None, None)
        assert caller.get("/controls/quiet/transitions")[1]["transitions"] == []
        assert caller.get("/controls/unknown")[0] == caller.get("/controls/unknown/transitions")[0] == 404
        assert listed(caller, "/controls", "controls", persona_id="unknown") == []

    @pytest.mark.parametrize("persona", ["overrides", "holds", "team/a", "a/transitions"])
    def test_a_persona_with_the_name_of_a_path_is_found_by_its_name(self, caller: Caller, persona: str) -> None:
        make_control(persona)

        assert listed(caller, "/controls", "controls", persona_id=persona) == [persona]

    def test_transitions_come_newest_first(self, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("controls.asked.PAGE", 2)
        make_control()
        for version in (1, 2, 3):
            make_transition(version=version)
        make_transition("other")

        _, first = caller.get("/controls/ai_jesus/transitions")
        _, second = caller.get("/controls/ai_jesus/transitions", cursor=first["cursor"])

        assert [each["version"] for each in first["transitions"] + second["transitions"]] == [3, 2, 1]
        assert (first["transitions"][0]["evidence"], second["cursor"]) == ({"multiplier": "3.9"}, None)


class TestOverrides:
    def test_one_is_made_read_and_ended(self, caller: Caller) -> None:
        status, body = caller.post("/controls/overrides", PAUSE)

        path = caller.headers["Location"]
        override = Override.objects.get()
        assert (status, path) == (201, f"/controls/overrides/{body['id']}")
        assert (override.actor, override.expires_at - override.starts_at) == ("key test (" + override.actor[10:], HOUR)
        assert caller.get(path) == (200, body)
        ended = caller.call("delete", path)
        assert (ended[0], bool(ended[1]["ended_at"]), ended[1]["ended_by"]) == (200, True, override.actor)
        assert caller.call("delete", path) == ended

    def test_everybody_is_paused_by_saying_null(self, caller: Caller) -> None:
        status, body = caller.post("/controls/overrides", PAUSE | {"persona_id": None})

        assert (status, body["persona_id"], Override.objects.get().persona_id) == (201, None, "")

    def test_those_in_force_come_and_all_when_asked(self, caller: Caller) -> None:
        former, current, other = begin(), begin("disabled"), begin(persona="")

        def ids(**asked: str) -> list[Any]:
            return listed(caller, "/controls/overrides", "overrides", "id", **asked)

        assert ids() == [other.pk, current.pk]
        assert ids(all="true") == [other.pk, current.pk, former.pk]
        assert ids(persona_id="ai_jesus", all="true") == [current.pk, former.pk]

    @pytest.mark.parametrize(
        ("said", "path"),
        [
            ({"kind": "open"}, "kind"),
            ({"persona_id": ""}, "persona_id"),
            ({"persona_id": "x" * 101}, "persona_id"),
            ({"persona_id": "\0"}, "persona_id"),
            ({"reason": ""}, "reason"),
            ({"reason": "  "}, "reason"),
            ({"reason": "\0"}, "reason"),
            ({"duration_minutes": 0}, "duration_minutes"),
            ({"duration_minutes": 1441}, "duration_minutes"),
            ({"duration_minutes": 1.5}, "duration_minutes"),
            ({"actor": "ann"}, "actor"),
        ],
    )
    def test_what_makes_none_is_refused_with_its_field(self, caller: Caller, said: dict[str, Any], path: str) -> None:
        assert refused(caller.post("/controls/overrides", PAUSE | said)) == (422, path)
        assert not Override.objects.exists()

    @pytest.mark.parametrize("name", list(PAUSE))
    def test_every_field_must_be_said(self, caller: Caller, name: str) -> None:
        said = {field: value for field, value in PAUSE.items() if field != name}

        assert refused(caller.post("/controls/overrides", said)) == (422, name)


class TestWhoMay:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("post", "/controls/overrides", PAUSE),
            ("delete", "/controls/overrides/1", None),
            ("put", "/controls/policies", {}),
            ("patch", "/controls/policies/ai_jesus", {}),
            ("delete", "/controls/policies/ai_jesus", None),
            ("put", "/controls/switches/gpt-4o", {"targets": []}),
            ("post", f"/controls/holds/{numbered(1)}/write-off", None),
            ("post", "/budgets/1/increases", {}),
        ],
    )
    def test_acting_takes_a_scope_of_its_own(self, method: str, path: str, body: Any) -> None:
        reader = Caller.with_key(scopes=[Scope.COSTS_READ])

        answer = reader.call(method, path) if body is None else send(reader, method, path, body)

        assert answer[0] == 403

    def test_looking_takes_the_scope_to_read(self) -> None:
        writer = Caller.with_key(scopes=[Scope.CONTROLS_WRITE])

        for path in ("", "/ai_jesus", "/overrides", "/policies", "/switches", "/refusals", "/holds"):
            assert writer.get(f"/controls{path}")[0] == 403
            assert Caller().get(f"/controls{path}")[0] == 401

    def test_a_bound_key_sees_only_its_personas(self) -> None:
        mine, make = Caller.with_key(personas=["mine"]), _rows_of
        own, foreign = make("mine"), make("yours")
        begin("disabled", "")

        for path, name in LISTS.items():
            assert listed(mine, path, name) == ["mine"], path
            assert set(listed(mine, path, name, persona_id="yours") if "policies" not in path else []) == set()
        absent = "no-such"
        for path in ("/controls/{}", "/controls/{}/transitions", "/controls/policies/{}"):
            assert mine.get(path.format("mine"))[0] == 200
            problems = [mine.get(path.format(name)) for name in ("yours", absent)]
            assert [status for status, _ in problems] == [404, 404]
            assert problems[0][1]["detail"].replace("yours", absent) == problems[1][1]["detail"]
        for path in (f"/controls/overrides/{foreign['override'].pk}", f"/budgets/{foreign['budget'].pk}/increases"):
            assert mine.get(path)[0] == 404
        assert mine.get(f"/controls/overrides/{own['override'].pk}")[0] == 200

    def test_a_bound_key_acts_only_on_its_personas(self) -> None:
        mine, foreign = Caller.with_key(personas=["mine"]), _rows_of("yours")
        everybodys = begin("disabled", "")
        before = {kind: list(kind.objects.values()) for kind in KINDS}  # type: ignore[attr-defined]

        for persona in ("yours", None, "new"):
            assert refused(mine.post("/controls/overrides", PAUSE | {"persona_id": persona})) == (422, "persona_id")
        for path in (
            f"/controls/overrides/{foreign['override'].pk}",
            f"/controls/overrides/{everybodys.pk}",
            "/controls/policies/yours",
            f"/budgets/{foreign['budget'].pk}/increases/{foreign['increase'].pk}",
        ):
            assert mine.call("delete", path)[0] == 404
        assert mine.call("post", f"/controls/holds/{foreign['hold'].pk}/write-off")[0] == 404
        for method in ("put", "patch"):
            assert send(mine, method, "/controls/policies", {})[0] == 403
            assert send(mine, method, "/controls/policies/yours", {})[0] == 404
        assert send(mine, "put", "/controls/switches/gpt-4o", {"targets": []})[0] == 403
        said = {"amount": 1, "reason": "x", "duration_minutes": 1}
        assert mine.post(f"/budgets/{foreign['budget'].pk}/increases", said)[0] == 404
        assert {kind: list(kind.objects.values()) for kind in KINDS} == before  # type: ignore[attr-defined]

    def test_a_bound_key_may_act_on_its_own(self) -> None:
        mine = Caller.with_key(personas=["mine"])

        status, body = mine.post("/controls/overrides", PAUSE | {"persona_id": "mine"})

        assert status == 201
        assert mine.call("delete", f"/controls/overrides/{body['id']}")[0] == 200
        assert send(mine, "put", "/controls/policies/mine", {"is_observing": True})[0] == 200

    def test_a_bound_key_meets_everybodys_override_in_its_controls(self) -> None:
        everybodys = begin(persona="")

        _, body = Caller.with_key(personas=["mine"]).get("/controls/mine")

        assert (body["obeyed_level"], body["override"]["id"]) == ("pause", everybodys.pk)


LISTS = {
    "/controls": "controls",
    "/controls/overrides": "overrides",
    "/controls/policies": "policies",
    "/controls/refusals": "refusals",
    "/controls/holds": "holds",
}
KINDS: tuple[type[Model], ...] = (Control, Override, Policy, Switch, Hold, BudgetIncrease)


def _rows_of(persona: str) -> dict[str, Any]:
    make_control(persona)
    make_transition(persona)
    make_refusal(persona)
    budget = make_budget(persona_id=persona, at=now())
    Policy.objects.create(persona_id=persona)
    return {
        "override": begin(persona=persona),
        "hold": make_hold(persona, "unpriced", pending=Decimal(1)),
        "budget": budget,
        "increase": increases.make(budget.pk, Decimal(1), reason="x", actor="ann", expires_at=now() + HOUR, at=now()),
    }


@pytest.mark.parametrize(
    ("operation", "status", "example"),
    [
        (documentation_controls.LIST_CONTROLS, 200, examples.CONTROLS),
        (documentation_controls.GET_CONTROL, 200, examples.CONTROL),
        (documentation_controls.MAKE_OVERRIDE, 201, examples.OVERRIDE),
        (documentation_controls.GET_POLICY, 200, examples.POLICY),
        (documentation_holds.GET_SWITCH, 200, examples.SWITCH),
        (documentation_holds.WRITE_OFF, 200, examples.HOLD),
        (documentation_holds.MAKE_INCREASE, 201, examples.INCREASE),
    ],
)
def test_an_example_shows_every_documented_field(
    operation: dict[str, Any], status: int, example: dict[str, Any]
) -> None:
    assert set(example) == set(operation["responses"][status, JSON]["properties"])


@pytest.mark.parametrize(
    ("make", "path", "name", "schema"),
    [
        (make_control, "/controls", "controls", documentation_controls.CONTROL),
        (make_transition, "/controls/ai_jesus/transitions", "transitions", documentation_controls.TRANSITION),
        (begin, "/controls/overrides", "overrides", documentation_controls.OVERRIDE),
        (None, "/controls/policies", "policies", documentation_controls.POLICY),
        (None, "/controls/switches", "switches", documentation_holds.SWITCH),
        (make_refusal, "/controls/refusals", "refusals", documentation_holds.REFUSAL),
        (make_hold, "/controls/holds", "holds", documentation_holds.HOLD),
    ],
)
def test_an_answer_has_exactly_the_documented_fields(
    caller: Caller, make: Callable[[], Any] | None, path: str, name: str, schema: dict[str, Any]
) -> None:
    if make:
        make()
    if make is make_transition:
        make_control()

    _, body = caller.get(path)

    assert set(body[name][0]) == set(schema["properties"])
