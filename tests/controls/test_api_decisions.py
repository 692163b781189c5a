"""Decisions over HTTP: always an answer, strict about what is asked, and nothing of anybody else."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from controls import documentation_decisions, examples, overrides
from controls.estimates import MOST_TOKENS
from controls.models import Budget, Control, Hold
from costs.documentation import JSON
from costs.models import DEFAULT_SOURCE, ApiKey, Scope
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, usage_event
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DECISION = "/controls/decision"
CALL = Decimal("0.0075")
# A call of gpt-4o that costs $0.0075.
ASKED = {
    "model": "gpt-4o",
    "persona_id": "ai_jesus",
    "post_id": "post_001",
    "operation": "hook_generation",
    "estimated_tokens": {"input_tokens": 1000, "output_tokens": 500},
}
NOTHING = dict.fromkeys(documentation_decisions.DECISION["properties"])


def now() -> datetime:
    return datetime.now(UTC)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


def asked(caller: Caller, **fields: Any) -> Any:
    status, body = caller.post(DECISION, ASKED | fields)
    assert status == 200, body
    return body


def held(caller: Caller, **fields: Any) -> str:
    hold_id: str = asked(caller, **fields)["hold_id"]
    return hold_id


def budget_of(limit: str, **fields: Any) -> Budget:
    """A hard one of a month for ai_jesus."""
    given: dict[str, Any] = {
        "name": "a month",
        "period": "monthly",
        "persona_id": "ai_jesus",
        "hard": True,
        "at": now(),
    }
    return make_budget(limit, **given | fields)


def control(level: str, **fields: Any) -> Control:
    given = {"since": now(), "expires_at": now() + HOUR, "per_minute": 10, "reason": "a spike", **fields}
    return Control.objects.create(persona_id="ai_jesus", level=level, **given)


def seen(budget: Budget) -> dict[str, Any]:
    return {"id": budget.pk, "name": budget.name, "allowed": budget.limit}


class TestTheAnswer:
    def test_allow(self, caller: Caller) -> None:
        budget, before = budget_of("100"), now()

        body = asked(caller, ttl_seconds=60)

        assert body == NOTHING | {
            "decision": "allow",
            "model": "gpt-4o",
            "hold_id": str(Hold.objects.get().pk),
            "reason": "within_budget",
            "detail": "The call may cost $0.0075, and is within the budget a month.",
            "remaining": Decimal("99.9925"),
            "resets_at": budget.span_at(before).end.isoformat().replace("+00:00", "Z"),
            "suggestion": {"model": "gpt-4o-mini", "saves": CALL - Decimal("0.00045")},
            "estimate": CALL,
            "expires_at": body["expires_at"],
            "budget": seen(budget),
        }
        assert timedelta(seconds=60) <= instant(body["expires_at"]) - before < timedelta(seconds=65)

    def test_allow_without_a_budget(self, caller: Caller) -> None:
        body = asked(caller, model="gpt-4o-mini")

        assert body == NOTHING | {
            "decision": "allow",
            "model": "gpt-4o-mini",
            "hold_id": str(Hold.objects.get().pk),
            "reason": "no_budget",
            "detail": "No budget counts this call, which may cost $0.00045.",
            "estimate": Decimal("0.00045"),
            "expires_at": body["expires_at"],
        }

    def test_throttle(self, caller: Caller) -> None:
        row = control("throttle")
        asked(caller, post_id="another")

        body = asked(caller)

        assert body == NOTHING | {
            "decision": "throttle",
            "model": "gpt-4o",
            "reason": "throttled",
            "detail": "ai_jesus is throttled to 10 requests a minute.",
            "retry_after": body["retry_after"],
            "estimate": CALL,
            "control": {"level": "throttle", "per_minute": 10, "until": body["control"]["until"], "override_id": None},
        }
        assert 5 < body["retry_after"] <= 6
        assert instant(body["control"]["until"]) == row.expires_at

    def test_switch(self, caller: Caller) -> None:
        control("switch")

        body = asked(caller)

        assert body == NOTHING | {
            "decision": "switch",
            "model": "gpt-4o-mini",
            "hold_id": str(Hold.objects.get().pk),
            "reason": "switched",
            "detail": "The breaker has ai_jesus use gpt-4o-mini in place of gpt-4o.",
            "estimate": Decimal("0.00045"),
            "expires_at": body["expires_at"],
            "control": {"level": "switch", "per_minute": 10, "until": body["control"]["until"], "override_id": None},
        }

    def test_deny_for_want_of_money(self, caller: Caller) -> None:
        budget = budget_of("0.0025")

        body = asked(caller)

        assert body == NOTHING | {
            "decision": "deny",
            "model": "gpt-4o",
            "reason": "budget",
            "detail": "The hard budget a month has $0.0025 left, and this call may cost $0.0075.",
            "retry_after": body["retry_after"],
            "remaining": Decimal("0.0025"),
            "resets_at": body["resets_at"],
            "suggestion": {"model": "gpt-4o-mini", "saves": CALL - Decimal("0.00045")},
            "estimate": CALL,
            "budget": seen(budget),
        }
        assert 0 <= (instant(body["resets_at"]) - now()).total_seconds() - float(body["retry_after"]) + 5 < 10

    def test_deny_by_an_override(self, caller: Caller) -> None:
        override = overrides.begin("force_open", "", reason="stop", actor="ann", for_=HOUR, at=now())

        body = asked(caller)

        until = override.expires_at
        assert 3590 < body.pop("retry_after") <= 3600
        assert body | {"retry_after": None} == NOTHING | {
            "decision": "deny",
            "model": "gpt-4o",
            "reason": "override",
            "detail": f"Paused for everybody until {until:%Y-%m-%d %H:%M:%S} UTC, by ann: stop.",
            "estimate": CALL,
            "control": {
                **{"level": "closed", "per_minute": None, "override_id": override.pk},
                "until": until.isoformat().replace("+00:00", "Z"),
            },
        }

    def test_what_a_policy_that_only_observes_would_have_done_is_told(self, caller: Caller) -> None:
        control("pause", is_observing=True)

        body = asked(caller)

        assert (body["decision"], body["observed"]) == ("allow", "deny")

    def test_names_may_be_absent(self, caller: Caller) -> None:
        status, body = caller.post(DECISION, {"model": "gpt-4o", "estimated_tokens": {"input_tokens": 1000}})

        assert (status, body["decision"], body["estimate"]) == (200, "allow", Decimal("0.0025"))
        hold = Hold.objects.get()
        assert (hold.persona_id, hold.post_id, hold.operation) == ("", "", "")
        assert (hold.provider, hold.cost_type, hold.source) == ("openai", "openai_api", DEFAULT_SOURCE)

    def test_the_most_tokens_of_the_dearest_model_are_an_amount_like_any_other(self, caller: Caller) -> None:
        most = {"input_tokens": MOST_TOKENS, "output_tokens": MOST_TOKENS}

        body = asked(caller, model="who-knows", estimated_tokens=most)

        assert body["decision"] == "allow"
        assert body["estimate"] > 1000

    def test_an_example_shows_every_documented_field(self) -> None:
        fields = documentation_decisions.DECIDE["responses"][200, JSON]["properties"]

        assert set(examples.ALLOWED) == set(examples.DENIED) == set(fields)


BIG = "9" * 400


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        ("fields", "path", "sentence"),
        [
            ({"model": ""}, "model", "length >= 1"),
            ({"model": "m" * 101}, "model", "length <= 100"),
            ({"model": "m\0"}, "model", "NUL"),
            ({"model": None}, "model", "Expected `str`"),
            ({"model": 4}, "model", "Expected `str`"),
            ({"persona_id": "x" * 101}, "persona_id", "length <= 100"),
            ({"persona_id": "\0"}, "persona_id", "NUL"),
            ({"persona_id": ["a"]}, "persona_id", "Expected `str"),
            ({"post_id": "x" * 256}, "post_id", "length <= 255"),
            ({"post_id": "p\0"}, "post_id", "NUL"),
            ({"operation": "x" * 101}, "operation", "length <= 100"),
            ({"operation": "o\0"}, "operation", "NUL"),
            ({"provider": "x" * 101}, "provider", "length <= 100"),
            ({"provider": "p\0"}, "provider", "NUL"),
            ({"cost_type": "x" * 101}, "cost_type", "length <= 100"),
            ({"cost_type": "c\0"}, "cost_type", "NUL"),
            ({"estimated_tokens": None}, "estimated_tokens", "Expected `object`"),
            ({"estimated_tokens": 1500}, "estimated_tokens", "Expected `object`"),
            ({"estimated_tokens": {"input": 1}}, "estimated_tokens.input", "is no field here"),
            ({"estimated_tokens": {"input_tokens": -1}}, "estimated_tokens.input_tokens", ">= 0"),
            ({"estimated_tokens": {"output_tokens": MOST_TOKENS + 1}}, "estimated_tokens.output_tokens", "<="),
            ({"estimated_tokens": {"output_tokens": 10**30}}, "estimated_tokens.output_tokens", ""),
            ({"estimated_tokens": {"output_tokens": 1.5}}, "estimated_tokens.output_tokens", "Expected `int`"),
            ({"estimated_tokens": {"output_tokens": "5"}}, "estimated_tokens.output_tokens", "Expected `int`"),
            ({"estimated_tokens": {"output_tokens": True}}, "estimated_tokens.output_tokens", "Expected `int`"),
            ({"ttl_seconds": 0}, "ttl_seconds", ">= 1"),
            ({"ttl_seconds": 86_401}, "ttl_seconds", "<= 86400"),
            ({"ttl_seconds": None}, "ttl_seconds", "Expected `int`"),
            ({"ttl_seconds": "60"}, "ttl_seconds", "Expected `int`"),
            ({"persona": "a"}, "persona", "is no field here"),
            ({"hold_id": "a"}, "hold_id", "is no field here"),
            ({"source": "other"}, "source", "is no field here"),
        ],
    )
    def test_what_is_no_question_is_refused_with_its_path(
        self, caller: Caller, fields: dict[str, Any], path: str, sentence: str
    ) -> None:
        status, problem = caller.post(DECISION, ASKED | fields)

        assert status == 422, problem
        assert caller.headers["Content-Type"] == "application/problem+json"
        assert problem["errors"][0]["path"] == path
        assert sentence in problem["errors"][0]["detail"]
        assert not Hold.objects.exists()

    @pytest.mark.parametrize("name", ["model", "estimated_tokens"])
    def test_model_and_tokens_are_required(self, caller: Caller, name: str) -> None:
        status, problem = caller.post(DECISION, {field: value for field, value in ASKED.items() if field != name})

        assert (status, problem["errors"]) == (422, [{"path": name, "detail": "is required"}])

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e400", "1e-400", "-0.5", "0x10", "1_0", BIG])
    def test_numbers_that_count_no_tokens_are_refused(self, caller: Caller, number: str) -> None:
        body = json.dumps(ASKED).replace("1000", number).encode()

        status, problem = caller.post(DECISION, body)

        assert status in (400, 422), problem
        assert not Hold.objects.exists()

    def test_a_number_with_an_exponent_is_told_its_path(self, caller: Caller) -> None:
        status, problem = caller.post(DECISION, json.dumps(ASKED).replace("1000", "1e400").encode())

        assert (status, problem["errors"][0]["path"]) == (422, "estimated_tokens.input_tokens")

    @pytest.mark.parametrize(
        ("body", "status"),
        [(b"", 415), (b" ", 400), (b"{", 400), (b"[]", 422), (b"null", 422), (b"[" * 100_000, 422), (b"\xff", 400)],
    )
    def test_what_is_no_object_is_refused(self, caller: Caller, body: bytes, status: int) -> None:
        assert caller.post(DECISION, body)[0] == status

    def test_half_a_character_is_refused(self, caller: Caller) -> None:
        body = json.dumps(ASKED).replace("ai_jesus", "\\ud800").encode()

        assert caller.post(DECISION, body)[0] in (400, 422)

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_only_json_is_read(self, caller: Caller, content_type: str) -> None:
        status, problem = caller.post(DECISION, json.dumps(ASKED).encode(), content_type)

        assert (status, problem["detail"]) == (415, "The body must be application/json.")

    @pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
    def test_other_methods_are_none(self, caller: Caller, method: str) -> None:
        status, problem = caller.call(method, DECISION)

        assert (status, problem["status"]) == (405, 405)
        assert "POST" in caller.headers["Allow"]


class TestWhoMay:
    @pytest.mark.parametrize("secret", [None, "fin_unknown", "x" * 300])
    def test_a_stranger_hears_what_every_endpoint_says(self, secret: str | None) -> None:
        stranger = Caller(secret)

        status, problem = stranger.post(DECISION, ASKED)
        shown = stranger.headers["WWW-Authenticate"]
        other = stranger.post("/controls/holds/00000000-0000-0000-0000-000000000000/release", {})

        assert (status, other[0]) == (401, 401)
        assert shown == stranger.headers["WWW-Authenticate"] == 'Bearer realm="finops"'
        assert set(problem) == set(other[1]) == {"type", "title", "status", "detail"}

    def test_a_revoked_key_is_a_stranger(self) -> None:
        key, secret = ApiKey.issue(name="old", scopes=Scope.values)
        key.revoke(now())

        assert Caller(secret).post(DECISION, ASKED)[0] == 401

    def test_the_scope_is_one_of_its_own(self) -> None:
        others = [Scope.EVENTS_WRITE, Scope.COSTS_READ]
        caller, other = Caller.with_key(scopes=others), Caller.with_key(scopes=[Scope.DECISIONS_WRITE])
        hold_id = held(other)

        status, problem = caller.post(DECISION, ASKED)

        assert (status, problem["detail"]) == (403, "This API key lacks the scope decisions:write.")
        for end, body in (("release", {}), ("extend", {"ttl_seconds": 60})):
            assert caller.post(f"/controls/holds/{hold_id}/{end}", body) == (403, problem)

    def test_a_key_with_a_rate_limit_is_told_when_to_come_back(self) -> None:
        caller = Caller.with_key(rate_limit=1)
        statuses = [caller.post(DECISION, ASKED | {"model": "gpt-4o-mini"})[0] for _ in range(2)]

        assert statuses == [200, 429]
        assert 1 <= int(caller.headers["Retry-After"]) <= 60
        assert Hold.objects.count() == 1

    @pytest.mark.parametrize("persona", ["yours", "", None])
    def test_a_bound_key_asks_only_for_its_personas(self, persona: str | None) -> None:
        mine = Caller.with_key(personas=["mine"])

        status, problem = mine.post(DECISION, ASKED | {"persona_id": persona})

        assert (status, problem["errors"][0]["path"]) == (422, "persona_id")
        assert not Hold.objects.exists()
        assert asked(mine, persona_id="mine")["decision"] == "allow"

    def test_holds_of_others_are_absent(self) -> None:
        only = [Scope.DECISIONS_WRITE]
        mine, all_of_them = Caller.with_key(personas=["mine"], scopes=only), Caller.with_key(scopes=only)
        foreign, neighbour = held(all_of_them, persona_id="mine"), held(Caller.with_key(source="other"))
        yours = held(Caller.with_key(personas=["mine", "yours"]), persona_id="yours")

        for caller, hold_id in ((mine, foreign), (mine, yours), (all_of_them, neighbour)):
            for end, body in (("release", {}), ("extend", {"ttl_seconds": 60})):
                status, problem = caller.post(f"/controls/holds/{hold_id}/{end}", body)
                assert (status, problem["detail"]) == (404, f"No hold {hold_id} is known.")
        assert set(Hold.objects.values_list("state", flat=True)) == {"open"}


class TestEnds:
    def test_a_release_gives_the_money_back_and_may_be_said_twice(self, caller: Caller) -> None:
        budget = budget_of("1")
        hold_id = held(caller)

        answers = [caller.post(f"/controls/holds/{hold_id}/release", {}) for _ in range(2)]

        hold = Hold.objects.get()
        status, body = answers[0]
        assert (status, body["hold_id"], body["state"], body["amount"]) == (200, hold_id, "released", CALL)
        assert instant(body["expires_at"]) == hold.expires_at
        assert answers[1] == answers[0]
        assert set(body) == set(documentation_decisions.HOLD["properties"])
        assert hold.closed_by.startswith("key test (fin_")
        assert budget.period_at(now()).held == 0

    def test_a_release_needs_no_body(self, caller: Caller) -> None:
        status, body = caller.call("post", f"/controls/holds/{held(caller)}/release")

        assert (status, body["state"]) == (200, "released")

    def test_once_its_event_was_accepted_a_release_does_nothing(self, caller: Caller, ledger: Ledger) -> None:
        budget, hold_id = budget_of("1"), held(caller)
        ledger.record([usage_event(hold_id=hold_id, persona_id="ai_jesus")])

        status, body = caller.post(f"/controls/holds/{hold_id}/release", {})

        assert (status, body["state"]) == (200, "settled")
        assert budget.period_at(now()).spent == CALL

    def test_it_is_extended_and_never_shortened(self, caller: Caller) -> None:
        hold_id, before = held(caller), now()
        path = f"/controls/holds/{hold_id}/extend"

        status, longer = caller.post(path, {"ttl_seconds": 3600})
        shorter = caller.post(path, {"ttl_seconds": 1})
        _, longest = caller.post(path, {"ttl_seconds": 86_400})

        assert (status, longer["state"]) == (200, "open")
        assert HOUR <= instant(longer["expires_at"]) - before < HOUR + timedelta(seconds=5)
        assert shorter == (200, longer)
        assert instant(longest["expires_at"]) == Hold.objects.get().created_at + timedelta(hours=24)

    def test_after_its_end_an_extension_is_a_conflict(self, caller: Caller) -> None:
        hold_id = held(caller)
        caller.post(f"/controls/holds/{hold_id}/release", {})

        status, problem = caller.post(f"/controls/holds/{hold_id}/extend", {"ttl_seconds": 60})

        assert (status, problem["detail"]) == (409, "This hold has ended: ask for another decision.")

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({}, "ttl_seconds"),
            ({"ttl_seconds": 0}, "ttl_seconds"),
            ({"ttl_seconds": 86_401}, "ttl_seconds"),
            ({"ttl_seconds": 10**30}, "ttl_seconds"),
            ({"ttl_seconds": "60"}, "ttl_seconds"),
            ({"ttl_seconds": 60, "until": "x"}, "until"),
        ],
    )
    def test_what_is_no_extension_is_refused_with_its_path(
        self, caller: Caller, body: dict[str, Any], path: str
    ) -> None:
        status, problem = caller.post(f"/controls/holds/{held(caller)}/extend", body)

        assert (status, problem["errors"][0]["path"]) == (422, path)

    @pytest.mark.parametrize("end", ["release", "extend"])
    def test_an_unknown_hold_is_a_404_and_a_get_none(self, caller: Caller, end: str) -> None:
        unknown = f"/controls/holds/00000000-0000-0000-0000-000000000000/{end}"

        assert caller.post(unknown, {"ttl_seconds": 60})[0] == 404
        assert caller.post(f"/controls/holds/no-uuid/{end}", {"ttl_seconds": 60})[0] == 404
        assert caller.get(unknown)[0] == 405
