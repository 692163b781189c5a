"""The engine with the producer's own account beside it: every purchase is noted first and tracked second.

In a service of yours this file is not needed: call ViralFinOpsEngine and track_cost.delay() as its methods do.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from openai.types.chat import ChatCompletion

from costs.engine import ViralFinOpsEngine
from costs.tasks import track_cost
from examples.content_pipeline.account import Account, Entry, chat_cost, infrastructure_cost
from examples.content_pipeline.meter import Used

MINUTES_PER_HOUR = 60


class CostTracker:
    """Event ids are made of what happened (post, answer or step), so a repeated send is counted once."""

    def __init__(self, account: Account | None = None) -> None:
        self.engine = ViralFinOpsEngine()
        self.account = account if account is not None else Account()

    async def track_openai_cost(self, answer: ChatCompletion, *, operation: str, persona_id: str, post_id: str) -> None:
        """The specified call: two plain counts. Right where nothing of the prompt is cached."""
        usage = _usage(answer)
        entry = self._noted_chat(answer, usage, operation, persona_id, post_id)
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
            timestamp=entry.timestamp,
        )

    async def track_chat(self, answer: ChatCompletion, *, operation: str, persona_id: str, post_id: str) -> None:
        """The provider's usage object as it came: cached tokens are priced as cached, reasoning is kept."""
        usage = _usage(answer)
        entry = self._noted_chat(answer, usage, operation, persona_id, post_id)
        await _delay(entry, usage={"dialect": "openai_chat", **usage}, request_id=answer._request_id or "")

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
        self, answer: ChatCompletion, usage: Mapping[str, Any], operation: str, persona_id: str, post_id: str
    ) -> Entry:
        cost, event_id = chat_cost(answer.model, usage), f"{post_id}:{answer.id}"
        return self._noted(event_id, post_id, persona_id, "openai_api", operation, cost, answer.model)

    def _noted(
        self,
        event_id: str,
        post_id: str,
        persona_id: str,
        cost_type: str,
        operation: str,
        cost: Decimal,
        model: str | None = None,
    ) -> Entry:
        provider = "openai" if model else None
        entry = Entry(event_id, datetime.now(UTC), post_id, persona_id, cost_type, operation, provider, model, cost)
        self.account.add(entry)
        return entry


def _usage(answer: ChatCompletion) -> dict[str, Any]:
    if answer.usage is None:
        raise ValueError(f"{answer.id} carries no usage; a stream needs stream_options={{'include_usage': True}}")
    return answer.usage.model_dump(exclude_none=True)


async def _delay(entry: Entry, **details: str | Mapping[str, Any]) -> None:
    # delay() returns after the commit, so it waits for Postgres: in a thread, as any blocking call in async code.
    await asyncio.to_thread(track_cost.delay, **event_of(entry), **details)


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
