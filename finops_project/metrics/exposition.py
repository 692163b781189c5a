"""All metrics in Prometheus' text format."""

from collections.abc import Iterable

from django.utils.timezone import now
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from finops_project.metrics import processes
from finops_project.metrics.ledger import LedgerCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _OfThisProcess(Collector):
    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()


def render(*, with_ledger: bool) -> bytes:
    """Of all processes that share this one's folder; with what the ledger says, or without."""
    processes.clear_away()
    registry = CollectorRegistry()
    if processes.folder():
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_OfThisProcess())
    registry.register(processes.MemoryCollector())
    if with_ledger:
        registry.register(LedgerCollector(at=now()))
    with processes.undisturbed():
        return generate_latest(registry)
