"""From a usage object, in any known dialect, to disjoint buckets."""

from collections.abc import Mapping
from typing import Any

from costs.pricing.dialects import DIALECTS
from costs.pricing.usage import Quantities, UsageError


def normalise(usage: Mapping[str, Any]) -> Quantities:
    """Count a usage object. Without "dialect" it is the plain one; raises UsageError."""
    if not isinstance(usage, dict):
        raise UsageError("usage", "must be an object")
    dialect = usage.get("dialect", "plain")
    read = DIALECTS.get(dialect) if isinstance(dialect, str) else None
    if read is None:
        raise UsageError("usage.dialect", f"must be one of {', '.join(sorted(DIALECTS))}")
    return read(usage)
