"""Prices that stand beside the list: contracts, dated corrections, infrastructure rates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

# What wins over what, first to last; the library's list price stands between corrections and rates.
KINDS = ("contract", "correction", "rate")


@dataclass(frozen=True, slots=True)
class Rate:
    """`unit_price` dollars for `per` units of a bucket, over [effective_from, effective_to).

    None for cost_type, provider or model means any; names compare without case, after resolution. `tier` is the
    served tier that the price is for, None the standard one.
    """

    kind: str
    cost_type: str | None
    provider: str | None
    model: str | None
    bucket: str
    unit_price: Decimal
    per: int
    effective_from: datetime
    effective_to: datetime | None
    version: str
    tier: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if not isinstance(self.unit_price, Decimal) or not self.unit_price.is_finite() or self.unit_price < 0:
            raise ValueError("unit_price must be a Decimal of at least 0")
        if self.per < 1:
            raise ValueError("per must be at least 1")

    def covers(self, at: datetime) -> bool:
        return self.effective_from <= at and (self.effective_to is None or at < self.effective_to)

    def concerns(self, scope: "Scope") -> bool:
        return (
            self.tier == scope.tier
            and (self.cost_type is None or self.cost_type.lower() == scope.cost_type)
            and (self.provider is None or self.provider.lower() in scope.providers)
            and (self.model is None or self.model.lower() in scope.models)
        )

    @property
    def specificity(self) -> tuple[bool, bool, bool]:
        return self.model is not None, self.provider is not None, self.cost_type is not None


@dataclass(frozen=True, slots=True)
class Scope:
    """All names, in lower case, that a rate may call this use by: as given and as resolved."""

    cost_type: str
    providers: frozenset[str]
    models: frozenset[str]
    tier: str | None = None


def best(rates: Iterable[Rate], bucket: str, kinds: Sequence[str], at: datetime) -> Rate | None:
    """The rate that counts: by kind, then the more specific, then the later begun."""
    fitting = [rate for rate in rates if rate.bucket == bucket and rate.kind in kinds and rate.covers(at)]
    return max(fitting, key=_precedence, default=None)


def _precedence(rate: Rate) -> tuple[int, tuple[bool, bool, bool], datetime, str]:
    return -KINDS.index(rate.kind), rate.specificity, rate.effective_from, rate.version
