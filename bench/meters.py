"""What the application's processes and its servers take: processor time, memory, connections."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil
from django.db import connection

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """`cpu_seconds` are all that each role has used so far; `largest_mb` is the memory of its largest process."""

    at: float
    cpu_seconds: Mapping[str, float]
    largest_mb: Mapping[str, float]
    connections: int


class Meter:
    """`pids` names the first process of each role; what these started counts too."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def read(self) -> Reading:
        cpu, largest = {}, {}
        for role, pid in self._pids().items():
            taken = list(_taken(pid))
            cpu[role] = sum(seconds for seconds, _ in taken)
            largest[role] = max((megabytes for _, megabytes in taken), default=0.0)
        return Reading(time.monotonic(), cpu, largest, _connections())


def cores(first: Reading, last: Reading) -> dict[str, float]:
    """How many cores each role was busy on between two readings; nothing may have been replaced between them."""
    seconds = last.at - first.at
    return {role: (spent - first.cpu_seconds[role]) / seconds for role, spent in last.cpu_seconds.items()}


def largest_mb(pid: int) -> float:
    """Memory of the largest of a process and those that it started."""
    return max((megabytes for _, megabytes in _taken(pid)), default=0.0)


def typical(readings: Sequence[Reading], what: Callable[[Reading], float]) -> float:
    return median(what(reading) for reading in readings)


def _taken(pid: int) -> Iterator[tuple[float, float]]:
    """Processor seconds and MB of a process and of each that it started."""
    for process in _family(pid):
        try:
            times, memory = process.cpu_times(), process.memory_info()
        except psutil.NoSuchProcess:
            continue
        # Of children that have ended, their parent keeps the time.
        yield times.user + times.system + times.children_user + times.children_system, memory.rss / MB


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _connections() -> int:
    """Of all clients but the one that asks."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])
