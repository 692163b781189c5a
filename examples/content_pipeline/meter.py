"""What a piece of work really used of this machine: wall time, CPU time, memory; standard library only."""

import resource
import sys
import time
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

# Billed like a cloud does, in ticks: a millionth of an hour, 3.6 ms. It also keeps minutes / 60 an exact decimal.
TICKS_PER_HOUR = 1_000_000
MINUTES_PER_TICK = Decimal(60) / TICKS_PER_HOUR
HUNDREDTH = Decimal("0.01")
BYTES_PER_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Used:
    """Average cores, resident memory in GB, minutes of wall time."""

    cpu_cores: Decimal
    memory_gb: Decimal
    duration_minutes: Decimal


class Meter:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Used:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_RSS_UNIT
        return used(wall_seconds=wall, cpu_seconds=cpu, memory_bytes=peak)


def used(*, wall_seconds: float, cpu_seconds: float, memory_bytes: int) -> Used:
    """Round up to whole ticks, hundredths of a core and of a gigabyte."""
    ticks = int(wall_seconds * TICKS_PER_HOUR / 3600) + 1
    cores = Decimal(cpu_seconds / wall_seconds) if wall_seconds else Decimal(0)
    return Used(
        cpu_cores=cores.quantize(HUNDREDTH, ROUND_UP),
        memory_gb=(Decimal(memory_bytes) / 1_000_000_000).quantize(HUNDREDTH, ROUND_UP),
        duration_minutes=ticks * MINUTES_PER_TICK,
    )
