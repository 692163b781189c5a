"""One module for each shape of usage that providers report."""

from collections.abc import Callable, Mapping

from costs.pricing.dialects.anthropic import read as anthropic
from costs.pricing.dialects.gemini import read as gemini
from costs.pricing.dialects.openai_chat import read as openai_chat
from costs.pricing.dialects.openai_responses import read as openai_responses
from costs.pricing.dialects.plain import read as plain
from costs.pricing.usage import Quantities, Usage

DIALECTS: Mapping[str, Callable[[Usage], Quantities]] = {
    "plain": plain,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
}
