"""A small content studio: personas, a memory of what they said, a draft, a hook, a review; every call tracked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from openai import AsyncOpenAI

from examples.content_pipeline.account import Account
from examples.content_pipeline.memory import VectorMemory
from examples.content_pipeline.personas import PERSONAS
from examples.content_pipeline.tracker import CostTracker
from examples.langgraph_node import CostTrackingNode
from examples.orchestrator_task import process_post_generation_task

COLLECTION = "persona_memory"
QUERIES_PER_POST = 3
TOPICS = ("coffee at midnight", "the first marathon", "houseplants that survive", "a borrowed piano", "night trains")


@dataclass(slots=True)
class Pipeline:
    """Writes posts one after the other, so that the CPU time it measures is that of the post at hand."""

    run: str
    client: AsyncOpenAI
    tracker: CostTracker
    memories: dict[str, VectorMemory] = field(default_factory=dict)

    async def write(self, number: int) -> dict[str, Any]:
        persona, topic = PERSONAS[number % len(PERSONAS)], TOPICS[number % len(TOPICS)]
        persona_id, post_id = persona.id_in(self.run), f"post-{self.run}-{number:03d}"
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
    run: str, base_url: str, account: Account, posts: int, done: Callable[[int], None]
) -> dict[str, Decimal]:
    """Write posts; returns the total that the engine gave for each, right after its last call."""
    totals: dict[str, Decimal] = {}
    async with AsyncOpenAI(base_url=base_url, api_key="simulated") as client:
        pipeline = Pipeline(run, client, CostTracker(account))
        for number in range(posts):
            result = await pipeline.write(number)
            totals[f"post-{run}-{number:03d}"] = result["total_cost"]
            done(number + 1)
    return totals


def _queries(topic: str) -> list[str]:
    return [topic, f"jokes about {topic}", f"opening lines for {topic}"][:QUERIES_PER_POST]
