"""`validate_post` says everything that is wrong with a post's cost, and exits with 1."""

from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs.models import DeadLetter, PostCost
from costs.validate import validate
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime.now(UTC)


def whole_post() -> list[dict[str, object]]:
    types = {"openai_api": "0.0125", "kubernetes": "0.0045", "vector_db": "0.0014"}
    return [amount_event(amount, cost_type=name, post_id="p") for name, amount in types.items()]


class TestAWholePost:
    def test_it_passes_and_shows_its_sums(self, ledger: Ledger) -> None:
        ledger.record(whole_post())
        said = StringIO()

        call_command("validate_post", "p", "--expect", "openai_api,kubernetes, vector_db", stdout=said)

        assert "p: $0.0184 in 3 charges\n  openai_api: $0.0125\n" in said.getvalue()
        assert "Nothing is missing" in said.getvalue()

    def test_nothing_is_expected_unless_it_is_said(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", post_id="p")])

        assert validate("p").wrong == []


class TestWhatIsWrong:
    def test_it_exits_with_one_and_says_what(self, ledger: Ledger) -> None:
        ledger.record(whole_post()[:2])
        told = StringIO()

        with pytest.raises(CommandError, match="p is not as it should be"):
            call_command("validate_post", "p", "--expect", "openai_api,kubernetes,vector_db", stderr=told)

        assert told.getvalue().startswith("Missing: no vector_db event is booked.")

    def test_an_unknown_post(self, ledger: Ledger) -> None:
        found = validate("never seen")

        assert not found.is_known
        assert found.wrong[0].startswith("No cost of this post is known")

    def test_events_that_wait(self, ledger: Ledger) -> None:
        ledger.record(whole_post())
        ledger.accept([amount_event("1", post_id="p")])

        assert _first_words(validate("p").wrong) == ["Pending"]

    def test_charges_without_a_price(self, ledger: Ledger) -> None:
        ledger.record([usage_event(model="no-such-model", post_id="p")])

        assert _first_words(validate("p").wrong) == ["Unpriced"]

    def test_dead_letters_of_a_post_that_has_nothing_else(self, ledger: Ledger) -> None:
        DeadLetter.objects.create(source="default", event_id="e", post_id="p", payload="{}", reason="so")

        assert _first_words(validate("p").wrong) == ["Dead letters", "No cost of this post is known"]

    def test_a_dead_letter_that_was_replayed_is_none(self, ledger: Ledger) -> None:
        ledger.record(whole_post())
        DeadLetter.objects.create(
            source="default", event_id="e", post_id="p", payload="{}", reason="so", replayed_at=NOW
        )

        assert validate("p").wrong == []

    def test_amounts_far_from_the_price_of_their_usage(self, ledger: Ledger) -> None:
        ledger.record([usage_event(amount="0.009", post_id="p")])

        assert _first_words(validate("p").wrong) == ["Deviating"]

    def test_counters_that_differ_from_the_lines(self, ledger: Ledger) -> None:
        ledger.record(whole_post())
        PostCost.objects.filter(cost_type="kubernetes").update(amount=Decimal("0.0046"))

        assert validate("p").wrong == ["Sums: the counters say $0.018500000000, the lines $0.018400000000. "
                                       "See: manage.py verify_ledger"]  # fmt: skip


def _first_words(sentences: list[str]) -> list[str]:
    return [sentence.split(":")[0] for sentence in sentences]
