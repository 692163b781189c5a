"""The sentences an operator may edit, and a formatter so strict that no text can reach what it was not given.

`${name}` is a value, `${name:.3f}` a number with so many decimals, `$$` a dollar; a dollar right before a value, as in
`$${cost:.3f}`, is a dollar too. Nothing else means anything. Never `str.format`: it reaches attributes and indexes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Kind = Literal["text", "number"]
LONGEST_TEMPLATE = 500
_TOKEN = re.compile(r"\$(?P<dollar>\$(?!\{)|(?=\$\{))|\$\{(?P<name>[a-z_]+)(?::(?P<form>[^{}]*))?\}|(?P<stray>\$)")
_FORM = re.compile(r"\.[0-6]f", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """The text as it ships, and all that a changed one may say."""

    text: str
    variables: Mapping[str, Kind]


_ALWAYS: dict[str, Kind] = {"anomaly_type": "text", "severity": "text", "persona_id": "text", "title": "text"}

TEMPLATES: dict[str, Template] = {
    "cost_spike": Template(
        "🚨 Cost spike detected: ${persona_id} - $${cost:.3f} (${multiplier:.1f}x baseline)",
        _ALWAYS | {"cost": "number", "multiplier": "number"},
    ),
    "anomaly": Template("⚠️ Cost anomaly: ${anomaly_type} - Severity: ${severity}", _ALWAYS),
    "threshold": Template(
        "💰 Cost threshold breach: $${current_value:.3f} > $${threshold:.3f}",
        _ALWAYS | {"current_value": "number", "threshold": "number"},
    ),
}
_OF_RULE = {"cost_spike": "cost_spike", "cost_threshold": "threshold"}


def template_of(rule: str) -> str:
    """The name of the template that speaks of this rule."""
    return _OF_RULE.get(rule, "anomaly")


def validate(template: str, variables: Mapping[str, Kind]) -> None:
    """Raise ValueError with a sentence if this template could ever fail, or say what it was not given."""
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"A template may have {LONGEST_TEMPLATE} characters, not {len(template)}.")
    for token in _TOKEN.finditer(template):
        name, form = token["name"], token["form"]
        if token["stray"]:
            raise ValueError("A $ begins a value, ${like_this}; write $$ for a dollar.")
        if name and name not in variables:
            raise ValueError(f"There is no ${{{name}}} here; there are {', '.join(sorted(variables))}.")
        if form is not None and not _FORM.fullmatch(form):
            raise ValueError(f"${{{name}:{form}}} has a form that is unknown; .3f is three decimals.")
        if form is not None and variables[name] != "number":
            raise ValueError(f"${{{name}}} is a text: it has no decimals.")


def render(template: str, values: Mapping[str, str | Decimal]) -> str:
    """The sentence. LookupError if it needs a value that is not there; the template must be valid."""

    def said(token: re.Match[str]) -> str:
        if not token["name"]:
            return "$"
        value = values[token["name"]]
        return value if isinstance(value, str) else format(value, token["form"] or "f")

    return _TOKEN.sub(said, template)
