"""Decisions: who is let in, at which price, on which budget's money, and what the others are told."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from controls import budgets, decisions, increases, overrides
from controls.estimates import InvalidCall
from controls.models import Budget, Control, Policy, Refusal, Switch
from controls.verdicts import Reason, Suggestion, Verdict
from costs import caches
from tests.controls.conftest import NOW, ask, hold_of, make_budget
from tests.costs.conftest import Ledger, usage_event

pytestmark = pytest.mark.django_db
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CALL = Decimal("0.0075")


def control(level: str, persona: str = "ai_jesus", **fields: Any) -> Control:
    """A row of the breaker that began a minute ago and lasts an hour."""
    given = {"since": NOW - MINUTE, "expires_at": NOW + HOUR, "per_minute": 10, "reason": "a spike", **fields}
    return Control.objects.create(persona_id=persona, level=level, **given)


def held(budget: Budget) -> Decimal:
    found: Decimal = budget.period_at(NOW).held
    return found


class TestWhatIsRemembered:
    def test_prices_and_lists_are_read_once_and_each_name_is_searched_once(self) -> None:
        configuration, names = looked_up("configuration"), looked_up("price")

        for _ in range(3):
            ask()
        decisions.forget()
        ask()

        assert looked_up("configuration") - configuration == Counter(hits=2, misses=2)
        found = looked_up("price") - names
        # An earlier call in this process may have searched already.
        assert found["hits"] > 0
        assert found["hits"] >= 2 * found["misses"]


def looked_up(cache: str) -> Counter[str]:
    """How often the cache was asked so far, in this process."""
    return Counter(
        hits=int(caches.HITS.labels(cache)._value.get()), misses=int(caches.MISSES.labels(cache)._value.get())
    )


class TestLettingIn:
    def test_what_no_budget_counts_is_let_in_and_held_all_the_same(self) -> None:
        decision = ask()

        assert (decision.decision, decision.reason) == (Verdict.ALLOW, Reason.NO_BUDGET)
        assert (decision.model, decision.estimate, decision.remaining) == ("gpt-4o", CALL, None)
        hold = hold_of(decision)
        assert (hold.amount, hold.state, hold.budget_ids) == (CALL, "open", [])
        assert (hold.created_at, hold.expires_at) == (NOW, NOW + timedelta(seconds=120))
        assert decision.expires_at == hold.expires_at

    def test_its_estimate_is_reserved_in_every_budget_that_counts_it(self) -> None:
        own, of_all = make_budget("1", persona_id="ai_jesus", hard=True), make_budget("100")
        other = make_budget("1", persona_id="ai_buddha", hard=True)

        decision = ask()

        assert [held(own), held(of_all), held(other)] == [CALL, CALL, 0]
        assert decision.reason == Reason.WITHIN_BUDGET
        assert decision.budget is not None
        assert (decision.budget.id, decision.budget.allowed) == (own.pk, Decimal(1))
        assert decision.remaining == 1 - CALL
        assert decision.resets_at == NOW.replace(hour=0) + timedelta(days=1)

    @pytest.mark.parametrize(
        ("scope", "is_counted"),
        [
            ({"model": "gpt-4o"}, True),
            ({"model": "gpt-4o-mini"}, False),
            ({"cost_type": "openai_api"}, True),
            ({"cost_type": "anthropic_api"}, False),
            ({"persona_id": "ai_jesus", "model": "gpt-4o", "cost_type": "openai_api"}, True),
        ],
    )
    def test_a_budget_counts_the_model_and_the_cost_type_that_it_is_for(
        self, scope: dict[str, Any], is_counted: bool
    ) -> None:
        budget = make_budget("1", **scope)

        ask()

        assert held(budget) == (CALL if is_counted else 0)

    @pytest.mark.parametrize(
        "spelled",
        [
            {"model": "gpt-4o-2024-08-06"},
            {"model": "GPT-4o"},
            {"model": "openai/gpt-4o"},
            {"provider": "OpenAI"},
            {"cost_type": "OPENAI_API"},
            {"cost_type": "text"},
        ],
    )
    def test_however_the_call_spells_them(self, spelled: dict[str, Any]) -> None:
        of_model, of_type = make_budget("1", model="gpt-4o"), make_budget("1", cost_type="openai_api")

        ask(**spelled)

        assert (held(of_model), held(of_type)) == (CALL, CALL)

    def test_a_hard_budget_lets_in_to_the_last_fraction_of_a_cent_and_nothing_beyond(self) -> None:
        make_budget("0.015", hard=True)

        assert [ask(post_id=str(n)).decision for n in range(3)] == ["allow", "allow", "deny"]

    def test_a_soft_budget_only_warns(self) -> None:
        make_budget("0.001")

        decision = ask()

        assert decision.decision == Verdict.ALLOW
        assert decision.remaining == Decimal("0.001") - CALL

    def test_an_ended_budget_counts_nothing_any_more(self) -> None:
        budget = make_budget("0.001", hard=True, at=NOW - HOUR)
        budgets.end(budget.pk, actor="ann", at=NOW - MINUTE)

        assert ask().decision == Verdict.ALLOW

    def test_what_the_ledger_has_counts(self, ledger: Ledger) -> None:
        make_budget("0.01", hard=True)
        ledger.record([usage_event(timestamp=NOW.isoformat())], at=NOW)

        decision = ask()

        assert (decision.decision, decision.reason) == (Verdict.DENY, Reason.BUDGET)
        assert decision.remaining == Decimal("0.0025")
        assert decision.retry_after == 12 * 3600
        assert "$0.0025 left" in decision.detail

    def test_a_cheaper_model_is_suggested_with_what_it_saves(self) -> None:
        assert ask().suggestion == Suggestion("gpt-4o-mini", CALL - Decimal("0.00045"))

    def test_a_refused_call_hears_of_the_cheaper_model_only_if_that_fits(self) -> None:
        make_budget("0.001", hard=True, persona_id="ai_jesus")
        make_budget("0.0001", hard=True, persona_id="ai_buddha")

        assert ask().suggestion == Suggestion("gpt-4o-mini", CALL - Decimal("0.00045"))
        assert ask(persona_id="ai_buddha").suggestion is None


class TestNightfall:
    def test_what_was_let_in_before_midnight_still_counts_against_the_new_day(self) -> None:
        make_budget("0.01", hard=True)
        midnight = NOW.replace(hour=0) + timedelta(days=1)

        assert ask(at=midnight - SECOND).decision == Verdict.ALLOW
        assert ask(at=midnight + SECOND).decision == Verdict.DENY
        assert ask(at=midnight + timedelta(seconds=121)).decision == Verdict.ALLOW


class TestIncreases:
    def test_a_temporary_increase_lifts_a_hard_budget_until_it_expires(self) -> None:
        budget = make_budget("0.001", hard=True)
        increases.make(budget.pk, Decimal("0.01"), reason="launch", actor="ann", expires_at=NOW + HOUR, at=NOW)

        assert ask(at=NOW + HOUR - SECOND).decision == Verdict.ALLOW
        assert ask(at=NOW + HOUR).decision == Verdict.DENY


class TestCallsThatCannotBe:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"input_tokens": 0, "output_tokens": 0}, "estimated_tokens must say how many"),
            ({"input_tokens": -1}, "input_tokens must lie between"),
            ({"model": " "}, "model must be named"),
            ({"post_id": "p" * 256}, "post_id must have at most 255"),
            ({"operation": "a\0b"}, "operation must not contain the NUL"),
            ({"life": timedelta(0)}, "ttl_seconds must be"),
            ({"life": timedelta(hours=25)}, "ttl_seconds must be"),
        ],
    )
    def test_are_refused_before_anything_is_asked(self, fields: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidCall, match=said):
            ask(**fields)

    def test_a_provider_that_nobody_knows_makes_no_name_that_is_too_long(self) -> None:
        assert hold_of(ask(provider="p" * 100)).cost_type == "p" * 96 + "_api"

    def test_a_budget_with_nothing_left_lets_in_nothing_however_cheap(self, ledger: Ledger) -> None:
        make_budget("0.0075", hard=True)
        ask()

        assert ask(model="text-embedding-3-small", input_tokens=1, output_tokens=0).reason == Reason.BUDGET


class TestUnknownModels:
    def test_they_are_held_at_the_dearest_price_of_their_provider(self) -> None:
        decision = ask(model="gpt-99-ultra", provider="openai")

        assert decision.decision == Verdict.ALLOW
        assert decision.estimate > Decimal("0.1")
        assert "dearest" in decision.detail or decision.reason == Reason.NO_BUDGET

    def test_a_hard_budget_may_refuse_them(self, settings: Any) -> None:
        settings.FINOPS_UNKNOWN_MODELS = "deny"
        make_budget("100", hard=True, persona_id="ai_jesus")

        refused, soft = ask(model="gpt-99-ultra"), ask(model="gpt-99-ultra", persona_id="ai_buddha")

        assert (refused.decision, refused.reason) == (Verdict.DENY, Reason.UNKNOWN_MODEL)
        assert soft.decision == Verdict.ALLOW


class TestTheBreaker:
    def test_a_throttled_persona_gets_one_call_for_each_interval(self) -> None:
        control("throttle", per_minute=10)

        first, second = ask(), ask(at=NOW + SECOND)
        third = ask(at=NOW + timedelta(seconds=6))

        assert [first.decision, second.decision, third.decision] == ["allow", "throttle", "allow"]
        assert (second.reason, second.retry_after) == (Reason.THROTTLED, Decimal(5))
        assert second.hold_id is None
        assert second.control is not None
        assert second.control.per_minute == 10

    def test_a_switched_persona_uses_the_cheaper_model_and_pays_its_price(self) -> None:
        control("switch")
        dear, cheap = make_budget("1", model="gpt-4o"), make_budget("1", model="gpt-4o-mini")

        decision = ask()

        assert (decision.decision, decision.model) == (Verdict.SWITCH, "gpt-4o-mini")
        assert decision.estimate == Decimal("0.00045")
        assert (held(dear), held(cheap)) == (Decimal(0), decision.estimate)
        hold = hold_of(decision)
        assert (hold.asked_model, hold.asked_amount) == ("gpt-4o", CALL)

    def test_without_a_cheaper_model_it_stays_throttled(self) -> None:
        Switch.objects.all().delete()
        control("switch", per_minute=30)

        first, second = ask(), ask(at=NOW + SECOND)

        assert [first.decision, second.decision] == ["allow", "throttle"]
        assert "No cheaper model is listed for gpt-4o." in first.detail

    def test_a_paused_persona_is_denied_until_the_pause_ends(self) -> None:
        control("pause", since=NOW, expires_at=NOW + HOUR)

        decision = ask(at=NOW + MINUTE)

        assert (decision.decision, decision.reason) == (Verdict.DENY, Reason.PAUSED)
        assert decision.retry_after == 59 * 60

    def test_after_a_pause_it_is_on_trial_even_if_nobody_moves_the_breaker(self) -> None:
        control("pause", since=NOW - HOUR, expires_at=NOW, per_minute=10)

        assert [ask().decision, ask(at=NOW + SECOND).decision] == ["switch", "throttle"]
        assert ask(at=NOW + HOUR).decision == Verdict.ALLOW

    def test_any_other_level_ends_by_itself(self) -> None:
        control("throttle", per_minute=1, expires_at=NOW + SECOND)

        assert [ask().decision, ask(at=NOW + SECOND).decision] == ["allow", "allow"]

    def test_others_are_not_concerned(self) -> None:
        control("pause")

        assert ask(persona_id="ai_buddha").decision == Verdict.ALLOW

    def test_a_policy_that_only_observes_notes_what_it_would_have_done(self) -> None:
        Policy.objects.filter(persona_id="").update(is_observing=True)
        control("pause", is_observing=True)
        control("throttle", "throttled", is_observing=True)
        control("switch", "switched", is_observing=True, per_minute=None)

        ask(persona_id="throttled")
        seen = [ask(persona_id=persona) for persona in ("ai_jesus", "throttled", "switched")]

        assert [decision.decision for decision in seen] == ["allow"] * 3
        assert [decision.observed for decision in seen] == ["deny", "throttle", "switch"]
        assert [hold_of(d).observed for d in seen] == ["deny", "throttle", "switch"]


class TestOverrides:
    def test_force_open_denies_everybody(self) -> None:
        overrides.begin("force_open", "", reason="stop", actor="ann", for_=HOUR, at=NOW)

        decision = ask()

        assert (decision.decision, decision.reason) == (Verdict.DENY, Reason.OVERRIDE)
        assert decision.detail == "Paused for everybody until 2026-11-24 13:00:00 UTC, by ann: stop."
        assert decision.retry_after == 3600

    @pytest.mark.parametrize("kind", ["force_closed", "disabled"])
    def test_the_other_kinds_skip_the_breaker_and_never_a_hard_budget(self, kind: str) -> None:
        control("pause")
        make_budget("0.01", hard=True)
        overrides.begin(kind, "ai_jesus", reason="launch", actor="ann", for_=HOUR, at=NOW)

        assert [ask().decision, ask(post_id="second").reason] == ["allow", "budget"]

    def test_a_pause_for_all_wins_over_what_one_was_granted(self) -> None:
        overrides.begin("force_closed", "ai_jesus", reason="launch", actor="ann", for_=HOUR, at=NOW)
        overrides.begin("force_open", "", reason="stop", actor="ann", for_=HOUR, at=NOW)

        assert ask().decision == Verdict.DENY


class TestRefusals:
    def test_the_same_call_is_kept_once_however_often_it_asks(self) -> None:
        make_budget("0.001", hard=True)

        for second in range(3):
            ask(at=NOW + second * SECOND, post_id="p")
        ask(post_id="another")

        refusal = Refusal.objects.get(post_id="p")
        assert (refusal.attempts, refusal.first_at, refusal.last_at) == (3, NOW, NOW + 2 * SECOND)
        assert (refusal.decision, refusal.reason, refusal.amount) == ("deny", "budget", CALL)
        assert Refusal.objects.count() == 2

    def test_one_that_comes_back_with_a_cheaper_model_saved_no_whole_call(self) -> None:
        make_budget("0.001", hard=True)
        ask()

        ask(model="gpt-4o-mini")

        assert not Refusal.objects.avoided().exists()

    def test_one_that_is_let_in_later_was_only_delayed(self) -> None:
        control("throttle", per_minute=10)
        ask(post_id="first")
        ask(post_id="second")

        ask(post_id="second", at=NOW + timedelta(seconds=6))

        assert Refusal.objects.get().admitted_at == NOW + timedelta(seconds=6)
        assert not Refusal.objects.avoided().exists()


class TestAbandonedHolds:
    def test_they_turn_nobody_down_even_if_no_sweep_comes(self) -> None:
        make_budget("0.01", hard=True)
        abandoned = ask(post_id="first")

        assert ask(post_id="second", at=NOW + timedelta(seconds=119)).decision == Verdict.DENY
        assert ask(post_id="second", at=NOW + timedelta(seconds=120)).decision == Verdict.ALLOW
        assert hold_of(abandoned).state == "expired"


def test_an_id_is_a_uuid_in_the_order_of_time() -> None:
    first, second = ask(), ask(at=NOW + SECOND)

    assert isinstance(first.hold_id, UUID)
    assert isinstance(second.hold_id, UUID)
    assert first.hold_id < second.hold_id
