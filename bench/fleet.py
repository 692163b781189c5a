"""The application's processes as `make up` starts them, each of which can be replaced while the others serve."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Self

from bench.callers import Service
from finops_project.local.processes import BOOKING, TELLING, WATCHING
from tests import processes

# As in deploy/kubernetes: the pod still serves while everybody learns that it leaves.
LEAVING_SECONDS = 5

Start = Callable[[], AbstractContextManager[processes.AppProcess]]


class Fleet:
    """Web servers join the service when they answer, and leave it before they are asked to end.

    All count into the folder `metrics`, where there is one, as they do with `make up`.
    """

    def __init__(self, service: Service, *, metrics: Path | None = None) -> None:
        self._service = service
        extra = {"PROMETHEUS_MULTIPROC_DIR": str(metrics)} if metrics else {}
        self._kinds: dict[str, Start] = {
            "web": partial(processes.web, 2, **extra),
            "worker": partial(processes.worker_of, (BOOKING,), 2, extra),
            "watcher": partial(processes.worker_of, (WATCHING,), 2, extra),
            "teller": partial(processes.worker_of, (TELLING,), 3, extra),
            "beat": partial(processes.beat, **extra),
        }
        self._running: dict[str, tuple[ExitStack, processes.AppProcess]] = {}
        self._next = cycle(self._kinds)

    def __enter__(self) -> Self:
        try:
            for role in self._kinds:
                self._start(role)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _process in self._running.values():
            stack.close()

    @property
    def pids(self) -> dict[str, int]:
        """Of the first process of each role; it starts the others."""
        return {role: process.pid for role, (_, process) in self._running.items()}

    def replace_next(self) -> None:
        """As a deployment does it: the new one is ready before the old one is asked to end. Takes some seconds."""
        role = next(self._next)
        stack, old = self._running[role]
        self._start(role)
        if isinstance(old, processes.WebProcess):
            self._service.leave(old.url)
            time.sleep(LEAVING_SECONDS)
        stack.close()

    def _start(self, role: str) -> None:
        stack = ExitStack()
        process = stack.enter_context(self._kinds[role]())
        self._running[role] = stack, process
        if isinstance(process, processes.WebProcess):
            self._service.join(process.url)
