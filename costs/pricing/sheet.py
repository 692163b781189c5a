"""A price sheet: all unit prices that hold for one name over some time. It prices usage, and a ledger line keeps it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, Self
from uuid import UUID

from costs.pricing.buckets import INFRASTRUCTURE, INPUT_BUCKETS, REQUESTS, TOKENS
from costs.pricing.library import UnitPrice
from costs.pricing.usage import Quantities

# Wide enough that no product of a bounded quantity and a bounded price is ever rounded.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_LEDGER_UNIT = Decimal(1).scaleb(-12)
_PER_NAMES = {1: "", 1_000: "/K", 1_000_000: "/M"}


@dataclass(frozen=True, slots=True)
class BucketPrice:
    """The unit price of one bucket; `origin` is the price list with its version, or the kind and version of a rate."""

    unit: UnitPrice
    tier: str
    origin: str


class Component(NamedTuple):
    """One bucket's share: quantity x unit_price / per dollars, not rounded. A tuple, for speed."""

    bucket: str
    quantity: int | Decimal
    unit_price: Decimal
    per: int
    tier: str
    origin: str
    amount: Decimal

    @property
    def formula(self) -> str:
        per = _PER_NAMES.get(self.per, f"/{self.per}")
        return f"{plain(self.quantity)} x ${plain(self.unit_price)}{per}"


class Price(NamedTuple):
    """`amount` is the sum of the components in dollars, to 12 decimals, half even; None is unpriced, see `reason`."""

    amount: Decimal | None
    components: tuple[Component, ...]
    sheet: "Sheet"
    reason: str = ""

    @property
    def formula(self) -> str:
        return " + ".join(component.formula for component in self.components)


@dataclass(frozen=True)
class Sheet:
    """Unit prices by bucket. `resolution` tells how the names led here, `missing` why a bucket may have no price."""

    prices: Mapping[str, BucketPrice]
    resolution: Mapping[str, Any]
    missing: str

    def price(self, quantities: Quantities) -> Price:
        used = quantities.buckets
        components: list[Component] = []
        for bucket, quantity in used.items():
            found = self.prices.get(bucket)
            if found is None:
                why = "there is no rate for it" if bucket in INFRASTRUCTURE else self.missing
                return Price(None, (), self, f"no price for {bucket}: {why}")
            components.append(_component(bucket, quantity, found, used))
        fee = self.prices.get(REQUESTS)
        if fee is not None and not TOKENS.keys().isdisjoint(used):
            components.append(_component(REQUESTS, 1, fee, used))
        return Price(_total(components), tuple(components), self)

    def price_of_many(self, sums: Mapping[str, int | Decimal], *, requests: int, context: int) -> Decimal | None:
        """What many uses come to together that add up to these buckets; None where one of them has no price.

        `requests` of them have tokens, and each has so many input tokens as `context`, or as many as cost the same. It
        is the sum of their prices, to the last decimal, wherever no single price needed rounding to 12 decimals.
        """
        used = {bucket: quantity for bucket, quantity in sums.items() if quantity}
        if any(bucket not in self.prices for bucket in used):
            return None
        components = [_component(bucket, sum_, self.prices[bucket], used, context) for bucket, sum_ in used.items()]
        if requests and REQUESTS in self.prices:
            components.append(_component(REQUESTS, requests, self.prices[REQUESTS], used, context))
        return _total(components)

    @cached_property
    def id(self) -> UUID:
        """Made of the content: equal sheets are one sheet, on every machine and for ever."""
        canonical = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return UUID(bytes=blake2b(canonical.encode(), digest_size=16).digest())

    def to_json(self) -> dict[str, Any]:
        return {
            "prices": {
                bucket: {
                    "unit_price": plain(found.unit.price),
                    "per": found.unit.per,
                    "steps": [[start, plain(price)] for start, price in found.unit.steps],
                    "tier": found.tier,
                    "origin": found.origin,
                }
                for bucket, found in self.prices.items()
            },
            "resolution": dict(self.resolution),
            "missing": self.missing,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        prices = {bucket: _bucket_price(found) for bucket, found in stored["prices"].items()}
        return cls(prices, stored["resolution"], stored["missing"])


def plain(number: int | Decimal) -> str:
    """Without exponent or trailing zeros."""
    text = format(number, "f") if isinstance(number, Decimal) else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bucket_price(found: Mapping[str, Any]) -> BucketPrice:
    steps = tuple((int(start), Decimal(price)) for start, price in found["steps"])
    return BucketPrice(
        UnitPrice(Decimal(found["unit_price"]), int(found["per"]), steps), found["tier"], found["origin"]
    )


def _component(
    bucket: str,
    quantity: int | Decimal,
    found: BucketPrice,
    used: Mapping[str, int | Decimal],
    context: int | None = None,
) -> Component:
    unit, tier = found.unit, found.tier
    price = unit.price
    if unit.steps:
        length = sum(used.get(name, 0) for name in INPUT_BUCKETS) if context is None else context
        for start, higher in unit.steps:
            if length > start:
                price, tier = higher, f"{found.tier}, over {start:,} input tokens"
    amount = EXACT.multiply(price, quantity)
    if unit.per == 1_000_000:
        amount = amount.scaleb(-6, EXACT)
    elif unit.per != 1:
        amount = EXACT.divide(amount, unit.per)
    return Component(bucket, quantity, price, unit.per, tier, found.origin, amount)


def _total(components: list[Component]) -> Decimal:
    amount = Decimal(0)
    for component in components:
        amount = EXACT.add(amount, component.amount)
    return EXACT.quantize(amount, _LEDGER_UNIT)
