"""The processes of this machine or container that count into the same folder, and how much memory each takes."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from celery.signals import beat_init, celeryd_init, worker_process_init
from prometheus_client import PROCESS_COLLECTOR, REGISTRY, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector

from finops_project.metrics import listener

# Each process is told with its component; the client's own collector knows only the process that is asked.
REGISTRY.unregister(PROCESS_COLLECTOR)
# Nobody asks since when a counter counts: its own series beside each would be a tenth of all.
disable_created_metrics()  # type: ignore[no-untyped-call]
MARK = ".process"
PROC = Path("/proc")
# The kinds of files that tell what was counted; of gauges a process that has ended has nothing to say.
COUNTED = frozenset({"counter", "histogram"})
# counter_123.db, gauge_livesum_123.db, 123-worker.process
_OWNER = re.compile(r"(?<=_)\d+(?=\.db$)|^\d+(?=-)")


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
    """Those registered that still run."""
    shared = folder()
    if shared is None:
        return [Process(os.getpid(), _Component.name)]
    marks = [mark.name.removesuffix(MARK).partition("-") for mark in shared.glob(f"*{MARK}")]
    return sorted(Process(int(pid), component) for pid, _, component in marks if _runs(int(pid)))


def clear_away() -> None:
    """Of processes that have ended keep only what they counted, all together: a scrape reads every file there is.

    Whoever reads at this moment, or does the same, is not waited for; the next scrape does it then.
    """
    shared = folder()
    if shared is None:
        return
    with suppress(BlockingIOError), _locked(shared, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for path in shared.iterdir():
            pid = _OWNER.search(path.name)
            if pid and not _runs(int(pid[0])):
                _keep_counts(path)
                path.unlink(missing_ok=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No file goes away while the block reads them."""
    shared = folder()
    if shared is None:
        yield
    else:
        with _locked(shared, fcntl.LOCK_SH):
            yield


@contextmanager
def _locked(shared: Path, how: int) -> Iterator[None]:
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


def _keep_counts(path: Path) -> None:
    kind = path.name.partition("_")[0]
    if kind not in COUNTED:
        return
    kept = MmapedDict(path.with_name(f"{kind}_ended.db"))  # type: ignore[no-untyped-call]
    try:
        for key, value, at, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            kept.write_value(key, kept.read_value(key)[0] + value, at)  # type: ignore[no-untyped-call]
    finally:
        kept.close()  # type: ignore[no-untyped-call]


def _runs(pid: int) -> bool:
    return (PROC / str(pid)).exists()


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
