"""The invented authors of the example: four that write, and two that only make trouble."""

from dataclasses import dataclass, replace


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
# It has a history like the others, and writes nothing before its day comes.
NIGHT_OWL = Persona("night_owl", "gpt-4o-mini", "Whisper; everything is closed and the fridge hums. " * 100)
# New here, without a history: what is normal for it is the target of $0.02 a post.
PERFECTIONIST = Persona("perfectionist", "gpt-4o", "Every word must earn its place; then cut half of them. " * 60)
# What one wrong line in a configuration does: a dearer model, and all that was ever written in every prompt. A post
# then costs 10 to 18 cents, 5 times the target and more, and two of them less than half a dollar.
NIGHT_OWL_GONE_MAD = replace(
    NIGHT_OWL, draft_model="gpt-4o", voice="Everything that you have ever said, again: " * 6_300
)
