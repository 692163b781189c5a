"""Counted usage: disjoint buckets, and the readers that dialects build them with."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from costs.pricing.buckets import BUCKETS, TOKENS

Usage = Mapping[str, Any]

COUNT_LIMIT = 10**12
QUANTITY_DIGITS = 40
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,28})?")
# Served tiers that mean the ordinary list price.
_STANDARD_TIERS = frozenset(["", "standard", "default", "auto", "on_demand", "not_available", "unspecified"])
_TIER_NAME = re.compile(r"[a-z0-9_.+-]{1,40}")
# Every count that lies within others, with those others; the innermost first, so that each is final when it is taken
# out of what contains it.
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (name, bucket.shown_in[:-1])
    for name, bucket in sorted(TOKENS.items(), key=lambda item: -len(item[1].shown_in))
    if len(bucket.shown_in) > 1
)


class UsageError(ValueError):
    """Usage that cannot be counted. `path` names the field, `sentence` says what is wrong with it."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}")
        self.path = path
        self.sentence = sentence


class Quantities(NamedTuple):
    """What was used: disjoint non-zero buckets, and the tier it was served in (None is the standard one)."""

    buckets: Mapping[str, int | Decimal]
    service_tier: str | None = None

    def as_plain(self) -> dict[str, int | Decimal]:
        """The totals under their plain names: input_tokens with everything cached in it, and so on."""
        totals: dict[str, int | Decimal] = {}
        for name, quantity in self.buckets.items():
            known = BUCKETS.get(name)
            for plain in known.shown_in if known else (name,):
                totals[plain] = totals.get(plain, 0) + quantity
        return totals


def quantities(
    totals: Mapping[str, int | Decimal], tier: str | None, spelled: Mapping[str, str] | None = None
) -> Quantities:
    """Totals under plain names, as disjoint buckets: the reverse of `Quantities.as_plain`.

    A part that is larger than its total raises UsageError; `spelled` gives the dialect's own names for its path.
    """
    left = dict(totals)
    for part, wholes in _PARTS:
        if part in left and (inside := left[part]):
            for whole in wholes:
                left[whole] = left.get(whole, 0) - inside
    buckets = {name: quantity for name, quantity in left.items() if quantity}
    if buckets and min(buckets.values()) < 0:
        raise _more_than_the_total(totals, buckets, spelled or {})
    return Quantities(buckets, tier)


def _more_than_the_total(
    totals: Mapping[str, int | Decimal], buckets: Mapping[str, int | Decimal], spelled: Mapping[str, str]
) -> UsageError:
    name = next(name for name in (*dict(_PARTS), *buckets) if buckets.get(name, 0) < 0)
    parts = [(part, buckets[part]) for part, wholes in _PARTS if name in wholes and part in buckets]
    named = " + ".join(f"{part} {quantity:,}" for part, quantity in parts)
    sentence = f"is {totals.get(name, 0):,}, but its parts are more: {named}"
    return UsageError(f"usage.{spelled.get(name, name)}", sentence)


def count(usage: Usage, name: str, path: str = "usage") -> int:
    """A whole number of pieces; absent and null are 0."""
    value = usage.get(name)
    return 0 if value is None else as_count(value, name, path)


def first_count(usage: Usage, names: Iterable[str]) -> int:
    """The first of these counts that is not 0: names under which different providers report the same."""
    return next((found for name in names if (found := count(usage, name))), 0)


def as_count(value: Any, name: str, path: str = "usage") -> int:
    """JSON numbers arrive as int or Decimal, never as text."""
    if type(value) is not int and not _is_whole(value):
        raise UsageError(f"{path}.{name}", "must be a whole number")
    if not 0 <= value < COUNT_LIMIT:
        raise UsageError(f"{path}.{name}", "must lie between 0 and 999,999,999,999")
    return int(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()


def as_quantity(value: object, name: str) -> int | Decimal:
    """An amount of infrastructure: a number or a string that is a plain decimal."""
    path = f"usage.{name}"
    if isinstance(value, str):
        if not _PLAIN_DECIMAL.fullmatch(value):
            raise UsageError(path, "must be a plain decimal number")
        value = Decimal(value)
    if type(value) is int:
        return as_count(value, name)
    if not isinstance(value, Decimal):
        raise UsageError(path, "must be a decimal number")
    if not value.is_finite() or not 0 <= value < COUNT_LIMIT:
        raise UsageError(path, "must lie between 0 and 999,999,999,999")
    _, digits, exponent = value.as_tuple()
    if len(digits) > QUANTITY_DIGITS or not -QUANTITY_DIGITS <= int(exponent) <= 12:
        raise UsageError(path, f"must not have more than {QUANTITY_DIGITS} digits")
    return value


def section(usage: Usage, name: str) -> Usage:
    """A nested object of the provider's; absent and null are empty."""
    value = usage.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"usage.{name}", "must be an object")
    return value


def require(usage: Usage, name: str) -> None:
    """A renamed or missing main count would otherwise book the call as free."""
    if usage.get(name) is None:
        raise UsageError(f"usage.{name}", "is missing: is the dialect the right one?")


def tier(usage: Usage, *names: str) -> str | None:
    """The tier the call was served in, from the first of these fields that says so."""
    for name in names:
        value = usage.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise UsageError(f"usage.{name}", "must be a string")
        lowered = value.strip().lower()
        if lowered in _STANDARD_TIERS:
            continue
        if not _TIER_NAME.fullmatch(lowered):
            raise UsageError(f"usage.{name}", "must be the name of a tier, up to 40 letters and digits")
        return lowered
    return None
