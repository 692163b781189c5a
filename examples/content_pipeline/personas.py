"""The four invented authors of the example."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Persona:
    """Who a post is written for. `voice` is a long prompt, the same every time: what a provider can cache."""

    name: str
    draft_model: str
    voice: str

    def id_in(self, run: str) -> str:
        """Its id in one run of the demo: every run has personas of its own, and so totals of its own."""
        return f"{self.name}-{run}"


PERSONAS = (
    Persona("ai_jesus", "gpt-4o-mini", "Speak kindly and in parables; never judge. " * 140),
    Persona("night_baker", "gpt-4o-mini", "Warm, floury, a little tired, always hungry. " * 110),
    Persona("dry_economist", "gpt-4o-mini", "Cite a number in every sentence; no adjectives. " * 90),
    Persona("space_poet", "gpt-4o", "Long lines, cold stars, no exclamation marks. " * 340),
)
