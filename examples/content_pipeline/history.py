"""Two generated weeks of usage, so that charts and baselines have something to show: simulated, and called so."""

import csv
import gzip
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from examples.content_pipeline.account import PRICES, Account, Entry

DAYS = 14
EVENTS_PER_POST = 10
BUSIEST_HOUR = 18
COLUMNS = ("at", "id", "post", "persona", "step", "model", "prompt_tokens", "cached_tokens", "completion_tokens")
# Step, model, prompt tokens, completion tokens: the means of what one post needs.
STEPS = (
    ("hook_generation", "gpt-4o-2024-08-06", 280, 90),
    ("draft", "gpt-4o-mini-2024-07-18", 1900, 700),
    ("draft", "gpt-4o-mini-2024-07-18", 2400, 650),
    ("review", "o3-mini-2025-01-31", 900, 600),
    ("translate", "gpt-4o-mini-2024-07-18", 800, 820),
)
# What `manage.py import_usage` is told about these columns; `model` bears the name of the field already.
IMPORT_OPTIONS = (
    *("--time-format", "unix", "--set", "cost_type=openai_api", "--set", "provider=openai"),
    *("--map", "timestamp=at", "--map", "event_id=id", "--map", "post_id=post", "--map", "persona_id=persona"),
    *("--map", "operation=step", "--map", "usage.input_tokens=prompt_tokens"),
    *("--map", "usage.cache_read_tokens=cached_tokens", "--map", "usage.output_tokens=completion_tokens"),
)

Row = tuple[int | str, ...]


def write_history(
    path: Path, run: str, personas: Sequence[str], until: datetime, events: int, account: Account
) -> None:
    """Write the file and enter every line of it into the account. The same run gives the same file."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row, entry in _rows(random.Random(run), run, personas, until, events):
            account.add(entry)
            writer.writerow(row)


def _rows(
    dice: random.Random, run: str, personas: Sequence[str], until: datetime, events: int
) -> Iterator[tuple[Row, Entry]]:
    moments = sorted(_moment(dice, until) for _ in range(math.ceil(events / EVENTS_PER_POST)))
    for number in range(events):
        post, call = divmod(number, EVENTS_PER_POST)
        persona = personas[post % len(personas)]
        yield _row(dice, f"sim-{run}-{number:05d}", f"sim-{run}-{post:04d}", persona, moments[post] + 20 * call, call)


def _row(dice: random.Random, event_id: str, post: str, persona: str, at: int, call: int) -> tuple[Row, Entry]:
    step, model, mean_prompt, mean_completion = STEPS[call % len(STEPS)]
    prompt = round(mean_prompt * dice.lognormvariate(0, 0.3))
    completion = round(mean_completion * dice.lognormvariate(0, 0.3))
    cached = prompt // 2 // 128 * 128 if prompt >= 1024 else 0
    cost = PRICES[model].cost(input_tokens=prompt, cached_tokens=cached, output_tokens=completion)
    when = datetime.fromtimestamp(at, UTC)
    entry = Entry(event_id, when, post, persona, "openai_api", step, "openai", model, cost)
    return (at, event_id, post, persona, step, model, prompt, cached, completion), entry


def _moment(dice: random.Random, until: datetime) -> int:
    """A second of the last two weeks: four times as likely in the evening as at dawn."""
    span = timedelta(days=DAYS).total_seconds() - 3600
    while True:
        at = until.timestamp() - 3600 - dice.random() * span
        hour = at / 3600 % 24
        if dice.random() < (5 + 3 * math.cos((hour - BUSIEST_HOUR) / 24 * math.tau)) / 8:
            return int(at)
