"""The processes of this machine or container that count into the same folder, and how much memory each takes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from celery.signals import beat_init, celeryd_init, worker_process_init
from prometheus_client import PROCESS_COLLECTOR, REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.registry import Collector

from finops_project.metrics import listener

# Each process is told with its component; the client's own collector knows only the process that is asked.
REGISTRY.unregister(PROCESS_COLLECTOR)
MARK = ".process"
PROC = Path("/proc")


class Process(NamedTuple):
    pid: int
    component: str


class _Component:
    name = "command"


def folder() -> Path | None:
    """Where the processes leave their counts for each other; None: each keeps its own."""
    configured = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(configured) if configured else None


def register(component: str) -> None:
    """This process is one of the component."""
    _Component.name = component
    if shared := folder():
        shared.mkdir(parents=True, exist_ok=True)
        (shared / f"{os.getpid()}-{component}{MARK}").touch()


def alive() -> list[Process]:
    """Those registered that still run; what the others left behind is cleared away, but for what they counted."""
    shared = folder()
    if shared is None:
        return [Process(os.getpid(), _Component.name)]
    found = [(mark, Process(int(pid), component)) for mark in shared.glob(f"*{MARK}") for pid, component in [_of(mark)]]
    for mark, process in found:
        if not (PROC / str(process.pid)).exists():
            mark.unlink(missing_ok=True)
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
    return sorted(process for mark, process in found if mark.exists())


def _of(mark: Path) -> tuple[str, str]:
    pid, _, component = mark.name.removesuffix(MARK).partition("-")
    return pid, component


class MemoryCollector(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory of each process.", labels=["component", "pid"]
        )
        for process in alive():
            if (resident := resident_bytes(process.pid)) is not None:
                family.add_metric([process.component, str(process.pid)], resident)
        yield family


def resident_bytes(pid: int) -> int | None:
    """None where the system has no /proc, or no such process."""
    try:
        _, pages, *_ = (PROC / str(pid) / "statm").read_text().split()
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _worker_starts(sender: str = "", **_: object) -> None:
    """`sender` is the worker's name: worker@host, watcher@host, teller@host."""
    register(sender.partition("@")[0] or "worker")
    listener.start()


def _child_starts(**_: object) -> None:
    register(_Component.name)


def _beat_starts(**_: object) -> None:
    register("beat")
    listener.start()


celeryd_init.connect(_worker_starts)
worker_process_init.connect(_child_starts)
beat_init.connect(_beat_starts)
