"""The price book: from counted usage at an instant to an exact price, or to a sentence why there is none."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from costs.pricing import library
from costs.pricing.buckets import BUCKETS, INPUT, TOKENS
from costs.pricing.library import LIBRARY_VERSION, MODALITIES_AT_TEXT_PRICE, UnitPrice
from costs.pricing.rates import Rate, Scope, best
from costs.pricing.resolve import Resolution, resolve
from costs.pricing.sheet import BucketPrice, Price, Sheet
from costs.pricing.usage import Quantities

CACHE_LIMIT = 10_000
# A price by the time of day changes a few times a day: what was resolved last is what is asked for next.
_INTERVALS_KEPT = 4
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
STANDARD = "standard"
_FREE = UnitPrice(Decimal(0), 1_000_000)
_TEXT_BUCKETS = {
    "input_audio_tokens": INPUT,
    "input_video_tokens": INPUT,
    "cache_read_audio_tokens": "cache_read_tokens",
    "cache_read_video_tokens": "cache_read_tokens",
}

Names = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Tariff:
    """A sheet and the interval [begin, end) in which it holds."""

    begin: datetime
    end: datetime
    sheet: Sheet


class PriceBook:
    """Immutable. What it resolves is kept, at most 10,000 names; a change of rates needs a new book."""

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self._rates = tuple(rates)
        self._tariffs: dict[Names, tuple[Tariff, ...]] = {}
        self._asked = self._searched = 0

    def price(
        self, *, cost_type: str, provider: str | None, model: str | None, quantities: Quantities, at: datetime
    ) -> Price:
        """The price at `at`, an aware time: that of the event, not that of the booking."""
        return self.tariff((cost_type, provider, model, quantities.service_tier), at).sheet.price(quantities)

    def models_with_rates(self, provider: str) -> list[str]:
        """The models for which a rate of this provider's, or of any provider's, has a price of its own; lower case."""
        wanted = ("", provider.lower())
        named = (r.model.lower() for r in self._rates if r.model and (r.provider or "").lower() in wanted)
        return list(dict.fromkeys(named))

    def changes_of_rates(self) -> set[datetime]:
        """Every instant at which a rate begins or ends, whatever it is for."""
        return {edge for rate in self._rates for edge in (rate.effective_from, rate.effective_to) if edge}

    def tariff(self, names: Names, at: datetime) -> Tariff:
        """What holds at `at` for (cost type, provider, model, served tier), and over which interval."""
        self._asked += 1
        known = self._tariffs.get(names, ())
        for tariff in known:
            if tariff.begin <= at < tariff.end:
                return tariff
        self._searched += 1
        fresh = _Search(self._rates, names, at).tariff()
        if len(self._tariffs) >= CACHE_LIMIT and names not in self._tariffs:
            self._tariffs.clear()
        self._tariffs[names] = (fresh, *known[: _INTERVALS_KEPT - 1])
        return fresh

    def take_counts(self) -> tuple[int, int]:
        """How often a tariff was kept, and how often it had to be searched, since this was last asked.

        Threads that ask at this moment may be missed, and never make it less than none.
        """
        searched, asked = self._searched, self._asked
        self._asked = self._searched = 0
        return max(0, asked - searched), searched


class _Search:
    """One look through rates and list for one set of names at one instant."""

    def __init__(self, rates: Iterable[Rate], names: Names, at: datetime) -> None:
        self._names, self._at = names, at
        cost_type, provider, model, self._tier = names
        self._found = resolve(cost_type, provider, model)
        scope = _scope(names, self._found)
        self._rates = [rate for rate in rates if rate.concerns(scope)]
        self._listed = _listed(self._found, self._tier, at)

    def tariff(self) -> Tariff:
        known = dict.fromkeys((*BUCKETS, *(rate.bucket for rate in self._rates)))
        prices = {bucket: price for bucket in known if (price := self._price(bucket))}
        begin, end = self._interval()
        return Tariff(begin, end, Sheet(prices, self._told(), self._why_missing()))

    def _price(self, bucket: str) -> BucketPrice | None:
        """Contract before correction before list price before rate; what has none may cost what its parent does."""
        if rate := best(self._rates, bucket, ("contract", "correction"), self._at):
            return _of_rate(rate)
        for unit in BUCKETS[bucket].units if bucket in BUCKETS else ():
            if unit in self._listed:
                return BucketPrice(self._listed[unit], self._tier or STANDARD, LIBRARY_VERSION)
        if rate := best(self._rates, bucket, ("rate",), self._at):
            return _of_rate(rate)
        if parent := self._parent(bucket):
            return self._price(parent)
        if bucket in TOKENS and self._is_free():
            return BucketPrice(_FREE, STANDARD, LIBRARY_VERSION)
        return None

    def _parent(self, bucket: str) -> str | None:
        listing = self._found.listing
        if bucket in _TEXT_BUCKETS and listing and listing.owner in MODALITIES_AT_TEXT_PRICE:
            return _TEXT_BUCKETS[bucket]
        return BUCKETS[bucket].parent if bucket in BUCKETS else None

    def _is_free(self) -> bool:
        found = self._found
        if found.listing is None or self._listed or self._tier:
            return False
        return library.is_free(found.listing, found.name, found.spelling)

    def _interval(self) -> tuple[datetime, datetime]:
        """The longest interval around the instant in which nothing changes."""
        changes = {edge for rate in self._rates for edge in (rate.effective_from, rate.effective_to) if edge}
        if self._found.listing:
            changes.update(library.changes(self._found.listing, self._at))
        begin = max((edge for edge in changes if edge <= self._at), default=_EARLIEST)
        return begin, min((edge for edge in changes if edge > self._at), default=_LATEST)

    def _told(self) -> dict[str, Any]:
        cost_type, provider, model, tier = self._names
        listing = self._found.listing
        return {
            "given": {"cost_type": cost_type, "provider": provider, "model": model, "service_tier": tier},
            "provider": self._found.provider,
            "model": listing.id if listing else None,
            "list_of": listing.owner if listing else None,
            "rules": list(self._found.rules),
        }

    def _why_missing(self) -> str:
        if self._found.reason:
            return self._found.reason
        assert self._found.listing is not None, "a resolution without a listing has a reason"
        model = f"{self._found.listing.id} of {self._found.listing.owner}"
        if self._tier and not self._listed:
            return f"the list has no {self._tier} prices for {model}"
        return f"the list has none for {model}"


def _of_rate(rate: Rate) -> BucketPrice:
    return BucketPrice(UnitPrice(rate.unit_price, rate.per), rate.tier or STANDARD, f"{rate.kind} {rate.version}")


def _listed(found: Resolution, tier: str | None, at: datetime) -> Mapping[str, UnitPrice]:
    """The list prices by the library's key; a served tier changes some of them, and an unlisted tier has none."""
    if found.listing is None:
        return {}
    standard = library.list_prices(found.listing, at)
    if tier is None:
        return standard
    changed = library.tier_prices(found.listing, tier, at)
    return {} if changed is None else {**standard, **changed}


def _scope(names: Names, found: Resolution) -> Scope:
    cost_type, provider, model, tier = names
    listing = found.listing
    providers = (provider, found.provider, found.spelling, listing.owner if listing else None)
    models = (model, found.name, listing.id if listing else None)
    return Scope(cost_type.lower(), _lowered(providers), _lowered(models), tier)


def _lowered(names: Iterable[str | None]) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in names if name)
