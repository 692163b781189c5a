"""What the price list knows of models beside their prices: whose they are, how much they take, which is the dearest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from weakref import WeakKeyDictionary

from costs.pricing import library
from costs.pricing.book import CACHE_LIMIT, PriceBook
from costs.pricing.buckets import INPUT, OUTPUT
from costs.pricing.library import Listing, UnitPrice
from costs.pricing.providers import PROVIDERS
from costs.pricing.resolve import resolve
from costs.pricing.usage import Quantities

_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_KEYS = ("input_mtok", "output_mtok", "requests_kcount")

Prices = tuple[Decimal, ...]


# Bounded: names come from outside.
@lru_cache(maxsize=CACHE_LIMIT)
def context_tokens(cost_type: str, provider: str | None, model: str) -> int | None:
    """How many tokens, input and output together, the model takes; None where the list does not say."""
    listing = resolve(cost_type, provider, model).listing
    return listing.model.context_window if listing else None


@lru_cache(maxsize=CACHE_LIMIT)
def canonical(cost_type: str, provider: str | None, model: str) -> str | None:
    """The id under which the list has this model, whatever its route or its snapshot's date; None: not on the list."""
    listing = resolve(cost_type, provider, model).listing
    return listing.id if listing else None


@lru_cache(maxsize=CACHE_LIMIT)
def seller_of(cost_type: str, provider: str | None, model: str) -> str | None:
    """The provider that is meant, as the list calls it; None where nothing tells."""
    found = resolve(cost_type, provider, model).provider
    return PROVIDERS.get(found, found) if found else None


def models_of(provider: str) -> list[str]:
    """The ids of all that the provider sells, in the list's order; what it no longer recommends is left out."""
    listed = PROVIDERS.get(provider.strip().lower(), "")
    return [listing.id for listing in library.listings(listed) if not listing.model.deprecated]


def dearest(prices: PriceBook, provider: str | None, quantities: Quantities, at: datetime) -> Decimal | None:
    """The most that any known model of this provider asks for the input and output tokens, in US dollars.

    Of a provider that is not known, or of which no price is: the most that any model of any provider asks.
    """
    totals = quantities.as_plain()
    tokens = Quantities({name: totals[name] for name in (INPUT, OUTPUT) if totals.get(name)}, quantities.service_tier)
    named = PROVIDERS.get((provider or "").strip().lower(), (provider or "").strip().lower())
    own = _most(prices, [named], tokens, at) if named else None
    return _most(prices, library.PROVIDER_IDS, tokens, at) if own is None else own


def _most(prices: PriceBook, providers: Iterable[str], tokens: Quantities, at: datetime) -> Decimal | None:
    asked = (
        prices.price(cost_type="", provider=provider, model=model, quantities=tokens, at=at).amount
        for provider in providers
        for model in _top(prices, provider, at)
    )
    return max((amount for amount in asked if amount is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Top:
    """The models of one provider of which each asks the most for some tokens, over [begin, end)."""

    begin: datetime
    end: datetime
    models: tuple[str, ...]


_tops: "WeakKeyDictionary[PriceBook, dict[str, _Top]]" = WeakKeyDictionary()


def _top(prices: PriceBook, provider: str, at: datetime) -> tuple[str, ...]:
    """Of the models on the list those that no other beats; and all that rates name, which may cost anything."""
    known = _tops.setdefault(prices, {})
    found = known.get(provider)
    if found is None or not found.begin <= at < found.end:
        if len(known) >= CACHE_LIMIT:
            known.clear()
        found = known[provider] = _searched(prices.models_with_rates(provider), provider, at)
    return found.models


def _searched(named: Sequence[str], provider: str, at: datetime) -> _Top:
    listings = [listing for listing in library.listings(provider) if listing.id.lower() not in named]
    edges = {edge for listing in listings for edge in library.changes(listing, at)}
    begin = max((edge for edge in edges if edge <= at), default=_EARLIEST)
    end = min((edge for edge in edges if edge > at), default=_LATEST)
    return _Top(begin, end, (*_unbeaten(listings, at), *named))


def _unbeaten(listings: Iterable[Listing], at: datetime) -> list[str]:
    left: dict[str, Prices] = {}
    for listing in listings:
        asked = tuple(_at_every_step(library.list_prices(listing, at)))
        if not any(asked) or any(_beats(other, asked) for other in left.values()):
            continue
        left = {model: other for model, other in left.items() if not _beats(asked, other)} | {listing.id: asked}
    return list(left)


def _at_every_step(units: library.Units) -> Iterator[Decimal]:
    """The prices for every length of context from which on some price of the list is another."""
    for key in _KEYS:
        for length in library.CONTEXT_LENGTHS:
            yield _unit_price(units.get(key), length)


def _unit_price(unit: UnitPrice | None, length: int) -> Decimal:
    if unit is None:
        # A model that has no price for output cannot be asked for any: it beats nobody there.
        return Decimal(-1)
    return next((price for start, price in reversed(unit.steps) if length > start), unit.price)


def _beats(one: Prices, other: Prices) -> bool:
    return all(mine >= theirs for mine, theirs in zip(one, other, strict=True))
