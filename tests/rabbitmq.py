"""A throw-away RabbitMQ node with folders, a cookie and ports of its own, on the loopback interface alone.

Not the installed service, and not its scripts for root: those change the user and use the machine's one folder.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from costs.broker import Away, _of_rabbitmq
from finops_project.local.home import last_lines
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.local.servers import _unprivileged
from tests.servers import guard, release, wait_until

# Debian keeps what its own wrapper calls here.
SEARCHED = f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', '')}"
# Erlang starts slowly, and all the more on a machine with one busy core.
START_SECONDS = 60
END_SECONDS = 10


class RabbitMQ:
    """`url` is its address as a broker; ended and started again it keeps its ports and what was on its disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self._folder, self._password = folder, secrets.token_hex(12)
        self._port, self._names = free_port(), free_port()
        # Erlang's directory of nodes: a process of its own, which would else stay behind as a daemon.
        epmd = ["epmd", "-address", LOOPBACK, "-port", str(self._names)]
        self._commands = [[*_unprivileged(), *epmd], [*_unprivileged(), program]]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guards: list[subprocess.Popen[bytes]] = []
        _configure(folder, self._password)

    @property
    def url(self) -> str:
        return f"amqp://finops:{self._password}@{LOOPBACK}:{self._port}//"

    @property
    def environment(self) -> dict[str, str]:
        """What makes it the broker of a process of ours, which then has no Redis at all."""
        return {"FINOPS_BROKER_URL": self.url, "REDIS_URL": ""}

    def start(self) -> None:
        """Return once it answers."""
        with self._log.open("ab") as log:
            for command in self._commands:
                process = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env=self._own_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                self._processes.append(process)
                self._guards.append(guard(process.pid))
        wait_until(self._answers, START_SECONDS, lambda: f"RabbitMQ did not start:\n{last_lines(self._log, 40)}")

    def kill(self) -> None:
        """kill -9, and of its helpers too: the machine is gone."""
        for process in self._everything():
            # What was killed before takes its helpers along.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for ended in self._processes:
            ended.wait(END_SECONDS)
        for each in self._guards:
            release(each)
        self._processes, self._guards = [], []

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are taken and nobody ever answers; then all goes on where it was."""
        still = self._everything()
        for process in still:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in still:
                process.send_signal(signal.SIGCONT)

    def _everything(self) -> list[psutil.Process]:
        # Erlang's helpers have sessions, and so groups, of their own.
        first = [psutil.Process(process.pid) for process in self._processes]
        return [*first, *(child for each in first for child in each.children(recursive=True))]

    def _answers(self) -> bool:
        if any(process.poll() is not None for process in self._processes):
            raise RuntimeError(f"RabbitMQ ended:\n{last_lines(self._log, 40)}")
        try:
            _of_rabbitmq(self.url, ["celery"], 2)
        except Away:
            return False
        return True

    def _own_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            # The cookie is made here, so no other node of this machine is known.
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_NODENAME": "finops-test@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
        }

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """Running; the test is skipped where it is not installed."""
    program = shutil.which("rabbitmq-server", path=SEARCHED) or _refuse()
    with tempfile.TemporaryDirectory(prefix="finops-test-rabbitmq-", ignore_cleanup_errors=True) as folder:
        broker = RabbitMQ(program, Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.kill()


def _configure(folder: Path, password: str) -> None:
    lines = ("default_user = finops", f"default_pass = {password}", "log.console.level = warning")
    (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
    (folder / "enabled_plugins").write_text("[].\n")


def _refuse() -> str:
    if os.environ.get("FINOPS_REQUIRE_ALL"):
        pytest.fail("No RabbitMQ is installed, and nothing may be skipped.")
    pytest.skip("No RabbitMQ is installed: install rabbitmq-server to run these tests.")
