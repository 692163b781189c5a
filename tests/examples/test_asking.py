"""The studio asks before it pays, and does what it is told: on a real database, with the simulated server."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils.timezone import now

from controls import decisions
from controls.models import Control, Hold, Refusal
from costs import drain, threads
from examples.content_pipeline.account import Account
from examples.content_pipeline.personas import PERFECTIONIST
from examples.content_pipeline.pipeline import assignments, write_posts
from examples.content_pipeline.simulated_openai import simulated_openai
from tests.controls.conftest import close_decisions

RUN = "test"
PERSONA = PERFECTIONIST.id_in(RUN)
CALLS_PER_POST = 3

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "inbox", "decisions"])


@pytest.fixture(scope="module")
def openai() -> Iterator[str]:
    with simulated_openai() as base_url:
        yield base_url


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    decisions.forget()
    yield
    threads.close_shared()
    close_decisions()


def held_back(level: str, **fields: Any) -> Control:
    at = now()
    given = {"since": at, "expires_at": at + timedelta(hours=1), "reason": "Too dear."}
    return Control.objects.create(persona_id=PERSONA, level=level, **given | fields)


def write(openai: str, posts: int = 1) -> tuple[Account, dict[str, Decimal]]:
    """The producer's own account, and what it was told that each finished post cost; all of it is booked."""
    account = Account()
    given = assignments(RUN, posts, [PERFECTIONIST])
    told = asyncio.run(write_posts(RUN, openai, account, given, lambda done: None))
    drain.drain(at=now(), seconds=5)
    return account, told


def decided() -> list[datetime]:
    return list(Hold.objects.order_by("created_at").values_list("created_at", flat=True))


class TestAPost:
    def test_that_nothing_stands_against_is_written_and_its_events_settle_the_holds(self, openai: str) -> None:
        account, told = write(openai)

        holds = list(Hold.objects.all())
        assert [hold.state for hold in holds] == ["settled"] * CALLS_PER_POST
        assert {hold.actual for hold in holds} == {entry.cost for entry in account.entries.values() if entry.model}
        assert [hold.overrun for hold in holds] == [0] * CALLS_PER_POST, "the estimates were high enough"
        assert list(told.values()) == [account.total()]

    def test_of_a_persona_that_is_throttled_waits_for_each_of_its_turns(self, openai: str) -> None:
        held_back("throttle", per_minute=200)

        _, told = write(openai)

        first, second, third = decided()
        assert second - first >= timedelta(seconds=0.3)
        assert third - second >= timedelta(seconds=0.3)
        assert len(told) == 1
        assert not Refusal.objects.filter(admitted_at=None).exists()

    def test_that_is_switched_takes_the_model_it_is_given_and_knows_what_that_saved(self, openai: str) -> None:
        held_back("switch")

        account, told = write(openai)

        switched = [entry for entry in account.entries.values() if entry.asked_cost is not None]
        assert {entry.operation for entry in switched} == {"draft", "hook_generation"}
        assert {entry.model for entry in switched} == {"gpt-4o-mini-2024-07-18"}
        assert {hold.asked_actual for hold in Hold.objects.switched()} == {entry.asked_cost for entry in switched}
        assert list(told.values()) == [account.total()]

    def test_of_a_persona_that_is_paused_is_skipped_and_counted(self, openai: str) -> None:
        held_back("pause")

        account, told = write(openai, posts=2)

        assert told == {}
        assert [refusal.operation for refusal in account.refusals] == ["draft", "draft"]
        assert [refusal.estimate for refusal in account.refusals] == [
            refusal.amount for refusal in Refusal.objects.order_by("first_at")
        ]
        assert {entry.model for entry in account.entries.values()} == {None}, "only its memory was asked"
        assert not Hold.objects.exists()

    def test_whose_call_fails_gives_back_what_was_reserved(self) -> None:
        with pytest.raises(Exception, match="Connection error"):
            write("http://127.0.0.1:9/v1")

        assert [hold.state for hold in Hold.objects.all()] == ["released"]
