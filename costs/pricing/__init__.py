"""What a use costs: pure functions from counted usage and an instant to an exact price.

A provider's usage object becomes disjoint buckets (`normalise`); a `PriceBook` finds the unit price of every
bucket at the event's own time, in contracts, corrections, the bundled list prices and rates, in this order;
what has no known price is unpriced with a sentence, never $0.
"""

from costs.pricing.book import PriceBook
from costs.pricing.catalogue import canonical, context_tokens, dearest, models_of, seller_of
from costs.pricing.defaults import default_rates
from costs.pricing.dialects import DIALECTS
from costs.pricing.library import LIBRARY_VERSION
from costs.pricing.normalise import normalise
from costs.pricing.rates import Rate
from costs.pricing.sheet import Component, Price, Sheet, plain
from costs.pricing.usage import Quantities, UsageError

__all__ = [
    "DIALECTS",
    "LIBRARY_VERSION",
    "Component",
    "Price",
    "PriceBook",
    "Quantities",
    "Rate",
    "Sheet",
    "UsageError",
    "canonical",
    "context_tokens",
    "dearest",
    "default_rates",
    "models_of",
    "normalise",
    "plain",
    "seller_of",
]
