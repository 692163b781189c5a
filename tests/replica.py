"""A streaming replica of the tests' PostgreSQL, made with pg_basebackup: what is committed arrives a moment later."""

import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from finops_project.local.home import LocalStackError
from finops_project.local.ports import free_port
from finops_project.local.servers import Postgres, _binaries, _unprivileged
from tests.processes import current_database_url
from tests.servers import Server, wait_until

CATCH_UP_SECONDS = 20


class Replica:
    """`url` is the test database's on the replica."""

    def __init__(self, server: Server) -> None:
        self.server = server
        primary, own = urlsplit(current_database_url()), urlsplit(server.url)
        # Users and passwords come with the data.
        address = f"{primary.username}:{primary.password}@{own.hostname}:{own.port}"
        self.url = urlunsplit(primary._replace(netloc=address))

    def pause(self) -> None:
        """It goes on answering, and learns nothing new until `resume`."""
        self._ask("SELECT pg_wal_replay_pause()")
        wait_until(
            lambda: self._ask("SELECT pg_get_wal_replay_pause_state()") == "paused",
            CATCH_UP_SECONDS,
            lambda: "no pause",
        )

    def resume(self) -> None:
        self._ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Return once everything that was committed so far can be read here."""
        with psycopg.connect(current_database_url(), autocommit=True) as primary:
            (place,) = primary.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
        arrived = f"SELECT pg_last_wal_replay_lsn() >= '{place}'::pg_lsn"
        wait_until(lambda: self._ask(arrived) is True, CATCH_UP_SECONDS, lambda: f"the replica is behind {place}")

    def _ask(self, statement: str) -> object:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            (answer,) = connection.execute(statement).fetchone() or (None,)
            return answer


@contextmanager
def replica(primary: Server) -> Iterator[Replica]:
    """Copy the primary, follow it, and end."""
    with tempfile.TemporaryDirectory(prefix="finops-test-replica-") as folder:
        _copy(primary, Path(folder) / "data")
        server = Server(Postgres(Path(folder), free_port(), urlsplit(primary.url).password or secrets.token_hex(8)))
        try:
            server.start()
            yield Replica(server)
        finally:
            server.kill()


def _copy(primary: Server, data: Path) -> None:
    try:
        program = _binaries() / "pg_basebackup"
    except LocalStackError as error:
        pytest.skip(str(error))
    subprocess.run(
        [
            *_unprivileged(),
            str(program),
            f"--dbname={primary.url}",
            f"--pgdata={data}",
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"),
        ],
        check=True,
        capture_output=True,
        cwd=data.parent,
        timeout=60,
    )
