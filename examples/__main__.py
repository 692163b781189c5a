"""Run one of the two integrations: `python -m examples orchestrator_task | langgraph_node`, against `make up`.

The model behind them is the simulated server; what they track is in the ledger afterwards.
"""

import argparse
import asyncio
import json
from typing import Any
from uuid import uuid4

from examples.content_pipeline.simulated_openai import simulated_openai
from examples.demo import configure, stack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__)
    parser.add_argument("example", choices=["orchestrator_task", "langgraph_node"])
    example = parser.parse_args().example
    configure(stack())
    with simulated_openai() as base_url:
        print(json.dumps(asyncio.run(_run(example, base_url)), indent=2, default=str))


async def _run(example: str, base_url: str) -> dict[str, Any]:
    # Only now: the examples reach the engine, whose models need the settings.
    from openai import AsyncOpenAI

    from examples.langgraph_node import CostTrackingNode
    from examples.orchestrator_task import process_post_generation_task

    # A post of its own for each run: the simulated answers, and so the ids of their events, are always the same.
    attribution = {"post_id": f"example-{uuid4().hex[:8]}", "persona_id": "ai_jesus"}
    async with AsyncOpenAI(base_url=base_url, api_key="simulated") as client:
        if example == "orchestrator_task":
            return await process_post_generation_task({**attribution, "topic": "night trains"}, client)
        messages = [{"role": "user", "content": "Draft a post on night trains."}]
        return await CostTrackingNode(client)({**attribution, "current_operation": "draft", "messages": messages})


if __name__ == "__main__":
    main()
