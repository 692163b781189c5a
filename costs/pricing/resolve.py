"""Which entry of the price list a (cost_type, provider, model) means, by explicit ordered rules.

Wrong is worse than unpriced: a rule only ever drops what does not change the price (a route, a snapshot's date),
and a name for which a rule knows that its price differs (a region) is left without one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from costs.pricing import library
from costs.pricing.library import Listing
from costs.pricing.providers import LOCAL, PROVIDERS


@dataclass(frozen=True, slots=True)
class Resolution:
    """`listing` is None when nothing on the list is meant, and `reason` says why. `rules` tell the way, in order."""

    provider: str | None
    name: str
    spelling: str
    rules: tuple[str, ...]
    listing: Listing | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A name of this provider's ("*": any) that has `pattern` in it means the same without, or with `becomes`."""

    provider: str
    pattern: re.Pattern[str]
    becomes: str
    words: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A name of this provider's that has `pattern` in it costs something else than what the list says."""

    provider: str
    pattern: re.Pattern[str]
    words: str


_AWS_REGION = r"[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d/"
_LISTED_AWS_REGION = r"us-(?:east-1|east-2|west-2)/"

REFUSALS: tuple[Refusal, ...] = tuple(
    Refusal(provider, re.compile(pattern), words)
    for provider, pattern, words in (
        ("aws", rf"^(?!{_LISTED_AWS_REGION}){_AWS_REGION}", "prices of this region are not on the list"),
        ("aws", r"^us-gov\.", "prices of the government regions are not on the list"),
        ("aws", r"(?:^|/)\d-month-commitment/", "commitments are priced apart and not on the list"),
        ("aws", r"^(?:claude_platform|mantle)/", "prices of this route are not on the list"),
        ("azure", r"^(?:us|eu|apac|us-gov)/", "data zone deployments are priced apart and not on the list"),
    )
)

# Tried in this order; each rule sees what the ones before it have left.
RULES: tuple[Rule, ...] = tuple(
    Rule(provider, re.compile(pattern), becomes, words)
    for provider, pattern, becomes, words in (
        ("anthropic", r"^claude-2\.[01]$", "claude-2", "2.0 and 2.1 have one price"),
        ("aws", r"^(?:invoke|converse|converse_like)/", "", "the API route is dropped"),
        ("aws", rf"^{_LISTED_AWS_REGION}", "", "the list prices are those of this region"),
        ("azure", r"^(?:global|global-standard)/", "", "global deployments have the list price"),
        ("azure", r"^gpt-35-", "gpt-3.5-", "Azure writes 3.5 as 35"),
        ("fireworks", r"^accounts/fireworks/(?:models|routers)/", "", "the account path is dropped"),
        ("google", r"^(?:publishers/[a-z0-9-]+/)?models/", "", "the resource path is dropped"),
        ("google", r"@default$", "", "the default version is the model itself"),
        ("google", r"@(\d{8})$", r"-\1", "the version is a dated snapshot"),
        (
            "google",
            r"^gemini-1\.5-flash-8b(?:-001|-latest)?$",
            "gemini-flash-1.5-8b",
            "the list writes the version behind the name",
        ),
        ("openai", r"^(ft:[^:]+):.*$", r"\1", "a fine-tune costs what every fine-tune of its base does"),
        ("aws", r"-v\d+(?::\d+)?$", "", "the version suffix is dropped"),
        ("*", r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})$", "", "the snapshot's date is dropped"),
    )
)


def resolve(cost_type: str, provider: str | None, model: str | None) -> Resolution:
    """The listing that is meant. Never a different model's."""
    if not model or not model.strip():
        return Resolution(None, "", "", (), reason="no model is named")
    name = model.strip().lower()
    spelling, origin = _spelling(cost_type, provider, name)
    if spelling is None:
        return Resolution(None, name, "", (), reason=f"no provider is named, and {model} does not tell it")
    listed = PROVIDERS.get(spelling)
    rules = [f"provider {spelling}: {origin}"]
    if listed is None:
        why = "runs on own machines" if spelling in LOCAL else "has no list prices here"
        return Resolution(spelling, name, spelling, tuple(rules), reason=f"provider {spelling} {why}")
    if listed != spelling:
        rules.append(f"{spelling} is listed as {listed}")
    return _find(listed, spelling, name, rules)


def _spelling(cost_type: str, provider: str | None, name: str) -> tuple[str | None, str]:
    """The provider's name as somebody spelled it, and where it was found."""
    given = (provider or "").strip().lower()
    if given and given != "litellm":
        return given, "as given"
    prefix, slash, _ = name.partition("/")
    if slash and (prefix in PROVIDERS or prefix in LOCAL):
        return prefix, "the model's prefix"
    if (kind := cost_type.lower().removesuffix("_api")) in PROVIDERS:
        return kind, "from the cost type"
    for pattern, owner in _NAME_PATTERNS:
        if pattern.match(name):
            return owner, "the way the model is written"
    # A prefix that nobody here knows is a reseller with its own prices, not the maker of the model.
    return (None, "") if slash else (library.provider_of(name), "the maker of the model")


_NAME_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^(?:(?:us|eu|apac|global|jp|au|in|us-gov)\.)?[a-z0-9]+\.[a-z0-9]+[a-z0-9.-]*-v\d+(?::\d+)?$"), "aws"),
    (re.compile(r"^(?:us|eu|apac|global|jp|au|us-gov)\.[a-z0-9]+\."), "aws"),
    (re.compile(r"^accounts/fireworks/"), "fireworks"),
    (re.compile(r"^@cf/"), "cloudflare"),
    (re.compile(r"^(?:publishers/google/)?models/"), "google"),
)


def _find(listed: str, spelling: str, name: str, rules: list[str]) -> Resolution:
    reading = name
    for reading, words in _readings(listed, name):
        if words:
            rules.append(words)
        exact = library.find_exact(listed, reading)
        if not exact and (refusal := _refusal(listed, reading)):
            return Resolution(listed, reading, spelling, tuple(rules), reason=f"{name}: {refusal.words}")
        if listing := exact or library.find(listed, reading):
            if listing.owner != listed:
                rules.append(f"{listed} sells it at the list price of {listing.owner}")
            rules.append(f"{reading} is {listing.id} on the list of {listing.owner}")
            return Resolution(listed, reading, spelling, tuple(rules), listing)
    return Resolution(listed, reading, spelling, tuple(rules), reason=f"{listed} has no list price for {name}")


def _readings(listed: str, name: str) -> Iterator[tuple[str, str]]:
    """The name without its provider, and what the rules make of it, one after the other, with the rule's words."""
    head, slash, rest = name.partition("/")
    if slash and PROVIDERS.get(head) == listed and not library.find_exact(listed, name):
        name = rest
        yield name, f"the prefix {head}/ names the provider"
    else:
        yield name, ""
    for rule in RULES:
        changed = rule.pattern.sub(rule.becomes, name) if rule.provider in ("*", listed) else name
        if changed != name:
            name = changed
            yield name, rule.words


def _refusal(listed: str, name: str) -> Refusal | None:
    return next((r for r in REFUSALS if r.provider == listed and r.pattern.search(name)), None)
