"""A loop that runs away, and obeys: it asks before each call, waits, takes the cheaper model, stops when it is paused.

It rewrites one post again and again, and every attempt goes into the next prompt. Then somebody ends the loop, and the
persona writes normal posts again: refused while it is paused, let in slowly on trial, and at last as ever.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI

from controls import guard
from examples.content_pipeline.account import Account
from examples.content_pipeline.personas import Persona
from examples.content_pipeline.pipeline import Assignment, Pipeline, assignments
from examples.content_pipeline.tracker import CostTracker

DRAFT_TOKENS, REVIEW_MODEL, REVIEW_TOKENS = 900, "o3-mini", 840
# Some 2,000 tokens.
ATTEMPT = "An attempt that was not good enough yet, and what the review had to say of it. " * 100
# The simulated server answers at once; a real one takes longer than this.
ANSWER_SECONDS = 0.2
# Whoever is refused asks for another post after so long.
AGAIN_SECONDS = 1.5
POLL_SECONDS = 0.5

Level = Callable[[], str]


@dataclass(slots=True)
class Runaway:
    """One persona in one run: the loop, and what comes after it. `level` says where the breaker stands for it."""

    run: str
    persona: Persona
    account: Account
    level: Level
    written: int = 0
    skipped: list[str] = field(default_factory=list)

    def loop(self, base_url: str, seconds: int, done: Callable[[int], None]) -> None:
        """Rewrite one post until a call of it is refused, or the time is up."""
        asyncio.run(self._loop(base_url, _clock(seconds, done)))

    def normal(self, base_url: str, posts: int, seconds: int, done: Callable[[int], None]) -> None:
        """Write so many normal posts, and ask for another one where one is refused, until the time is up."""
        asyncio.run(self._normal(base_url, self.written + posts, _clock(seconds, done)))

    def wait(self, level: str, seconds: int, done: Callable[[int], None]) -> None:
        """Return once the breaker stands there, or the time is up."""
        for _ in _clock(seconds, done):
            if self.level() == level:
                break
            time.sleep(POLL_SECONDS)
        done(seconds)

    async def _loop(self, base_url: str, clock: Iterator[int]) -> None:
        async with _pipeline(self.run, base_url, self.account) as pipeline:
            (post,) = assignments(self.run, 1, [self.persona], "loop")
            for attempts, _ in enumerate(clock, start=1):
                try:
                    await self._attempt(pipeline, post, attempts)
                except guard.Refused:
                    self.skipped.append(post.post_id)
                    return

    async def _attempt(self, pipeline: Pipeline, post: Assignment, attempts: int) -> None:
        messages = [
            {"role": "system", "content": self.persona.voice},
            {
                "role": "user",
                "content": f"Draft {post.post_id} on {post.topic}, better than these. {ATTEMPT * attempts}",
            },
        ]
        for model, operation, most in (
            (self.persona.draft_model, "draft", DRAFT_TOKENS),
            (REVIEW_MODEL, "review", REVIEW_TOKENS),
        ):
            step = {"operation": operation, "persona_id": self.persona.id_in(self.run), "post_id": post.post_id}
            async with pipeline.tracker.may_chat(model, messages, most_tokens=most, **step) as admission:
                asked: Any = {"model": admission.model, "messages": messages, "max_completion_tokens": most}
                answer = await pipeline.client.chat.completions.create(**asked)
                await asyncio.sleep(ANSWER_SECONDS)
                await pipeline.tracker.track_chat(answer, admission, **step)

    async def _normal(self, base_url: str, posts: int, clock: Iterator[int]) -> None:
        async with _pipeline(self.run, base_url, self.account) as pipeline:
            while self.written < posts and next(clock, None) is not None:
                number = self.written + len(self.skipped)
                (post,) = assignments(self.run, 1, [self.persona], f"normal-{number:02d}")
                try:
                    await pipeline.write(post)
                    self.written += 1
                except guard.Refused:
                    self.skipped.append(post.post_id)
                    await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def _pipeline(run: str, base_url: str, account: Account) -> AsyncIterator[Pipeline]:
    async with AsyncOpenAI(base_url=base_url, api_key="simulated") as client:
        yield Pipeline(run, client, CostTracker(account))


def _clock(seconds: int, done: Callable[[int], None]) -> Iterator[int]:
    """The seconds that have passed, told to whoever shows them, until the time is up."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        done(int(passed))
        yield int(passed)
