"""Throw-away PostgreSQL and Redis-compatible servers in a temporary folder, the same ones that `make up` starts."""

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finops_project.local.home import last_lines
from finops_project.local.ports import free_port
from finops_project.local.servers import Postgres, Valkey

START_SECONDS = 60
# A shutdown writes down what the tests before left in memory.
END_SECONDS = 180
# A fast shutdown, as in production: sessions are cut, nothing is lost.
STOP_SIGNALS = {Postgres: signal.SIGINT, Valkey: signal.SIGTERM}


class Server:
    """One server process; stopped and started again it keeps its port, its password and its data."""

    def __init__(self, server: Postgres | Valkey) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def pid(self) -> int:
        """Of the running process, which starts others."""
        assert self._process, "The server does not run."
        return self._process.pid

    @property
    def log(self) -> Path:
        return self._server.folder / "server.log"

    def start(self) -> None:
        """Return once it answers."""
        if self._process:
            return
        self._server.initialise()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._server.command,
                cwd=self._server.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard = guard(self._process.pid)
        wait_until(self._answers, START_SECONDS, lambda: f"The server did not start:\n{last_lines(self.log)}")

    def stop(self) -> None:
        """Shut down in an orderly way."""
        self._end(STOP_SIGNALS[type(self._server)])

    def kill(self) -> None:
        """End it like a power cut: SIGKILL for the whole group."""
        self._end(signal.SIGKILL, group=True)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise RuntimeError(f"The server ended:\n{last_lines(self.log)}")
        return self._server.is_ready()

    def _end(self, number: signal.Signals, *, group: bool = False) -> None:
        if not self._process:
            return
        process, self._process = self._process, None
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(END_SECONDS)
        if self._guard:
            release(self._guard)


@contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[Server]:
    """A running PostgreSQL with an empty database `finops`."""
    with _folder(folder, "postgres") as place:
        postgres = Postgres(place, free_port(), secrets.token_hex(12))
        with _running(Server(postgres)) as server:
            postgres.create_database()
            yield server


@contextmanager
def redis_server(folder: Path | None = None) -> Iterator[Server]:
    """A running Redis-compatible server that keeps what it acknowledged."""
    with _folder(folder, "valkey") as place, _running(Server(Valkey(place, free_port(), secrets.token_hex(12)))) as it:
        yield it


def guard(pid: int) -> subprocess.Popen[bytes]:
    """Kill the process group when this process is gone, however it ended: its pipe closes then."""
    # A line on the pipe is the release; the end of the pipe is a death.
    script = f"read -r _ || kill -s KILL -- -{pid}"
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)


def release(guard: subprocess.Popen[bytes]) -> None:
    """Let the guard go: its group has ended, and the number may belong to somebody else soon."""
    guard.communicate(b"\n")


def wait_until(condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    """Poll until the condition holds; raises TimeoutError with the complaint."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint())
        time.sleep(0.05)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def _folder(given: Path | None, name: str) -> Iterator[Path]:
    folder = given or Path(tempfile.mkdtemp(prefix=f"finops-test-{name}-"))
    remove = atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        yield folder
    finally:
        atexit.unregister(remove)
        shutil.rmtree(folder, ignore_errors=True)
