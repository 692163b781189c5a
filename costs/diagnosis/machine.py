"""What this machine knows: our processes with their memory, the caches of all of them, and the broker.

Read from /proc, so that production needs no library for it; processes in other containers are not seen from here.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from prometheus_client import CollectorRegistry, multiprocess

from costs import broker as celery_broker
from costs.diagnosis.findings import Section

PROC = Path("/proc")
# One of the words of a command of ours: a module to run, or the program itself.
OURS = re.compile(r"finops_project([.:].*)?|(.*/)?manage\.py")
BROKER_SECONDS = 1
CACHE_HITS, CACHE_MISSES = "finops_cache_hits_total", "finops_cache_misses_total"
SHOWN_OF_A_COMMAND = 90


@dataclass(frozen=True, slots=True)
class Process:
    """A process, and how much of its memory is in RAM, in kB."""

    pid: int
    parent: int
    resident: int
    command: str


def processes() -> tuple[Section, list[str]]:
    """Ours, and whatever they started, the largest first; a prefork child counts the memory that it shares, too."""
    found = sorted(_ours({each.pid: each for each in _all()}), key=lambda each: -each.resident)
    most = settings.CELERY_WORKER_MAX_MEMORY_PER_CHILD
    rows = [(each.pid, each.parent, round(each.resident / 1024, 1), each.command) for each in found]
    wrong = [
        f"Process {each.pid} holds {each.resident / 1024:,.0f} MB, more than FINOPS_MEMORY_THRESHOLD_MB: {each.command}"
        for each in found
        if each.resident > most
    ]
    note = "" if PROC.is_dir() else "This system has no /proc: nothing is known of its processes."
    return Section("processes", ("pid", "parent", "resident_mb", "command"), rows, note), wrong


def caches() -> Section:
    """Hits and misses since the processes started, of all that share PROMETHEUS_MULTIPROC_DIR."""
    columns = ("cache", "hits", "misses", "hit_percent")
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if not folder or not Path(folder).is_dir():
        return Section(
            "caches", columns, [], "PROMETHEUS_MULTIPROC_DIR names no folder here: /metrics has the figures."
        )
    hits, misses = _counted(folder, CACHE_HITS), _counted(folder, CACHE_MISSES)
    rows = [
        (name, int(hit), int(miss), round(100 * hit / (hit + miss), 1) if hit + miss else None)
        for name in sorted({*hits, *misses})
        for hit, miss in [(hits.get(name, 0.0), misses.get(name, 0.0))]
    ]
    return Section("caches", columns, rows, "" if rows else "No process has used a cache yet.")


def broker() -> tuple[Section, list[str]]:
    """How many nudges wait in each queue. They carry no money: a lost one delays a booking by a second or two."""
    columns = ("queue", "waiting")
    try:
        rows = list(celery_broker.queue_lengths(seconds=BROKER_SECONDS).items())
    except celery_broker.Away as error:
        sentence = f"{error}. Events are accepted and wait for its return."
        return Section("broker", columns, [], "It does not answer."), [sentence]
    return Section("broker", columns, rows), []


def _all() -> Iterator[Process]:
    for folder in PROC.glob("[0-9]*"):
        try:
            status = _fields((folder / "status").read_text())
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            # It ended meanwhile.
            continue
        if "VmRSS" in status:
            command = b" ".join(words).decode(errors="replace").strip()
            yield Process(int(folder.name), int(status["PPid"]), int(status["VmRSS"].split()[0]), command)


def _fields(status: str) -> Mapping[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def _ours(every: Mapping[int, Process]) -> Iterator[Process]:
    for each in every.values():
        if each.pid != os.getpid() and _is_ours(each, every):
            yield Process(each.pid, each.parent, each.resident, each.command[:SHOWN_OF_A_COMMAND])


def _is_ours(process: Process, every: Mapping[int, Process]) -> bool:
    """By its command, or because one of ours started it: what a server forks may hide behind a name of its own."""
    looked_at: Process | None = process
    while looked_at is not None:
        if any(OURS.fullmatch(word) for word in looked_at.command.split()):
            return True
        looked_at = every.get(looked_at.parent)
    return False


def _counted(folder: str, metric: str) -> dict[str, float]:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return {
        sample.labels.get("cache", ""): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == metric
    }
