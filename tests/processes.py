"""Real processes of the application against the test database: what tests about crashes and concurrency need.

Use them only in tests with committed data (`django_db(transaction=True)`): another process sees nothing else.
"""

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import urlopen

import psutil
from django.conf import settings
from django.db import connection

from finops_project.local import processes
from finops_project.local.home import SOURCE, last_lines
from finops_project.local.ports import LOOPBACK, free_port
from tests.servers import guard, release, wait_until

READY_SECONDS = 30
STOP_SECONDS = 30


class AppProcess:
    """One process of the application with its children, in a group of its own, writing to `log`."""

    def __init__(self, command: list[str], role: str, log: Path, extra: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=SOURCE,
                env={**environment(role), **extra},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._guard = guard(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def children(self) -> list[int]:
        """Process ids of the prefork or web children, oldest first."""
        found = [child for child in psutil.Process(self.pid).children() if _runs(child)]
        return [child.pid for child in sorted(found, key=lambda child: child.create_time())]

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9 for the whole group: the machine is gone."""
        if self.is_alive():
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def kill_child(self) -> int:
        """kill -9 for one child; returns its process id."""
        victims: list[int] = []

        def found() -> bool:
            # The one that was killed before may not have been replaced yet, or not be buried yet.
            victims[:] = self.children()
            return bool(victims)

        self.wait_until(found, "child")
        os.kill(victims[-1], signal.SIGKILL)
        return victims[-1]

    def stop(self) -> None:
        """Ask it to end, as a deployment does; kill what does not."""
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """End whatever is left of the group."""
        self.stop()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        release(self._guard)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds; raises with the end of the log when the process ends before."""

        def holds() -> bool:
            if not self.is_alive():
                raise RuntimeError(f"The process ended before {what}:\n{last_lines(self.log, 40)}")
            return condition()

        wait_until(holds, READY_SECONDS, lambda: f"No {what} in time:\n{last_lines(self.log, 40)}")

    def count_logged(self, text: str) -> int:
        return self.log.read_text(errors="replace").count(text)


def _runs(process: psutil.Process) -> bool:
    """A killed child stays a child until it is buried."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class WebProcess(AppProcess):
    """The web server; `url` has no slash at its end."""

    url: str


P = TypeVar("P", bound=AppProcess)


@contextmanager
def worker(n: int = 2, **extra: str) -> Iterator[AppProcess]:
    """A prefork worker with n children that consumes already; `extra` are environment variables."""
    with worker_of(processes.QUEUES, n, extra) as process:
        yield process


@contextmanager
def worker_of(
    queues: tuple[str, ...], n: int, extra: Mapping[str, str] = MappingProxyType({}), *, within: Sequence[str] = ()
) -> Iterator[AppProcess]:
    """A worker of these queues alone; `within` stands before its command, such as `ip netns exec NAME`."""
    command = processes.worker_command(processes=n, name=f"test-{secrets.token_hex(4)}", queues=queues)
    command = [*within, *command]
    with _started(AppProcess, command, "worker", extra) as process:
        process.wait_until(lambda: process.count_logged(" ready.") > 0, "ready worker")
        yield process


@contextmanager
def beat(**extra: str) -> Iterator[AppProcess]:
    """The scheduler, with a schedule of its own."""
    with tempfile.TemporaryDirectory(prefix="finops-beat-") as folder:
        schedule = Path(folder) / "schedule"
        with _started(AppProcess, processes.beat_command(schedule), "beat", extra) as process:
            process.wait_until(lambda: process.count_logged("beat: Starting") > 0, "started beat")
            yield process


@contextmanager
def web(n: int = 1, **extra: str) -> Iterator[WebProcess]:
    """The web server with n processes; yields once it answers."""
    port = free_port()
    with _started(WebProcess, processes.web_command(port, processes=n), "web", extra) as process:
        process.url = f"http://{LOOPBACK}:{port}"
        process.wait_until(lambda: _answers(f"{process.url}/health"), "answer to /health")
        # Until then a worker does not hear a request to stop.
        process.wait_until(lambda: process.count_logged("Started worker-") == n, "started workers")
        yield process


def environment(role: str) -> dict[str, str]:
    """What a process of the application needs to use the database that this test uses."""
    return processes.inherited_environment() | {
        "DATABASE_URL": current_database_url(),
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "DJANGO_SETTINGS_MODULE": "finops_project.settings",
        "FINOPS_ENV": "test",
        "FINOPS_ROLE": role,
        "PYTHONUNBUFFERED": "1",
    }


def current_database_url() -> str:
    """The address of Django's test database: the server's own, with the name that the test runner gave it."""
    name = quote(str(connection.settings_dict["NAME"]))
    return urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))


@contextmanager
def _started(kind: type[P], command: list[str], role: str, extra: Mapping[str, str]) -> Iterator[P]:
    handle, name = tempfile.mkstemp(prefix=f"finops-test-{role}-", suffix=".log")
    os.close(handle)
    process = kind(command, role, Path(name), extra)
    try:
        yield process
    finally:
        process.close()
        Path(name).unlink()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):  # noqa: S310
            return True
    except HTTPError:
        return True
    except OSError:
        return False
