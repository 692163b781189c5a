"""When makers take models away: nobody should be told to move to one that is gone.

A row of the model switches with a day of its own counts before these. Sellers of other makers' models have their own
days, mostly later ones: what its maker has retired is not recommended from anywhere.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The models look their days up here.
    from controls.models import Switch

_OPENAI = (
    # https://developers.openai.com/api/docs/deprecations, as of November 2026.
    ("2024-01-04", "ada babbage curie davinci text-davinci-002 text-davinci-003"),
    ("2024-09-13", "gpt-3.5-0301 gpt-3.5-turbo-0613 gpt-3.5-turbo-16k"),
    ("2024-12-06", "gpt-4-vision-preview"),
    ("2025-06-06", "gpt-4-32k"),
    ("2025-07-14", "gpt-4.5-preview"),
    ("2025-07-28", "o1-preview"),
    ("2025-10-27", "o1-mini"),
    ("2026-01-16", "codex-mini"),
    ("2026-02-17", "chatgpt-4o-latest"),
    ("2026-07-23", "gpt-5.1-codex-mini o3-deep-research o4-mini-deep-research computer-use gpt-4o-search-preview"),
    ("2026-09-28", "gpt-3.5-turbo-instruct gpt-3.5-turbo-1106 babbage-002 davinci-002"),
    ("2026-10-23", "gpt-3.5-turbo gpt-4 gpt-4-turbo gpt-4o-2024-05-13 gpt-4.1-nano o1 o1-pro o3-mini o4-mini"),
    ("2026-12-11", "gpt-5 gpt-5-mini gpt-5-nano gpt-5-pro o3 o3-pro"),
    ("2027-01-14", "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini"),
    ("2027-04-01", "gpt-5.1"),
)
_ANTHROPIC = (
    # https://platform.claude.com/docs/en/about-claude/model-deprecations, as of November 2026.
    ("2024-11-06", "claude-v1"),
    ("2025-07-21", "claude-2 claude-3-sonnet"),
    ("2025-10-28", "claude-3-5-sonnet"),
    ("2026-01-05", "claude-3-opus claude-3-opus-latest"),
    ("2026-02-19", "claude-3-5-haiku claude-3-5-haiku-latest claude-3-7-sonnet claude-3-7-sonnet-latest"),
    ("2026-04-20", "claude-3-haiku"),
    ("2026-11-30", "claude-sonnet-4-5"),
)
_GOOGLE = (
    # https://ai.google.dev/gemini-api/docs/deprecations, as of November 2026.
    ("2025-02-15", "gemini-pro gemini-1.0-pro-vision-001"),
    ("2025-09-24", "gemini-1.5-flash gemini-1.5-pro gemini-flash-1.5 gemini-flash-1.5-8b gemini-pro-1.5"),
    ("2026-12-01", "gemini-2.5-pro gemini-2.5-flash"),
)
RETIRED_ON: Mapping[str, date] = {
    model: date.fromisoformat(day) for day, models in (*_OPENAI, *_ANTHROPIC, *_GOOGLE) for model in models.split()
}


class Retirements:
    """The days by the model's name in lower case: those above, and in their place what the switches say."""

    def __init__(self, switches: "Iterable[Switch]" = ()) -> None:
        named = {switch.target.lower(): switch.retired_on for switch in switches if switch.retired_on}
        self._days = {**RETIRED_ON, **named}

    def day_of(self, *names: str | None) -> date | None:
        """Of a model with all its names; None: no day is known."""
        return next((self._days[name.lower()] for name in names if name and name.lower() in self._days), None)

    def is_alive(self, at: datetime, *names: str | None) -> bool:
        day = self.day_of(*names)
        return day is None or at.astimezone(UTC).date() < day
