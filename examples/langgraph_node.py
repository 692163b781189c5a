"""Integration 2: a LangGraph node whose model call and compute are tracked. It runs without LangGraph as well.

With it: `graph.add_node("draft", CostTrackingNode())`; without: `state = await CostTrackingNode()(state)`.
"""

from typing import Any

from openai import AsyncOpenAI

from examples.content_pipeline.meter import Meter
from examples.content_pipeline.tracker import CostTracker

DRAFT_MODEL, MOST_TOKENS = "gpt-4o-mini", 900


class CostTrackingNode:
    """Reads messages, current_operation, persona_id, post_id and model (optional) of the state; adds `response`.

    Raises guard.Refused when the call may not be made.
    """

    def __init__(self, llm: AsyncOpenAI | None = None, tracker: CostTracker | None = None) -> None:
        self.llm = llm or AsyncOpenAI()
        self.tracker = tracker or CostTracker()

    async def __call__(self, state: dict[str, Any]) -> dict[str, Any]:
        meter = Meter()
        attribution = {
            "operation": state["current_operation"],
            "persona_id": state["persona_id"],
            "post_id": state["post_id"],
        }

        model, messages = state.get("model", DRAFT_MODEL), state["messages"]
        async with self.tracker.may_chat(model, messages, most_tokens=MOST_TOKENS, **attribution) as admission:
            response = await self.llm.chat.completions.create(
                model=admission.model, messages=messages, max_completion_tokens=MOST_TOKENS
            )
            # A long prompt is partly cached: the usage object goes on as it came, so that the cached part is cheap.
            await self.tracker.track_chat(response, admission, **attribution)
        await self.tracker.track_infrastructure(meter.read(), service="persona_runtime", **attribution)

        return {**state, "response": response.choices[0].message.content}
