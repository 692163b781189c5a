"""Integration 1: an orchestrator's task that asks before it pays, and knows what its post cost when it is done.

Runs with any OpenAI-compatible server: `AsyncOpenAI()` reads OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from typing import Any

from openai import AsyncOpenAI

from examples.content_pipeline.meter import Meter
from examples.content_pipeline.tracker import CostTracker

HOOK_MODEL, HOOK_TOKENS = "gpt-4o", 160
# What it thinks is paid for like what it says.
REVIEW_MODEL, REVIEW_TOKENS = "o3-mini", 840


async def process_post_generation_task(
    task_data: dict[str, Any], client: AsyncOpenAI | None = None, tracker: CostTracker | None = None
) -> dict[str, Any]:
    """Write the hook, review it with the draft, and return {post, cost_breakdown, total_cost}.

    task_data: post_id, persona_id, topic, and draft where a runtime has written one already. Raises guard.Refused.
    """
    meter = Meter()
    client, tracker = client or AsyncOpenAI(), tracker or CostTracker()
    post_id = task_data["post_id"]
    attribution = {"persona_id": task_data["persona_id"], "post_id": post_id}

    asks: list[Any] = [
        {"role": "system", "content": "Write one opening line that stops the thumb. " * 20},
        {"role": "user", "content": f"{task_data['topic']} (for {post_id})"},
    ]
    step = {"operation": "hook_generation", **attribution}
    async with tracker.may_chat(HOOK_MODEL, asks, most_tokens=HOOK_TOKENS, **step) as admission:
        hook = await client.chat.completions.create(
            model=admission.model, max_completion_tokens=HOOK_TOKENS, messages=asks
        )
        await tracker.track_openai_cost(hook, admission, **step)

    draft = task_data.get("draft", "")
    asks = [
        {"role": "system", "content": "Check facts, tone and the house rules, one by one. " * 40},
        {"role": "user", "content": f"{hook.choices[0].message.content}\n\n{draft}"},
    ]
    step = {"operation": "review", **attribution}
    async with tracker.may_chat(REVIEW_MODEL, asks, most_tokens=REVIEW_TOKENS, **step) as admission:
        review = await client.chat.completions.create(
            model=admission.model, max_completion_tokens=REVIEW_TOKENS, messages=asks
        )
        await tracker.track_chat(review, admission, **step)
    await tracker.track_infrastructure(meter.read(), service="orchestrator", operation="post_generation", **attribution)

    return {
        "post": f"{hook.choices[0].message.content}\n\n{draft}".strip(),
        "cost_breakdown": await tracker.engine.post_cost_attributor.get_post_cost_breakdown(post_id),
        "total_cost": await tracker.engine.calculate_total_post_cost(post_id),
    }
