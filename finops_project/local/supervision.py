"""One supervisord per checkout, reached through its socket in `.run/`.

It runs `python -m finops_project.local run <name>` for every program: commands, ports and secrets are read when a
process starts, so its own configuration changes only with the list of programs.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from typing import Any, NoReturn
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from finops_project.local.home import Home, LocalStackError, last_lines, write_private

START_SECONDS = 60
STOP_SECONDS = 90
CLOCK_TICK = 0.02
# A worker ends its running tasks first: longer than its soft shutdown timeout of 10 s.
STOP_WAIT = {"postgres": 60, "valkey": 30, "worker": 20, "watcher": 20, "teller": 20}


class Supervisor:
    """Starts and stops the programs of one stack by name; touches no other process."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def is_alive(self) -> bool:
        try:
            return bool(self._call("supervisor.getPID"))
        except (OSError, HTTPException, Fault):
            return False

    def launch(self, programs: Sequence[str]) -> None:
        """Make sure a supervisor with exactly these programs runs; none of them is started yet."""
        configuration, path = self._configuration(programs), self._home.run / "supervisord.conf"
        if self.is_alive():
            if path.read_text() == configuration:
                return
            self.shutdown()
        self.end_orphans()
        write_private(path, configuration)
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(path)]
        with (self._home.logs / "supervisord.out").open("w") as output:
            subprocess.run(
                command,
                cwd=self._home.source,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            )
        if not _until(self.is_alive, START_SECONDS):
            print(last_lines(self._home.logs / "supervisord.out"))
            raise LocalStackError("The supervisor did not start: its log is .run/logs/supervisord.log.")

    def state(self, name: str) -> str:
        """RUNNING, STARTING, STOPPED, BACKOFF, EXITED, FATAL, or ABSENT."""
        try:
            return str(self._call("supervisor.getProcessInfo", name)["statename"])
        except (OSError, HTTPException, Fault):
            return "ABSENT"

    def is_running(self, name: str) -> bool:
        return self.state(name) == "RUNNING"

    def is_started(self, name: str) -> bool:
        """It runs, or the supervisor is about to bring it back."""
        return self.state(name) in {"RUNNING", "STARTING", "BACKOFF"}

    def start(self, *names: str) -> None:
        for name in names:
            if not self.is_started(name):
                self._call("supervisor.startProcess", name, False)

    def stop(self, *names: str) -> None:
        """Stop the programs that run, side by side."""
        for name in names:
            if self.is_started(name):
                self._call("supervisor.stopProcess", name, False)
        if not _until(lambda: all(self.state(name) != "STOPPING" for name in names), STOP_SECONDS):
            raise LocalStackError(f"Still stopping after {STOP_SECONDS} s: {', '.join(names)}.")

    def wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Return once the program answers; raises, after printing the end of its log, when it will not."""
        self.expect_alive(name)
        if not _until(lambda: self.expect_alive(name) and is_ready(), START_SECONDS):
            raise self._failure(name, f"did not answer within {START_SECONDS} s")

    def expect_alive(self, name: str) -> bool:
        if self.state(name) in {"FATAL", "EXITED", "ABSENT"}:
            raise self._failure(name, "does not start")
        return True

    def shutdown(self) -> bool:
        """Stop every program, servers last, and the supervisor itself; False when nothing ran."""
        if not self.is_alive():
            return self.end_orphans()
        pid = int(self._call("supervisor.getPID"))
        self._call("supervisor.shutdown")
        if not _until(lambda: not psutil.pid_exists(pid), STOP_SECONDS):
            raise LocalStackError(f"The supervisor (process {pid}) still stops its programs after {STOP_SECONDS} s.")
        return True

    def end_orphans(self) -> bool:
        """End what outlived a killed supervisor: exactly the process groups that were written down; True if any."""
        names = [path.stem for path in self._home.run.glob("pids/*.json")]
        orphans = [process for name in names for process in self._group(name)]
        # The server of each group ends its own children; PostgreSQL waits for sessions, which end meanwhile.
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _kill(psutil.wait_procs(orphans, timeout=STOP_WAIT["worker"])[1])
        return bool(orphans)

    def become(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
        """Replace the calling process by the program, after ending children that its killed predecessor left."""
        if name != "postgres":
            # PostgreSQL's children end by themselves and must not be hurried while they write.
            _kill(self._group(name))
        process = psutil.Process()
        self._home.write(f"pids/{name}.json", {"pid": process.pid, "started": process.create_time()})
        os.execve(command[0], list(command), environment)  # noqa: S606

    def _group(self, name: str) -> list[psutil.Process]:
        """The recorded process and its children; a group's number is not given away while one of them lives."""
        record = self._home.read(f"pids/{name}.json")
        if not record:
            return []
        members = [process for process in psutil.process_iter() if _group_of(process) == record["pid"]]
        leaders = [process for process in members if process.pid == record["pid"]]
        is_ours = all(abs(leader.create_time() - record["started"]) < CLOCK_TICK for leader in leaders)
        return members if is_ours else []

    def _failure(self, name: str, what: str) -> LocalStackError:
        log = self._home.logs / f"{name}.log"
        print(f"--- last lines of {log}\n{last_lines(log)}\n---")
        return LocalStackError(f"{name} {what}: see the lines above.")

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._home.socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy, method)(*arguments)

    def _configuration(self, programs: Sequence[str]) -> str:
        run, logs = _literal(self._home.run), _literal(self._home.logs)
        head = f"""\
[supervisord]
logfile={logs}/supervisord.log
pidfile={run}/supervisord.pid
childlogdir={logs}
directory={_literal(self._home.source)}
umask=077
{"user=root" if os.getuid() == 0 else ""}

[unix_http_server]
file={_literal(self._home.socket)}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
        return head + "".join(self._program(name, rank) for rank, name in enumerate(programs))

    def _program(self, name: str, rank: int) -> str:
        python = _literal(shlex.quote(sys.executable))
        # Relative to the checkout: supervisord replaces % signs in this value twice.
        logs = self._home.logs.relative_to(self._home.source)
        return f"""
[program:{name}]
command={python} -m finops_project.local run {name}
priority={rank}
autostart=false
autorestart=true
startretries=5
startsecs=2
stopsignal={"INT" if name == "postgres" else "TERM"}
stopwaitsecs={STOP_WAIT.get(name, 15)}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def _group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return 0


def _kill(members: Sequence[psutil.Process]) -> None:
    for process in members:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(members, timeout=5)


def _literal(value: object) -> str:
    return str(value).replace("%", "%%")


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
