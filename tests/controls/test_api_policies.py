"""Policies and model switches over HTTP: what holds for whom, and what makes no sense."""

from decimal import Decimal
from typing import Any

import pytest

from controls import documentation_controls, examples
from controls.models import Policy, Switch
from controls.policy_changes import FIELDS
from tests.controls.test_api_budgets import send
from tests.controls.test_api_controls import listed, refused
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
CENTS = {"minimum_amount": Decimal("0.05")}


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


class TestPolicies:
    def test_everybodys_holds_until_a_persona_has_its_own(self, caller: Caller) -> None:
        assert caller.get("/controls/policies/ai_jesus") == (200, examples.POLICY | {"leave": Decimal("0.7")} | CENTS)

        status, own = send(caller, "patch", "/controls/policies/ai_jesus", {"spike_from": "4.5", "is_observing": True})

        assert (status, own["persona_id"], own["spike_from"], own["budget_from"]) == (
            200,
            "ai_jesus",
            Decimal("4.5"),
            90,
        )
        assert caller.get("/controls/policies/ai_jesus") == (200, own)
        assert listed(caller, "/controls/policies", "policies") == ["ai_jesus", None]
        status, held = caller.call("delete", "/controls/policies/ai_jesus")
        assert (status, held["persona_id"], held["is_observing"]) == (200, None, False)
        assert caller.call("delete", "/controls/policies/ai_jesus") == (200, held)

    def test_patch_keeps_and_put_resets_what_is_not_said(self, caller: Caller) -> None:
        send(caller, "patch", "/controls/policies", {"stay_seconds": 30, "roi_from": -70})

        _, patched = send(caller, "patch", "/controls/policies", {"roi_from": -80})
        _, put = send(caller, "put", "/controls/policies", {"roi_from": -90})

        assert (patched["persona_id"], patched["stay_seconds"], patched["roi_from"]) == (None, 30, -80)
        assert (put["stay_seconds"], put["roi_from"]) == (60, -90)
        assert Policy.objects.get().roi_from == -90

    def test_an_own_one_begins_as_the_one_that_held(self, caller: Caller) -> None:
        send(caller, "patch", "/controls/policies", {"stay_seconds": 30})

        _, patched = send(caller, "patch", "/controls/policies/a/b", {"roi_from": -80})
        _, put = send(caller, "put", "/controls/policies/c", {})

        assert (patched["persona_id"], patched["stay_seconds"], put["stay_seconds"]) == ("a/b", 30, 60)

    @pytest.mark.parametrize(
        ("name", "refused_values", "taken"),
        [
            ("spike_from", (1, 0, "NaN", 10_000_000, "3.001", True, None), "1.01"),
            ("budget_from", (0, 10_000, -1), "0.01"),
            ("roi_from", (0, 1, -10_000), "-0.01"),
            ("leave", (0, 1, "0.001"), "0.99"),
            ("minimum_amount", (-1, 1e9, "0.0000000000001"), 0),
            ("minimum_events", (-1, 2**31, 0.5), 0),
            ("stay_seconds", (0, 366 * 86_400 + 1), 1),
            ("high_per_minute", (0, 2**31), 1),
            ("pause_persona", (1, None, "yes"), False),
            ("persona_id", ("b",), None),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, caller: Caller, name: str, refused_values: tuple[Any, ...], taken: Any
    ) -> None:
        for value in refused_values:
            assert refused(send(caller, "patch", "/controls/policies", {name: value})) == (422, name), value

        if taken is not None:
            status, body = send(caller, "patch", "/controls/policies", {name: taken})
            assert (status, Decimal(body[name])) == (200, Decimal(taken))


class TestSwitches:
    def test_the_list_of_a_model_is_replaced_as_a_whole_and_in_order(self, caller: Caller) -> None:
        targets: list[dict[str, Any]] = [
            {"target": "cheap/one", "retired_on": None, "context_tokens": None, "is_alive": True},
            {"target": "gone", "retired_on": "2020-01-01", "context_tokens": 4096, "is_alive": False},
        ]
        said = [{name: value for name, value in target.items() if name != "is_alive"} for target in targets]

        status, body = send(caller, "put", "/controls/switches/openai/gpt-4o", {"targets": said})

        assert (status, body) == (200, {"model": "openai/gpt-4o", "targets": targets})
        assert caller.get("/controls/switches/openai/gpt-4o") == (200, body)
        send(caller, "put", "/controls/switches/openai/gpt-4o", {"targets": list(reversed(said))})
        assert [each.target for each in Switch.objects.of("openai/gpt-4o")] == ["gone", "cheap/one"]

    def test_an_empty_list_lets_nothing_stand_in(self, caller: Caller) -> None:
        assert "gpt-4o" in listed(caller, "/controls/switches", "switches", "model")

        status, body = send(caller, "put", "/controls/switches/GPT-4o", {"targets": []})

        assert (status, body["targets"]) == (200, [])
        assert "gpt-4o" not in listed(caller, "/controls/switches", "switches", "model")
        assert caller.get("/controls/switches/gpt-4o")[0] == 404

    @pytest.mark.parametrize(
        ("targets", "path"),
        [
            (None, "targets"),
            ([{}], "targets[0].target"),
            ([{"target": ""}], "targets[0].target"),
            ([{"target": "m"}], "targets[0].target"),
            ([{"target": "a"}, {"target": "a"}], "targets[1].target"),
            ([{"target": "\0"}], "targets[0].target"),
            ([{"target": "a", "retired_on": "soon"}], "targets[0].retired_on"),
            ([{"target": "a", "context_tokens": 0}], "targets[0].context_tokens"),
            ([{"target": f"{number}"} for number in range(21)], "targets"),
        ],
    )
    def test_what_makes_no_list_is_refused(self, caller: Caller, targets: Any, path: str) -> None:
        assert refused(send(caller, "put", "/controls/switches/m", {"targets": targets})) == (422, path)


def test_a_policy_shows_every_field_that_can_be_set() -> None:
    settable = set(documentation_controls.POLICY_FIELDS["properties"])

    assert settable == set(FIELDS) == {field.name for field in Policy._meta.fields} - {"id", "persona_id"}
