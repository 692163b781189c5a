"""How a persona is written in the address of its page, as the admin writes keys."""

from django.contrib.admin.utils import quote, unquote

# A browser takes these for steps up in the path, also when they are written as %2E. The admin leaves dots alone.
STEPS = {".": "_2E", "..": "_2E_2E"}
PERSONAS = {written: persona for persona, written in STEPS.items()}


def address_of(persona_id: str) -> str:
    return STEPS.get(persona_id) or str(quote(persona_id))


def persona_at(address: str) -> str:
    """The persona that was written so. A name that looks like a step is written with _5F in it."""
    return PERSONAS.get(address) or unquote(address)
