"""The guard around a paid call: let in or refused, and whatever way it is left, no money stays reserved."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils.timezone import now

from controls import budgets, guard
from controls.models import Budget, Control, Hold
from controls.verdicts import Reason, Verdict
from costs import threads
from costs.ingest import track

BOTH = ["default", "decisions"]
pytestmark = pytest.mark.django_db(transaction=True, databases=[*BOTH, "inbox"])
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    yield
    threads.close_shared()


def a_budget(limit: str = "1") -> Budget:
    budget = Budget(name="hard", period="monthly", limit=Decimal(limit), hard=True)
    return budgets.create(budget, actor="ann", at=now())


def a_call(**fields: Any) -> guard.call:
    given: dict[str, Any] = {"persona_id": "ai_jesus", "input_tokens": 1000, "output_tokens": 500}
    return guard.call("gpt-4o", **given | fields)


def states() -> list[str]:
    return list(Hold.objects.order_by("created_at").values_list("state", flat=True))


def report(admission: guard.Admission) -> None:
    track(
        {
            "cost_type": "openai_api",
            "model": admission.model,
            "persona_id": "ai_jesus",
            "usage": {"input_tokens": 1000, "output_tokens": 500},
            "hold_id": admission.hold_id,
        },
        at=now(),
    )


class TestInThreadsAndScripts:
    def test_a_block_without_an_event_gives_the_money_back(self) -> None:
        with a_call() as admission:
            assert (admission.model, states()) == ("gpt-4o", ["open"])

        assert states() == ["released"]

    def test_not_once_its_event_was_accepted(self) -> None:
        with a_call() as admission:
            report(admission)

        assert states() == ["open"]

    def test_an_error_gives_it_back_too(self) -> None:
        with pytest.raises(ZeroDivisionError), a_call():
            _ = 1 / 0

        assert states() == ["released"]

    def test_a_generator_that_nobody_finishes_gives_it_back(self) -> None:
        def pieces() -> Generator[str]:
            with a_call():
                yield "a"
                yield "b"

        reading = pieces()
        next(reading)
        reading.close()

        assert states() == ["released"]

    def test_a_refused_call_raises_with_the_decision(self) -> None:
        a_budget("0.001")

        with pytest.raises(guard.Refused) as refused, a_call():
            raise AssertionError("must not be reached")

        assert refused.value.decision.reason == Reason.BUDGET
        assert states() == []

    def test_a_throttled_call_waits_for_its_turn_with_patience(self) -> None:
        Control.objects.create(
            persona_id="ai_jesus", level="throttle", per_minute=300, since=now(), expires_at=now() + HOUR
        )

        with a_call():
            pass
        with pytest.raises(guard.Refused), a_call(), a_call():
            pass
        with a_call(patience=timedelta(seconds=5)):
            pass

    def test_the_bare_decision_is_there_for_who_ends_holds_by_hand(self) -> None:
        decision = guard.decide("gpt-4o", persona_id="ai_jesus", input_tokens=10)

        assert decision.decision is Verdict.ALLOW
        assert states() == ["open"]

    def test_a_function_is_decorated_once_for_all_its_calls(self) -> None:
        @guard.guarded(lambda persona: a_call(persona_id=persona))
        def write(persona: str, *, admission: guard.Admission) -> str:
            return f"{persona} with {admission.model}"

        assert write("ai_buddha") == "ai_buddha with gpt-4o"
        assert Hold.objects.get().persona_id == "ai_buddha"


class TestInAnEventLoop:
    def test_a_block_gives_the_money_back(self) -> None:
        async def work() -> str:
            async with a_call() as admission:
                return admission.model

        assert asyncio.run(work()) == "gpt-4o"
        assert states() == ["released"]

    def test_cancellation_gives_it_back(self) -> None:
        async def work() -> None:
            async with a_call():
                await asyncio.sleep(60)

        async def cancelled() -> None:
            task = asyncio.create_task(work())
            while not await asyncio.to_thread(_any_hold):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
        assert states() == ["released"]

    def test_an_async_generator_that_is_closed_gives_it_back(self) -> None:
        async def pieces() -> AsyncIterator[str]:
            async with a_call():
                yield "a"
                yield "b"

        async def read_one() -> None:
            reading = pieces()
            await anext(reading)
            await reading.aclose()  # type: ignore[attr-defined]

        asyncio.run(read_one())
        assert states() == ["released"]

    def test_a_coroutine_function_is_decorated_alike(self) -> None:
        @guard.guarded(lambda: a_call())
        async def write(*, admission: guard.Admission) -> str:
            return admission.model

        assert asyncio.run(write()) == "gpt-4o"
        assert states() == ["released"]


def _any_hold() -> bool:
    try:
        return Hold.objects.exists()
    finally:
        connection.close()
