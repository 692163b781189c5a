"""Events of the same shape in every run: 50 personas, 12 models, 10 operations, 3 to 12 events a post.

Token counts are those of real requests where the trace is at hand, else drawn from its quantiles. Pure but for the
reading of the trace.
"""

import csv
import gzip
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

Tokens = tuple[int, int]
Fields = dict[str, Any]

SEED = 240
TRACE = Path("../shared/data/traces/azure_2023_code.csv.gz")
PERSONAS = [f"persona_{number:02}" for number in range(50)]
OPERATIONS = [
    "trend_research",
    "hook_generation",
    "body_generation",
    "fact_check",
    "tone_check",
    "image_prompt",
    "translation",
    "engagement_reply",
    "quality_score",
    "summary",
]
# Popular ones first: each is used a little less than the one before it.
MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
    ("openai", "gpt-4.1-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("openai", "gpt-5-mini"),
    ("deepseek", "deepseek-chat"),
    ("google", "gemini-2.5-pro"),
    ("openai", "o3-mini"),
    ("mistral", "mistral-large-latest"),
    ("anthropic", "claude-opus-4-1"),
]
_MODEL_WEIGHTS = [1 / place for place in range(1, len(MODELS) + 1)]
# The trace's quantiles in steps of 5 %: tokens in, tokens out.
_INPUT_QUANTILES = [3, 75, 147, 232, 385, 578, 770, 938, 1075, 1261, 1469, 1690, 1909, 2163, 2433, 2744, 3192, 3919]
_INPUT_QUANTILES += [5186, 7302, 7437]
_OUTPUT_QUANTILES = [6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 29, 39, 55, 90, 1899]


class Workload:
    """Fresh events on each call: no id and no post ever comes back."""

    def __init__(self, tokens: Sequence[Tokens], seed: int = SEED) -> None:
        self._random = random.Random(seed)
        self._tokens = tokens
        self._posts = 0

    def events(self, count: int, *, at: datetime) -> list[Fields]:
        """`count` events, in the order of the posts, spread over the hour before `at`."""
        return list(islice(self._stream(at), count))

    def _stream(self, at: datetime) -> Iterator[Fields]:
        while True:
            yield from self._post(at - timedelta(seconds=self._random.uniform(1, 3600)))

    def _post(self, at: datetime) -> Iterator[Fields]:
        self._posts += 1
        persona = self._random.choice(PERSONAS)
        correlation_id = self._identifier()
        for _ in range(self._random.randint(3, 12)):
            provider, model = self._random.choices(MODELS, _MODEL_WEIGHTS)[0]
            tokens_in, tokens_out = self._random.choice(self._tokens)
            yield {
                # Random ids, as most callers send them: time-ordered ones would be kinder to the key table.
                "event_id": self._identifier(),
                "timestamp": at.isoformat(),
                "post_id": f"post_{self._posts:08}",
                "persona_id": persona,
                "cost_type": f"{provider}_api",
                "operation": self._random.choice(OPERATIONS),
                "provider": provider,
                "model": model,
                "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out},
                "correlation_id": correlation_id,
                "request_id": self._identifier(),
            }

    def _identifier(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def real_tokens(path: Path) -> list[Tokens]:
    """Tokens in and out of every request of the trace."""
    with gzip.open(path, "rt", newline="") as lines:
        return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(lines)]


def generated_tokens(count: int, seed: int = SEED) -> list[Tokens]:
    """The same shape without the trace: drawn from its quantiles."""
    source = random.Random(seed)
    return [
        (_between(_INPUT_QUANTILES, source.random()), _between(_OUTPUT_QUANTILES, source.random()))
        for _ in range(count)
    ]


def _between(quantiles: Sequence[int], share: float) -> int:
    steps = [place / (len(quantiles) - 1) for place in range(len(quantiles))]
    place = min(bisect(steps, share), len(quantiles) - 1)
    low, high = quantiles[place - 1], quantiles[place]
    return round(low + (high - low) * (share - steps[place - 1]) * (len(quantiles) - 1))
