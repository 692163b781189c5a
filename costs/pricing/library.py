"""The list prices bundled with genai-prices: which model is meant, and what it costs at an instant.

Only the bundled data is read; the package's network updater is never started.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache

import genai_prices
from genai_prices.data import providers as _listed_providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

LIBRARY_VERSION = f"genai-prices {genai_prices.__version__}"

Constraint = StartDateConstraint | TimeOfDateConstraint | None
Units = Mapping[str, "UnitPrice"]

_PROVIDERS: Mapping[str, Provider] = {provider.id: provider for provider in _listed_providers}
PROVIDER_IDS: tuple[str, ...] = tuple(_PROVIDERS)
_UNIT_SIZES: Mapping[str, int] = {unit["price_key"]: unit["per"] for unit in unit_data.values()}


def _every_price(model: ModelInfo) -> Iterator[object]:
    prices = model.prices if isinstance(model.prices, list) else [model.prices]
    for each in prices:
        yield from vars(each.prices if isinstance(each, ConditionalPrice) else each).values()


def _context_lengths() -> tuple[int, ...]:
    """No input, and every number of input tokens from which on some price is another."""
    found = (price for provider in _listed_providers for model in provider.models for price in _every_price(model))
    starts = {step.start for price in found if isinstance(price, TieredPrices) for step in price.tiers}
    return (0, *sorted(start + 1 for start in starts))


CONTEXT_LENGTHS = _context_lengths()

# Providers whose one input price covers audio and video where no other is listed; elsewhere a missing
# price of these is a gap in the list (gpt-4o-audio-preview), not a statement.
MODALITIES_AT_TEXT_PRICE = frozenset({"google"})

# Names that some listings know as free of charge, though they carry no price at all. Anything else without a
# price (a subscription, a price that is no longer published) is unpriced.
_FREE_IDS = frozenset({("openai", "moderation")})
_FREE_COMMENT = "Free of charge"
# https://ai.google.dev/gemini-api/docs/pricing: no paid tier; on Vertex AI the same models cost machine time.
_FREE_ON_GEMINI_API = "gemma-3"

# What a name may have beyond the letters that the library looks for (starts with, contains) and still mean the same
# model: dates, snapshot numbers, these words. Anything else (mini, fast, 8b, tts) names a sibling at its own price.
_HARMLESS = re.compile(
    r"""(?<![^-@:./_])(?:
        20\d\d-?\d\d-?\d\d | \d\d-\d\d(?:-20\d\d)? | \d\d-20\d\d | \d{3,4}   # 2025-04-14, 04-14-2025, 04-2025, 0414
        | v\d+(?:[.:]\d+)* | (?<=:)\d+                                        # v1:0, :0
        | latest | preview | beta | default | instruct | it | customtools
        | anthropic | amazon | us
    )(?![^-@:./_])""",
    re.VERBOSE,
)
# Listings of Bedrock that hold in every geography but the government's say so in their id.
_GEOGRAPHIES = frozenset(["apac", "au", "ca", "eu", "in", "jp"])
# Listings that mean a whole family at one price, and the words that tell its members apart.
_FAMILIES = {
    "gemma-3": re.compile(r"\d+b"),
    "gemma-3n": re.compile(r"e\d+b"),
    "moderation": re.compile(r"omni|text|stable"),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """A model on the list: `provider` sells it, `owner` is whose price it carries (the maker's, for a reseller)."""

    provider: str
    owner: str
    model: ModelInfo

    @property
    def id(self) -> str:
        return self.model.id

    @property
    def is_resold_by_the_hour(self) -> bool:
        """The night discount of a maker (DeepSeek's) does not hold at who resells the model."""
        prices = self.model.prices
        constraints = [price.constraint for price in prices] if isinstance(prices, list) else []
        return self.owner != self.provider and any(isinstance(c, TimeOfDateConstraint) for c in constraints)


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """Dollars per `per` units. `steps` are (more than so many input tokens, price), ascending: they apply to all."""

    price: Decimal
    per: int
    steps: tuple[tuple[int, Decimal], ...] = ()


def listings(provider_id: str) -> list[Listing]:
    """All that the provider's own list has; nothing for one that has no list."""
    provider = _PROVIDERS.get(provider_id)
    return [Listing(provider_id, provider_id, model) for model in provider.models] if provider else []


def provider_of(model: str) -> str | None:
    """The maker that a bare model name belongs to, as the library recognises them."""
    found = (p.id for p in _listed_providers if p.model_match is not None and p.model_match.is_match(model))
    return next(found, None)


# Bounded: names come from outside.
@lru_cache(maxsize=10_000)
def find(provider_id: str, name: str) -> Listing | None:
    """The model that this name means in the provider's list, or in its makers' whom the library lets it resell.

    `name` is in lower case. Only the end of a name may vary, and only by what does not change the price.
    """
    listing = find_exact(provider_id, name)
    if listing is not None:
        return listing
    model = _PROVIDERS[provider_id].find_model(name, all_providers=_listed_providers)
    if model is None or _is_sibling(model, name):
        return None
    owner = next(p.id for p in _listed_providers if any(listed is model for listed in p.models))
    listing = Listing(provider_id, owner, model)
    return None if listing.is_resold_by_the_hour else listing


def find_exact(provider_id: str, name: str) -> Listing | None:
    """The model that the provider's own list calls by this name, letter for letter."""
    model = _names(provider_id).get(name)
    return None if model is None else Listing(provider_id, provider_id, model)


@cache
def _names(provider_id: str) -> Mapping[str, ModelInfo]:
    """Every name that the provider's list spells out. What a listing answers to goes before what it is called."""
    models = _PROVIDERS[provider_id].models
    answered = [(spelling, model) for model in models for spelling in _spellings(model.match)[0]]
    called = [(model.id.lower(), model) for model in models]
    # The first one wins, as it does in the library.
    return dict(reversed([*answered, *called]))


def is_free(listing: Listing, name: str, spelling: str) -> bool:
    """Whether a listing without any price is known to be free of charge."""
    model = listing.model
    if (listing.owner, model.id) in _FREE_IDS or name.endswith(":free") or model.id.endswith(":free"):
        return True
    if spelling.startswith("vertex"):
        return False
    gemma = listing.owner == "google" and model.id.startswith(_FREE_ON_GEMINI_API)
    return gemma or (model.price_comments or "").find(_FREE_COMMENT) >= 0


def list_prices(listing: Listing, at: datetime) -> Mapping[str, UnitPrice]:
    """Unit prices by the library's key, at this instant."""
    return _units(listing.model.get_prices(at))


def tier_prices(listing: Listing, tier: str, at: datetime) -> Mapping[str, UnitPrice] | None:
    """The unit prices that a served tier has for itself; None when the list has no such tier then."""
    if listing.provider != listing.owner:
        return None
    for key in ("processing", "service_tier", "speed"):
        if any(v.when == {key: tier} and _active(v.constraint, at) for v in _variants(listing)):
            changed = [v.prices for v in _variants(listing) if v.when == {key: tier} and _active(v.constraint, at)]
            merged: dict[str, UnitPrice] = {}
            for prices in reversed(changed):
                merged.update(_units(prices))
            return merged
    return None


def changes(listing: Listing, at: datetime) -> Iterator[datetime]:
    """Instants at which a price of this model may change, those of the day around `at` included."""
    prices = listing.model.prices
    constraints = [p.constraint for p in prices] if isinstance(prices, list) else []
    for constraint in [*constraints, *(v.constraint for v in _variants(listing))]:
        if isinstance(constraint, StartDateConstraint):
            yield datetime.combine(constraint.start_date, time(), UTC)
        elif isinstance(constraint, TimeOfDateConstraint):
            yield from _daily(constraint, at)


def _daily(constraint: TimeOfDateConstraint, at: datetime) -> Iterator[datetime]:
    today = at.astimezone(UTC).date()
    for days in (-1, 0, 1):
        for moment in (constraint.start_time, constraint.end_time):
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            yield datetime.combine(today + timedelta(days=days), zoned)


def _active(constraint: Constraint, at: datetime) -> bool:
    return constraint is None or constraint.active(at)


def _variants(listing: Listing) -> list[PriceVariant]:
    return listing.model.price_variants or []


def _units(prices: ModelPrice) -> dict[str, UnitPrice]:
    return {key: _unit(key, value) for key, value in vars(prices).items() if value is not None}


def _unit(key: str, value: object) -> UnitPrice:
    if isinstance(value, TieredPrices):
        steps = tuple((step.start, _exact(key, step.price)) for step in value.tiers)
        return UnitPrice(_exact(key, value.base), _UNIT_SIZES[key], steps)
    return UnitPrice(_exact(key, value), _UNIT_SIZES[key])


def _exact(key: str, value: object) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"{key} is {value!r}, not a Decimal: the price list has changed its shape")
    return value


