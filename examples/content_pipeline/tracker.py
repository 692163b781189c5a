"""The engine with the producer's own account beside it: every purchase is noted first and tracked second.

In a service of yours this file is not needed: call guard.call, ViralFinOpsEngine and track_cost.delay() as its methods
do.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from openai.types.chat import ChatCompletion

from controls import guard
from controls.guard import Admission
from controls.verdicts import Verdict
from costs import threads
from costs.engine import ViralFinOpsEngine
from costs.tasks import track_cost
from examples.content_pipeline.account import Account, Entry, Refusal, chat_cost, infrastructure_cost
from examples.content_pipeline.meter import Used

MINUTES_PER_HOUR = 60
# So long a throttled call waits for its turn; then its post is given up.
PATIENCE = timedelta(seconds=30)
# Of English text, and for what frames a message; a service of yours counts with the model's own tokenizer.
CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE = 4, 4


class CostTracker:
    """Event ids are made of what happened (post, answer or step), so a repeated send is counted once."""

    def __init__(self, account: Account | None = None) -> None:
        self.engine = ViralFinOpsEngine()
        self.account = account if account is not None else Account()
        self._asked: dict[str, str] = {}

    @asynccontextmanager
    async def may_chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        most_tokens: int,
        operation: str,
        persona_id: str,
        post_id: str,
    ) -> AsyncIterator[Admission]:
        """Ask before a chat completion: use the admission's model, and put its hold_id into the event.

        Waits its turn when it is throttled. Raises guard.Refused.
        """
        asked = guard.call(
            model,
            patience=PATIENCE,
            input_tokens=sum(map(_tokens, messages)),
            output_tokens=most_tokens,
            operation=operation,
            persona_id=persona_id,
            post_id=post_id,
        )
        try:
            async with asked as admission:
                if admission.hold_id and admission.decision.decision is Verdict.SWITCH:
                    self._asked[admission.hold_id] = model
                yield admission
        except guard.Refused as refused:
            self.account.refusals.append(Refusal(post_id, operation, refused.decision.estimate))
            raise

    async def track_openai_cost(
        self, answer: ChatCompletion, admission: Admission, *, operation: str, persona_id: str, post_id: str
    ) -> None:
        """The specified call: two plain counts. Right where nothing of the prompt is cached."""
        usage = _usage(answer)
        entry = self._noted_chat(answer, usage, admission, operation, persona_id, post_id)
        await self.engine.track_openai_cost(
            model=answer.model,
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            operation=operation,
            persona_id=persona_id,
            post_id=post_id,
            event_id=entry.event_id,
            correlation_id=post_id,
            request_id=answer._request_id or "",
            hold_id=admission.hold_id or "",
            timestamp=entry.timestamp,
        )

    async def track_chat(
        self, answer: ChatCompletion, admission: Admission, *, operation: str, persona_id: str, post_id: str
    ) -> None:
        """The provider's usage object as it came: cached tokens are priced as cached, reasoning is kept."""
        usage = _usage(answer)
        entry = self._noted_chat(answer, usage, admission, operation, persona_id, post_id)
        await _delay(
            entry,
            usage={"dialect": "openai_chat", **usage},
            request_id=answer._request_id or "",
            hold_id=admission.hold_id or "",
        )

    async def track_infrastructure(
        self, spent: Used, *, service: str, operation: str, persona_id: str, post_id: str
    ) -> None:
        hours = spent.duration_minutes / MINUTES_PER_HOUR
        cost = infrastructure_cost(
            {"cpu_core_hours": spent.cpu_cores * hours, "memory_gb_hours": spent.memory_gb * hours}
        )
        event_id = f"{post_id}:{operation}:{service}"
        entry = self._noted(event_id, post_id, persona_id, "kubernetes", operation, cost)
        await self.engine.track_infrastructure_cost(
            resource_type="kubernetes",
            service=service,
            cpu_cores=spent.cpu_cores,
            memory_gb=spent.memory_gb,
            duration_minutes=spent.duration_minutes,
            operation=operation,
            persona_id=persona_id,
            post_id=post_id,
            event_id=entry.event_id,
            correlation_id=post_id,
            timestamp=entry.timestamp,
        )

    async def track_vector_search(self, query_count: int, *, collection: str, persona_id: str, post_id: str) -> None:
        cost = infrastructure_cost({"vector_reads": Decimal(query_count)})
        entry = self._noted(f"{post_id}:search", post_id, persona_id, "vector_db", "search", cost)
        await self.engine.track_vector_db_cost(
            operation="search",
            query_count=query_count,
            collection=collection,
            persona_id=persona_id,
            post_id=post_id,
            event_id=entry.event_id,
            correlation_id=post_id,
            timestamp=entry.timestamp,
        )

    async def track_vector_write(self, count: int, *, collection: str, persona_id: str, post_id: str) -> None:
        cost = infrastructure_cost({"vector_writes": Decimal(count)})
        entry = self._noted(f"{post_id}:remember", post_id, persona_id, "vector_db", "remember", cost)
        await _delay(entry, usage={"vector_writes": count}, metadata={"collection": collection})

    def _noted_chat(
        self,
        answer: ChatCompletion,
        usage: Mapping[str, Any],
        admission: Admission,
        operation: str,
        persona_id: str,
        post_id: str,
    ) -> Entry:
        cost, event_id = chat_cost(answer.model, usage), f"{post_id}:{answer.id}"
        asked = self._asked.pop(admission.hold_id or "", None)
        asked_cost = chat_cost(asked, usage) if asked else None
        return self._noted(event_id, post_id, persona_id, "openai_api", operation, cost, answer.model, asked_cost)

    def _noted(
        self,
        event_id: str,
        post_id: str,
        persona_id: str,
        cost_type: str,
        operation: str,
        cost: Decimal,
        model: str | None = None,
        asked_cost: Decimal | None = None,
    ) -> Entry:
        provider, at = "openai" if model else None, datetime.now(UTC)
        entry = Entry(event_id, at, post_id, persona_id, cost_type, operation, provider, model, cost, asked_cost)
        self.account.add(entry)
        return entry


def _tokens(message: Mapping[str, Any]) -> int:
    return TOKENS_PER_MESSAGE + len(message["content"]) // CHARACTERS_PER_TOKEN


def _usage(answer: ChatCompletion) -> dict[str, Any]:
    if answer.usage is None:
        raise ValueError(f"{answer.id} carries no usage; a stream needs stream_options={{'include_usage': True}}")
    return answer.usage.model_dump(exclude_none=True)


async def _delay(entry: Entry, **details: str | Mapping[str, Any]) -> None:
    # delay() returns after the commit, so it waits for Postgres: in a thread, one of those that keep a connection.
    await threads.shared().run(partial(track_cost.delay, **event_of(entry), **details))


def event_of(entry: Entry) -> dict[str, Any]:
    """The fields that an event shares with its entry: all but what is priced."""
    event = {
        "event_id": entry.event_id,
        "timestamp": entry.timestamp,
        "post_id": entry.post_id,
        "persona_id": entry.persona_id,
        "cost_type": entry.cost_type,
        "operation": entry.operation,
        "correlation_id": entry.post_id,
    }
    return event | ({"provider": entry.provider, "model": entry.model} if entry.model else {})
