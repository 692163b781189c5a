"""The application's processes: what each one runs and with which environment."""

import os
import sys
from pathlib import Path

from finops_project.local.ports import LOOPBACK
from finops_project.local.stand_ins import StandIns

APPLICATION = ("web", "worker", "watcher", "teller", "beat", "flower")
# Beside them where a channel of alerts has no receiver of its own.
RECEIVERS = "receivers"
INHERITED = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy"}
INHERITED_PREFIXES = ("FINOPS_", "DJANGO_", "OTEL_")
WEB_PROCESSES = 2
# The bulkhead lets 8 of them serve what is no decision, 40 wait for that, and 4 serve /ready
# (finops_project/express.py). They begin when they are needed, and end when they are not.
WEB_THREADS = 64
WORKER_PROCESSES = 2
# Detection never waits for a drain, and neither of them for a receiver of alerts that hangs.
QUEUES = BOOKING, WATCHING, TELLING = "celery", "watch", "tell"

# What its list of tasks shows: by default it hides the arguments.
FLOWER_COLUMNS = "name,uuid,state,args,kwargs,received,runtime,worker"


def inherited_environment() -> dict[str, str]:
    """What application processes take from the caller; the rest of a person's environment is none of their business."""
    return {
        name: value for name, value in os.environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }


def web_command(port: int, *, processes: int = WEB_PROCESSES) -> list[str]:
    options = ["--host", LOOPBACK, "--port", str(port), "--workers", str(processes)]
    threads = ["--blocking-threads", str(WEB_THREADS), "--no-ws"]
    # A worker that is still starting misses its request to stop; the server would wait for it for ever.
    life = ["--respawn-failed-workers", "--workers-kill-timeout", "10"]
    return [*_script("granian"), "--interface", "wsgi", *options, *threads, *life, "finops_project.wsgi:application"]


def worker_command(
    *, processes: int = WORKER_PROCESSES, name: str = "worker", queues: tuple[str, ...] = QUEUES
) -> list[str]:
    """A worker of these queues."""
    options = ["--pool", "prefork", "--concurrency", str(processes), "--task-events"]
    # Workers have nothing to tell each other, and asking costs a second at every start.
    alone = ["--without-mingle", "--without-gossip"]
    return [*_celery("worker"), *options, *alone, "--queues", ",".join(queues), "--hostname", f"{name}@%h"]


def beat_command(schedule: Path) -> list[str]:
    return [*_celery("beat"), "--schedule", str(schedule), "--pidfile", ""]


def flower_command(port: int) -> list[str]:
    """Flower reads its login from FLOWER_BASIC_AUTH: an argument would show it in the process list."""
    return [*_celery("flower"), f"--address={LOOPBACK}", f"--port={port}", f"--tasks_columns={FLOWER_COLUMNS}"]


def receivers_command(stand_ins: StandIns) -> list[str]:
    """What shows the alerts of channels that have no receiver of their own."""
    ports = ["--http-port", str(stand_ins.http_port), "--smtp-port", str(stand_ins.smtp_port)]
    return [sys.executable, "-m", "finops_project.local.receivers", *ports, "--channels", *stand_ins.channels]


def _celery(command: str) -> list[str]:
    # Quiet: its banner is no line of a log.
    return [sys.executable, "-m", "celery", "--quiet", "--app", "finops_project", command]


def _script(name: str) -> list[str]:
    """Started by name of its interpreter: in a checkout that was moved, its first line names the old place."""
    return [sys.executable, str(Path(sys.executable).parent / name)]
