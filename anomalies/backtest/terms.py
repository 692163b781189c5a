"""The policies that a replay goes by: those that are stored, with some of their fields as they are to be tried."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BooleanField

from controls.models import Policy
from controls.models.breaker import EVERYBODY
from controls.policy_rules import Policies, rules_of

SWITCHED = {"true": True, "false": False}
FIELDS = {field.name: field for field in Policy._meta.fields if field.name not in ("id", "persona_id")}


class UnusablePolicy(ValueError):
    """The message says which field is wrong, and what it must be."""


def tried(changes: Mapping[str, Any]) -> Policies:
    """Everybody's and each persona's own policy with these changes. Raises UnusablePolicy."""
    stored = {policy.persona_id: policy for policy in Policy.objects.all()}
    policies = {EVERYBODY: Policy(), **stored}
    for policy in policies.values():
        for name, value in changes.items():
            setattr(policy, name, value)
        try:
            policy.full_clean(exclude=["persona_id"], validate_unique=False)
        except ValidationError as error:
            raise UnusablePolicy(" ".join(error.messages)) from None
    return Policies({persona: rules_of(policy) for persona, policy in policies.items()})


def parse(parts: Iterable[str]) -> dict[str, Any]:
    """Read spike_from=4 and the like. Raises UnusablePolicy."""
    changes: dict[str, Any] = {}
    for part in parts:
        name, is_given, text = part.partition("=")
        if name not in FIELDS or not is_given or name in changes:
            raise UnusablePolicy(f"{part[:50]!r} is none of {', '.join(FIELDS)}, each once and with a value.")
        changes[name] = _value(name, text)
    return changes


def _value(name: str, text: str) -> Any:
    field = FIELDS[name]
    if isinstance(field, BooleanField):
        if text not in SWITCHED:
            raise UnusablePolicy(f"{name} must be true or false, not {text[:50]!r}.")
        return SWITCHED[text]
    try:
        return field.clean(text, None)
    except ValidationError as error:
        raise UnusablePolicy(f"{name}: {' '.join(error.messages)}") from None
