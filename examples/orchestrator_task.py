"""Integration 1: an orchestrator's task that writes a post and knows what it cost when it is done.

Runs with any OpenAI-compatible server: `AsyncOpenAI()` reads OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from typing import Any

from openai import AsyncOpenAI

from examples.content_pipeline.meter import Meter
from examples.content_pipeline.tracker import CostTracker

HOOK_MODEL, REVIEW_MODEL = "gpt-4o", "o3-mini"


async def process_post_generation_task(
    task_data: dict[str, Any], client: AsyncOpenAI | None = None, tracker: CostTracker | None = None
) -> dict[str, Any]:
    """Write the hook, review it with the draft, and return {post, cost_breakdown, total_cost}.

    task_data: post_id, persona_id, topic, and draft where a runtime has written one already.
    """
    meter = Meter()
    client, tracker = client or AsyncOpenAI(), tracker or CostTracker()
    post_id, persona_id = task_data["post_id"], task_data["persona_id"]

    hook = await client.chat.completions.create(
        model=HOOK_MODEL,
        max_completion_tokens=160,
        messages=[
            {"role": "system", "content": "Write one opening line that stops the thumb. " * 20},
            {"role": "user", "content": f"{task_data['topic']} (for {post_id})"},
        ],
    )
    await tracker.track_openai_cost(hook, operation="hook_generation", persona_id=persona_id, post_id=post_id)

    draft = task_data.get("draft", "")
    review = await client.chat.completions.create(
        model=REVIEW_MODEL,
        max_completion_tokens=200,
        messages=[
            {"role": "system", "content": "Check facts, tone and the house rules, one by one. " * 40},
            {"role": "user", "content": f"{hook.choices[0].message.content}\n\n{draft}"},
        ],
    )
    await tracker.track_chat(review, operation="review", persona_id=persona_id, post_id=post_id)
    await tracker.track_infrastructure(
        meter.read(), service="orchestrator", operation="post_generation", persona_id=persona_id, post_id=post_id
    )

    return {
        "post": f"{hook.choices[0].message.content}\n\n{draft}".strip(),
        "cost_breakdown": await tracker.engine.post_cost_attributor.get_post_cost_breakdown(post_id),
        "total_cost": await tracker.engine.calculate_total_post_cost(post_id),
    }
