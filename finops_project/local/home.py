"""The folder `.run/`: what one stack remembers between commands. Nothing in it is readable by others."""

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent.parent.parent
CODE_FOLDERS = ("finops_project", "costs", "controls", "alerts", "anomalies")
# Linux allows 107 bytes; supervisord appends its pid and a dot while it creates the socket.
LONGEST_SOCKET_PATH = 95


class LocalStackError(Exception):
    """What is wrong, in one sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths and small JSON files of one stack; `source` is the checkout that it runs."""

    source: Path = SOURCE

    @property
    def run(self) -> Path:
        return self.source / ".run"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def static(self) -> Path:
        """Empty: files are served from the packages; the web server only insists that the folder is there."""
        return self.run / "static"

    @property
    def socket(self) -> Path:
        """The supervisor's socket; a deep checkout gets a short path below the temporary folder."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.run)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"finops-{os.getuid()}-{name}" / "supervisor.sock"

    def prepare(self) -> None:
        """Make the folders; raises when the socket's folder belongs to somebody else."""
        for folder in (self.run, self.logs, self.static, self.run / "pids", self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise LocalStackError(f"{self.socket.parent} belongs to another user: remove it or set TMPDIR.")

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in `.run/<name>`, empty when there is none."""
        try:
            content = json.loads((self.run / name).read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise LocalStackError(f"{self.run / name} is damaged: remove it and try again.") from None
        return content if isinstance(content, dict) else {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        write_private(self.run / name, json.dumps(content, indent=2, sort_keys=True) + "\n")

    def secret(self, name: str) -> str:
        """A secret that is generated once and then stays."""
        known = self.read("secrets.json")
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            self.write("secrets.json", known)
        return str(known[name])

    def fingerprint(self, environment: dict[str, str]) -> str:
        """Changes whenever the application processes would behave differently after a restart."""
        digest = hashlib.sha256(json.dumps(environment, sort_keys=True).encode())
        for path in self._code():
            digest.update(f"\0{path.relative_to(self.source)}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _code(self) -> Iterator[Path]:
        yield from sorted(self.source.glob("requirements*.txt"))
        for folder in CODE_FOLDERS:
            for path in sorted((self.source / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change the stack; a second one waits."""
        with (self.run / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    partial.replace(path)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, empty when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""
