"""A small content studio: personas, a memory of what they said, a draft, a hook, a review; every call tracked.

Before each paid call it asks, and it obeys: it waits its turn, takes the model that it is given, or gives the post up.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from openai import AsyncOpenAI

from controls import guard
from examples.content_pipeline.account import Account
from examples.content_pipeline.memory import VectorMemory
from examples.content_pipeline.personas import PERSONAS, Persona
from examples.content_pipeline.tracker import CostTracker
from examples.langgraph_node import CostTrackingNode
from examples.orchestrator_task import process_post_generation_task

COLLECTION = "persona_memory"
QUERIES_PER_POST = 3
TOPICS = ("coffee at midnight", "the first marathon", "houseplants that survive", "a borrowed piano", "night trains")


@dataclass(frozen=True, slots=True)
class Assignment:
    """A post to be written."""

    post_id: str
    persona: Persona
    topic: str


def assignments(run: str, posts: int, personas: Sequence[Persona] = PERSONAS, kind: str = "post") -> list[Assignment]:
    """So many posts, by the personas in turn."""
    return [
        Assignment(f"{kind}-{run}-{number:03d}", personas[number % len(personas)], TOPICS[number % len(TOPICS)])
        for number in range(posts)
    ]


@dataclass(slots=True)
class Pipeline:
    """Writes posts one after the other, so that the CPU time it measures is that of the post at hand."""

    run: str
    client: AsyncOpenAI
    tracker: CostTracker
    memories: dict[str, VectorMemory] = field(default_factory=dict)

    async def write(self, assignment: Assignment) -> dict[str, Any]:
        """Raises guard.Refused when one of its calls may not be made; what was bought until then is tracked."""
        persona, topic, post_id = assignment.persona, assignment.topic, assignment.post_id
        persona_id = persona.id_in(self.run)
        memory = self.memories.setdefault(persona_id, VectorMemory())

        remembered = [text for query in _queries(topic) for text in memory.nearest(query, count=2)]
        await self.tracker.track_vector_search(
            QUERIES_PER_POST, collection=COLLECTION, persona_id=persona_id, post_id=post_id
        )
        drafted = await CostTrackingNode(self.client, self.tracker)(
            {
                "current_operation": "draft",
                "persona_id": persona_id,
                "post_id": post_id,
                "model": persona.draft_model,
                "messages": [
                    {"role": "system", "content": persona.voice},
                    {"role": "user", "content": f"Draft {post_id} on {topic}. Said before: {' / '.join(remembered)}"},
                ],
            }
        )
        memory.add(drafted["response"])
        await self.tracker.track_vector_write(1, collection=COLLECTION, persona_id=persona_id, post_id=post_id)
        task = {"post_id": post_id, "persona_id": persona_id, "topic": topic, "draft": drafted["response"]}
        return await process_post_generation_task(task, self.client, self.tracker)


async def write_posts(
    run: str, base_url: str, account: Account, given: Sequence[Assignment], done: Callable[[int], None]
) -> dict[str, Decimal]:
    """Write posts; returns the total that the engine gave for each, right after its last call.

    Posts whose calls were refused are not among them: the account has their refusals.
    """
    totals: dict[str, Decimal] = {}
    async with AsyncOpenAI(base_url=base_url, api_key="simulated") as client:
        pipeline = Pipeline(run, client, CostTracker(account))
        for number, assignment in enumerate(given, start=1):
            with suppress(guard.Refused):
                result = await pipeline.write(assignment)
                totals[assignment.post_id] = result["total_cost"]
            done(number)
    return totals


def _queries(topic: str) -> list[str]:
    return [topic, f"jokes about {topic}", f"opening lines for {topic}"][:QUERIES_PER_POST]
