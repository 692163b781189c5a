"""How often a cache had what was asked for: counted for Prometheus, and the same names everywhere."""

from prometheus_client import Counter

HITS = Counter("finops_cache_hits_total", "What was asked for and was there.", ["cache"])
MISSES = Counter("finops_cache_misses_total", "What was asked for and had to be read or worked out.", ["cache"])


class Cache:
    """One kind of cache; a process may hold any number of them."""

    def __init__(self, name: str) -> None:
        self._hits, self._misses = HITS.labels(name), MISSES.labels(name)

    def count(self, *, hits: int = 0, misses: int = 0) -> None:
        if hits:
            self._hits.inc(hits)
        if misses:
            self._misses.inc(misses)


# API keys by their secrets; what the names of models and resources cost; prices and model lists of decisions.
KEYS = Cache("key")
PRICES = Cache("price")
CONFIGURATION = Cache("configuration")
