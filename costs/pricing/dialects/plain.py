"""The plain dialect: totals under one set of names. A part always lies within its total, and needs it."""

from decimal import Decimal

from costs.pricing.buckets import INFRASTRUCTURE, PIECES, TOKENS
from costs.pricing.usage import Quantities, Usage, UsageError, as_count, as_quantity, quantities, tier

# What `Quantities.as_plain` shows may be sent back.
_COUNTS = frozenset([*TOKENS, *PIECES])
_SETTINGS = frozenset(["dialect", "service_tier"])


def read(usage: Usage) -> Quantities:
    totals: dict[str, int | Decimal] = {}
    for name, value in usage.items():
        if name in _COUNTS:
            totals[name] = as_count(value, name)
        elif name in INFRASTRUCTURE:
            totals[name] = as_quantity(value, name)
        elif name not in _SETTINGS:
            raise UsageError(f"usage.{name}", "is not a known usage field")
    if not totals:
        raise UsageError("usage", "names nothing that was used")
    return quantities(totals, tier(usage, "service_tier"))