def _is_sibling(model: ModelInfo, name: str) -> bool:
    exact, loose = _spellings(model.match)
    if name in exact:
        return False
    known = _words(model.id).union(*(_words(spelling) for spelling in (*exact, *loose)))
    if "regional" in known:
        known |= _GEOGRAPHIES
    unknown = _words(_HARMLESS.sub("", name)) - known
    if family := _FAMILIES.get(model.id):
        unknown = {word for word in unknown if not family.fullmatch(word)}
    return bool(unknown)


def _words(name: str) -> set[str]:
    return set(re.split(r"[-@:./_]+", name.lower())) - {""}


def _spellings(clause: MatchLogic) -> tuple[set[str], set[str]]:
    """The names a match clause spells out: those it equals, and those it looks for at some place of the name."""
    if isinstance(clause, ClauseEquals):
        return {clause.equals.lower()}, set()
    if isinstance(clause, ClauseOr):
        parts = [_spellings(part) for part in clause.or_]
        return set().union(*(exact for exact, _ in parts)), set().union(*(loose for _, loose in parts))
    if isinstance(clause, ClauseAnd):
        return set(), set().union(*(names for part in clause.and_ for names in _spellings(part)))
    if isinstance(clause, ClauseStartsWith):
        return set(), {clause.starts_with.lower()}
    if isinstance(clause, ClauseContains):
        return set(), {clause.contains.lower()}
    if isinstance(clause, ClauseEndsWith):
        return set(), {clause.ends_with.lower()}
    return set(), set()
