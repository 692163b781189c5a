"""`make up`, `status`, `down` and the demo, on a copy of this checkout with ports of its own."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from finops_project.local.home import CODE_FOLDERS, SOURCE, Home, LocalStackError
from finops_project.local.ports import LOOPBACK, free_port, is_free
from finops_project.local.reach import use_local_stack
from finops_project.local.stack import PORTS, Stack
from tests.servers import release, wait_until

# Generous: a machine that runs other tests at the same time is slow.
COMMAND_SECONDS = 120
# It waits for a spike to be over, which takes a calm minute and a look.
DEMO_SECONDS = 300
SECOND_UP_SECONDS = 10
DESCRIBED = {
    *("base_url", "flower_url", "admin_url", "admin_user", "admin_password"),
    *("api_key", "metrics_url", "metrics_token", "database_url", "redis_url", "receivers_url"),
}
# Twice what gpt-4o costs for 1,000 and 500 tokens, once as recorded and once not; and a name that nobody sells.
TRACE = """\
time_unix,model,prompt_tokens,completion_tokens,cost_usd_recorded
1733000000,gpt-4o,1000,500,0.0075
1733000001,gpt-4o,1000,500,0.0080
1733000002,openrouter/REDACTED,1000,500,0.01
"""

pytestmark = pytest.mark.timeout(4 * COMMAND_SECONDS)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of what a stack needs, and commands in it with an environment that knows nothing of this test run."""

    folder: Path
    ports: dict[str, int]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {PORTS[name][0]: str(port) for name, port in self.ports.items()}

    def run(self, *arguments: str, seconds: int = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def local(self, action: str) -> str:
        """`make up`, `make down` or `make status`, without the part that installs packages."""
        result = self.run("-m", "finops_project.local", action)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def guard(self) -> subprocess.Popen[bytes]:
        """Take the stack down when this test run is gone, however it ended."""
        script = 'read -r _ || exec "$0" -m finops_project.local down'
        return subprocess.Popen(
            ["sh", "-c", script, sys.executable],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def description(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.folder / ".run" / "stack.json").read_text())
        return content

    def processes(self) -> dict[str, int]:
        """Process ids by program."""
        found = (self.folder / ".run" / "pids").glob("*.json")
        return {path.stem: json.loads(path.read_text())["pid"] for path in found}

    def get(self, path: str) -> Any:
        return json.loads(fetch(f"{self.description['base_url']}{path}", f"Bearer {self.description['api_key']}"))


def fetch(url: str, authorization: str = "") -> bytes:
    headers = {"Authorization": authorization} if authorization else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A stack that is up; a test that stops it starts it again."""
    folder = tmp_path_factory.mktemp("a checkout of 100%")
    for name in (*CODE_FOLDERS, "examples"):
        shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (SOURCE / "manage.py", *SOURCE.glob("requirements*.txt")):
        shutil.copy(path, folder)
    checkout = Checkout(folder, {name: free_port() for name in PORTS})
    guard = checkout.guard()
    try:
        checkout.local("up")
        yield checkout
    finally:
        checkout.local("down")
        release(guard)


class TestAStackThatIsUp:
    def test_it_says_where_everything_is_and_to_its_owner_only(self, running: Checkout) -> None:
        mode = stat.S_IMODE((running.folder / ".run" / "stack.json").stat().st_mode)

        assert running.description.keys() == DESCRIBED
        assert all(running.description.values())
        assert mode == 0o600

    def test_it_is_fully_well(self, running: Checkout) -> None:
        assert running.get("/ready")["status"] == "ok"

    def test_its_ports_are_those_that_were_asked_for(self, running: Checkout) -> None:
        assert running.description["base_url"] == f"http://{LOOPBACK}:{running.ports['web']}"
        assert running.description["flower_url"] == f"http://{LOOPBACK}:{running.ports['flower']}"

    def test_flower_wants_the_administrators_password(self, running: Checkout) -> None:
        known = running.description
        login = b64encode(f"{known['admin_user']}:{known['admin_password']}".encode()).decode()

        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            fetch(f"{known['flower_url']}/workers")
        refused.value.close()

        # It learns of the worker from its next heartbeat.
        page = partial(fetch, f"{known['flower_url']}/workers", f"Basic {login}")
        wait_until(lambda: b"worker@" in page(), COMMAND_SECONDS, lambda: "Flower shows no worker")

    def test_its_status_names_every_process_and_address(self, running: Checkout) -> None:
        said = running.local("status")

        assert said.count(" running\n") == 9
        assert running.description["admin_url"] in said
        assert running.description["receivers_url"] in said

    def test_its_receivers_show_what_would_have_been_sent(self, running: Checkout) -> None:
        url = running.description["receivers_url"]

        assert b"What would have been sent" in fetch(f"{url}/")
        assert json.loads(fetch(f"{url}/messages.json"))["stands_in_for"] == ["slack", "pagerduty", "email"]

    def test_manage_py_reaches_it_without_being_told_where_it_is(self, running: Checkout) -> None:
        result = running.run("manage.py", "verify_ledger")

        assert "The counters equal the ledger." in result.stdout, result.stderr


class TestUpAgain:
    def test_it_is_quick_and_changes_nothing(self, running: Checkout) -> None:
        before, known, started = running.processes(), running.description, time.monotonic()

        running.local("up")

        assert time.monotonic() - started < SECOND_UP_SECONDS
        assert running.processes() == before
        assert running.description == known

    def test_without_the_variables_it_finds_the_ports_of_the_stack_that_runs(self, running: Checkout) -> None:
        before = running.processes()

        Checkout(running.folder, {}).local("up")

        assert running.processes() == before

    def test_a_process_that_died_is_back_at_once(self, running: Checkout) -> None:
        beat = running.processes()["beat"]

        psutil.Process(beat).kill()

        wait_until(lambda: running.processes()["beat"] != beat, COMMAND_SECONDS, lambda: "beat did not come back")
        running.local("up")
        assert running.get("/ready")["status"] == "ok"


class TestTheDemo:
    @pytest.mark.slow
    def test_its_totals_equal_the_producers_account_and_a_spike_is_told_once(
        self, running: Checkout, tmp_path: Path
    ) -> None:
        trace = tmp_path / "trace.csv"
        trace.write_text(TRACE)

        small = ("--posts", "4", "--history", "200", "--trace", str(trace))
        result = running.run("-m", "examples.demo", *small, seconds=DEMO_SECONDS)

        # Last, because what prints a long message may leave out its middle.
        wrong = [line for line in result.stdout.splitlines() if "WRONG" in line or "different:" in line]
        assert result.returncode == 0, "\n".join([result.stdout, result.stderr, *wrong])
        assert "different: none" in result.stdout
        assert "Why the dearest post" in result.stdout
        assert "24 of 24 checks of the alert path hold" in result.stdout
        assert "50.00 % of 2 messages are priced exactly as recorded" in result.stdout
        assert (running.folder / ".run" / "trace.csv").read_text().count("\n") == 4

    def test_without_alerts_it_is_quick(self, running: Checkout) -> None:
        result = running.run("-m", "examples.demo", "--posts", "4", "--history", "50", "--no-alerts")

        assert result.returncode == 0, result.stdout + result.stderr
        assert "goes mad" not in result.stdout


class TestDown:
    def test_nothing_is_left_and_the_data_is_there_again_at_the_next_up(self, running: Checkout) -> None:
        processes = running.processes()
        booked = running.run("manage.py", "verify_ledger").stdout

        said = running.local("down")

        assert said.endswith("stopped; the data stays in .run/\n")
        assert not [name for name, pid in processes.items() if psutil.pid_exists(pid)]
        assert all(map(is_free, running.ports.values()))

        running.local("up")
        assert running.run("manage.py", "verify_ledger").stdout == booked
        assert running.get("/ready")["status"] == "ok"

    def test_a_stack_that_never_ran_is_no_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Stack(Home(tmp_path)).down()

        assert capsys.readouterr().out == "finops: nothing is running\n"


class TestPorts:
    def test_a_taken_port_is_named_with_its_variable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(socket.create_server((LOOPBACK, 0))) as holder:
            port = holder.getsockname()[1]
            for name, (variable, _) in PORTS.items():
                monkeypatch.setenv(variable, str(port if name == "flower" else free_port()))

            with pytest.raises(LocalStackError, match=rf"^Port {port} is taken.*: stop it or set FINOPS_FLOWER_PORT"):
                Stack(Home(tmp_path)).up()

    @pytest.mark.parametrize("text", ["http", "0", "65536", "80.5", "-1"])
    def test_what_is_no_port_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("FINOPS_PORT", text)

        with pytest.raises(LocalStackError, match="FINOPS_PORT must be a port between 1 and 65535"):
            Stack(Home(tmp_path)).up()


def test_the_admin_is_told_where_flower_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_FLOWER_PORT", "5999")
    home = Home(tmp_path)
    home.prepare()

    assert Stack(home)._settings["FINOPS_FLOWER_URL"] == f"http://{LOOPBACK}:5999"


def test_a_replica_for_reports_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.prepare()
    monkeypatch.setenv("DATABASE_REPLICA_URL", "postgresql://reader@elsewhere/ledger")

    assert Stack(home)._settings["DATABASE_REPLICA_URL"] == "postgresql://reader@elsewhere/ledger"


class TestReachingTheStack:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
        """A stack of which only the addresses are known."""
        for variable in ("DATABASE_URL", "REDIS_URL", "FINOPS_ENV"):
            monkeypatch.setenv(variable, "")
        home = Home(tmp_path)
        home.prepare()
        home.write("stack.json", {"database_url": "postgresql://here", "redis_url": "redis://here"})
        return home

    def test_its_addresses_are_taken(self, home: Home) -> None:
        use_local_stack(home)

        assert (os.environ["DATABASE_URL"], os.environ["REDIS_URL"]) == ("postgresql://here", "redis://here")

    @pytest.mark.parametrize(
        ("variable", "value"), [("DATABASE_URL", "postgresql://elsewhere"), ("FINOPS_ENV", "production")]
    )
    def test_not_where_another_database_is_meant(
        self, home: Home, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, value)

        use_local_stack(home)

        assert os.environ["REDIS_URL"] == ""

    def test_without_a_stack_nothing_changes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATABASE_URL")

        use_local_stack(Home(tmp_path))

        assert "DATABASE_URL" not in os.environ
