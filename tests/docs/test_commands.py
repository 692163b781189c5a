"""Every command in the README and docs/ runs as it is written there, on real processes of the application."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection

from costs.engine import PostCostAttributor
from costs.models import ApiKey, Scope
from finops_project.local.home import SOURCE
from tests.costs.conftest import Ledger, amount_event
from tests.processes import environment, web, worker

DOCUMENTS = [SOURCE / "README.md", *sorted((SOURCE / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED_URL = "http://127.0.0.1:8080"
METRICS_TOKEN = "metrics-of-the-documents"
SESSION_SECONDS = 200
# What begins a command that is not run here, and why.
NOT_RUN = {
    "make demo": "takes a minute; tests/finops_project/test_local_stack.py runs a small one",
    "make test": "is this suite",
    "cp .env.example": "belongs to the Docker commands beside it",
    "kubectl": "needs a cluster; tests/deploy/test_kubernetes.py builds and checks what it applies",
    "for rules in": "needs a cluster; tests/deploy/test_kubernetes_production.py runs it with a stand-in for kubectl",
    "docker compose": "needs Docker; tests/finops_project/test_docker.py reads the files",
    "promtool": "needs Prometheus; tests/deploy/test_prometheus_rules.py does the same",
    ".venv/bin/python manage.py test_alert": "needs a receiver; tests/alerts/test_test_alert.py has one",
}
# An error of HTTP ends the session, as one of a command does, unless it passes: on a busy machine a cost may be read a
# moment before it is booked.
PATIENTLY = "--fail --show-error --retry 3 --retry-delay 1 --retry-all-errors"
PREAMBLE = f'set -euo pipefail\ncurl() {{ command curl {PATIENTLY} "$@"; }}\n'

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """First lines of commands; what is continued or quoted over lines is part of the command before."""
        return [line for line in self.text.splitlines() if line and not line.startswith(" ")]

    @property
    def is_run(self) -> bool:
        return not any(command.startswith(tuple(NOT_RUN)) for command in self.commands)

    @property
    def script(self) -> str:
        if self.language == "python":
            return f".venv/bin/python manage.py shell -v 0 <<'END'\n{self.text}END\n"
        return self.text


def blocks(document: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(document.read_text())]


def executable(document: Path) -> list[Block]:
    return [block for block in blocks(document) if block.language in ("sh", "python")]


def run(document: Path, checkout: Path, url: str) -> str:
    """Run a document's commands one after the other, as one session; returns what they print."""
    script = PREAMBLE + "".join(block.script for block in executable(document) if block.is_run)
    session = subprocess.run(
        ["bash", "-c", script.replace(DOCUMENTED_URL, url)],
        cwd=checkout,
        env=environment("command") | {"FINOPS_LOG_LEVEL": "WARNING"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SESSION_SECONDS,
        check=False,
    )
    assert session.returncode == 0, f"{document.name}: {session.stdout[-3000:]}\n{session.stderr[-3000:]}"
    return session.stdout


def total_of(post_id: str) -> Decimal:
    # No beat runs here to find what the nudge of a process that ended at once did not tell.
    return PostCostAttributor().calculate_total_post_cost_sync(post_id)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This checkout, linked file by file, with a `.run/` of its own: the developer's stack is left alone."""
    for entry in SOURCE.iterdir():
        if entry.name not in (".run", ".venv", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".run").mkdir()
    return tmp_path


@pytest.fixture
def stack(checkout: Path, db: None) -> Iterator[str]:
    """The web address of running processes that `.run/stack.json` describes."""
    if shutil.which("curl") is None:
        if os.environ.get("FINOPS_REQUIRE_ALL"):
            pytest.fail("No curl is installed, and nothing may be skipped.")
        pytest.skip("No curl is installed: the documents use it.")
    _, key = ApiKey.issue(name="documents", scopes=Scope.values, source="local")
    (checkout / ".run" / "stack.json").write_text(json.dumps({"api_key": key, "metrics_token": METRICS_TOKEN}))
    with web(FINOPS_METRICS_TOKEN=METRICS_TOKEN) as server, worker(1):
        yield server.url


@committed
class TestTheCommandsOf:
    def test_the_readme(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "README.md", checkout, stack)

        assert "1000 x $2.5/M + 500 x $10/M" in printed
        assert "Total cost: $0.0075\n" in printed
        assert {total_of(f"post_00{number}") for number in (1, 2, 3, 4)} == {Decimal("0.0075")}

    def test_the_api(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "api.md", checkout, stack)

        assert printed.count('"status":"accepted"') == 9
        assert '"rejected"' not in printed
        assert '"cost_efficiency_rating":"good"' in printed
        assert total_of("post_101") == Decimal("0.012092505")
        assert "python_info" in (checkout / "metrics.txt").read_text()

    def test_operations(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "operations.md", checkout, stack)

        assert '"checks"' in printed
        assert "The counters equal the ledger." in printed
        assert "Whatever else did not come back was here already." in printed
        assert "No month is old enough." in printed

    def test_getting_started(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "getting-started.md", checkout, stack)

        assert "Nothing is missing, unpriced, pending or set aside" in printed
        assert '"decision":"allow"' in printed
        assert total_of("post_401") == Decimal("0.0106085")

    def test_producing_events(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "producing-events.md", checkout, stack)

        assert "tracked chatcmpl-0001" in printed
        assert total_of("post_502") == Decimal("0.00472")

    def test_pricing(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "pricing.md", checkout, stack)

        assert "600 x $2.5/M" in printed

    def test_alerts(self, checkout: Path, stack: str) -> None:
        assert run(SOURCE / "docs" / "alerts.md", checkout, stack) == "None\n"

    def test_troubleshooting(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "troubleshooting.md", checkout, stack)

        assert (
            printed.count(" look wrong") + printed.count("Nothing looks wrong.") + printed.count(" looks wrong:") == 2
        )
        assert "Objects that nobody can free: 0." in printed
        assert "post_601: $0.01 in 1 charges" in printed
        assert "Ordered by: internal time" in printed

    def test_emergency(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "emergency.md", checkout, stack)

        assert "Paused: nothing is let through for everybody." in printed
        assert "Whatever else did not come back was here already." in printed
        assert "The counters equal the ledger." in printed

    def test_detection(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "detection.md", checkout, stack)

        assert "cost_spike" in printed

    def test_controls(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "controls.md", checkout, stack)

        assert '"decision":"allow"' in printed
        assert '"state":"released"' in printed
        assert "written with gpt-4o\n" in printed
        assert total_of("post_302") == Decimal("0.00605")

    def test_the_runbooks(self, checkout: Path, stack: str) -> None:
        printed = run(SOURCE / "docs" / "runbooks.md", checkout, stack)

        assert "finops_database_up 1.0" in printed
        assert "The counters equal the ledger." in printed

    @pytest.mark.parametrize("name", ["ledger.md", "configuration.md", "deployment.md", "monitoring.md", "names.md"])
    def test_no_other_document(self, name: str) -> None:
        assert not [block for block in executable(SOURCE / "docs" / name) if block.is_run]


@pytest.mark.django_db
def test_the_backup_copies_every_line() -> None:
    Ledger().record([amount_event("0.01"), amount_event("0.02", metadata={"a": "comma, and\nline"})])
    (query,) = (block.text for block in blocks(SOURCE / "docs" / "operations.md") if block.language == "sql")

    with connection.cursor() as cursor, cursor.copy(query) as copy:
        exported = b"".join(bytes(part) for part in copy).decode()

    amounts = sorted(line["cost_amount"] for line in csv.DictReader(io.StringIO(exported)))
    assert amounts == ["0.010000000000", "0.020000000000"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
class TestADocument:
    def test_it_hides_no_command_behind_one_that_is_not_run(self, document: Path) -> None:
        for block in executable(document):
            assert block.is_run or all(command.startswith(tuple(NOT_RUN)) for command in block.commands), block.text

    def test_its_links_lead_somewhere(self, document: Path) -> None:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
            path, _, anchor = target.partition("#")
            linked = document.parent / path if path else document
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target

    def test_it_names_make_targets_that_exist(self, document: Path) -> None:
        targets = set(re.findall(r"^([a-z]+):", (SOURCE / "Makefile").read_text(), re.MULTILINE))

        assert set(re.findall(r"`make ([a-z]+)", document.read_text())) <= targets

    def test_it_names_management_commands_that_exist(self, document: Path) -> None:
        ours = {path.stem for path in SOURCE.glob("*/management/commands/*.py")}
        named = set(re.findall(r"manage\.py ([a-z_]+)", document.read_text()))

        assert named <= ours | {"shell", "migrate", "createsuperuser"}


def test_every_reason_for_not_running_a_command_is_needed() -> None:
    commands = [command for document in DOCUMENTS for block in executable(document) for command in block.commands]

    assert [start for start in NOT_RUN if not any(command.startswith(start) for command in commands)] == []


def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
