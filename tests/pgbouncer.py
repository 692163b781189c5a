"""A real PgBouncer between processes and the test database, with the configuration that production deploys.

Only addresses differ, and a person may ask it how it is.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from finops_project.local.home import SOURCE, last_lines
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.local.servers import _unprivileged
from tests.processes import current_database_url
from tests.servers import guard, release, wait_until

DEPLOYED = SOURCE / "deploy" / "kubernetes" / "overlays" / "production" / "pgbouncer.ini"
# Debian puts it where an ordinary user's PATH does not lead.
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin"
START_SECONDS = 10


class PgBouncer:
    """`url` is the test database's, through it; ended and started again it keeps its port."""

    def __init__(self, program: str, folder: Path, changed: dict[str, str]) -> None:
        port, server = free_port(), urlsplit(current_database_url())
        self.url = urlunsplit(server._replace(netloc=f"{server.username}:{server.password}@{LOOPBACK}:{port}"))
        self._log = folder / "pgbouncer.log"
        self._command = [*_unprivileged(), program, str(_configure(folder, port, changed))]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process of ours go through it."""
        return {"DATABASE_URL": self.url, "FINOPS_PGBOUNCER": "true"}

    def start(self) -> None:
        """Return once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard = guard(self._process.pid)
        wait_until(self._answers, START_SECONDS, lambda: f"PgBouncer did not start:\n{last_lines(self._log)}")

    def stop(self) -> None:
        """As a deployment does it: what is under way may end."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def show(self, what: str) -> list[dict[str, Any]]:
        """Its own tables: CLIENTS, SERVERS, POOLS, STATS."""
        console = urlunsplit(urlsplit(self.url)._replace(path="/pgbouncer"))
        with psycopg.connect(console, autocommit=True, connect_timeout=5) as connection:
            cursor = psycopg.ClientCursor(connection, row_factory=psycopg.rows.dict_row)
            return cursor.execute(f"SHOW {what}").fetchall()

    def clients(self) -> int:
        """Connections of the service; the one that asks is not counted."""
        return sum(client["database"] != "pgbouncer" for client in self.show("CLIENTS"))

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if not self._process:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        process.wait(START_SECONDS)
        release(self._guard)


@contextmanager
def pgbouncer(**changed: str) -> Iterator[PgBouncer]:
    """Running, as deployed but for the settings `changed`; the test is skipped where it is not installed."""
    program = shutil.which("pgbouncer", path=SEARCHED) or _refuse()
    with tempfile.TemporaryDirectory(prefix="finops-pgbouncer-") as folder:
        bouncer = PgBouncer(program, Path(folder), changed)
        try:
            bouncer.start()
            yield bouncer
        finally:
            bouncer.kill()


def _configure(folder: Path, port: int, changed: dict[str, str]) -> Path:
    server = urlsplit(current_database_url())
    users, configuration = folder / "userlist.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{server.username}" "{server.password}"\n')
    text = DEPLOYED.read_text().replace("host=postgres port=5432", f"host={server.hostname} port={server.port}")
    here = {"listen_addr": LOOPBACK, "listen_port": str(port), "auth_file": str(users), **changed}
    for name, value in here.items():
        text, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1, name
    configuration.write_text(f"{text}stats_users = {server.username}\n")
    return configuration


def _refuse() -> str:
    if os.environ.get("FINOPS_REQUIRE_ALL"):
        pytest.fail("No PgBouncer is installed, and nothing may be skipped.")
    pytest.skip("No PgBouncer is installed: install pgbouncer to run these tests.")
