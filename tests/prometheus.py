"""Debian's Prometheus: its checks, and a server of its own folder on the loopback interface."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from finops_project.local.home import last_lines
from finops_project.local.ports import LOOPBACK, free_port
from tests.deploy.expressions import PROMETHEUS
from tests.servers import guard, release, wait_until

START_SECONDS = 30
# Checking and testing all rules takes a second; the machine may be busy.
CHECK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server; `url` has no slash at its end."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What it comes to now: a list of {metric, value: [time, text]}. Raises ValueError with Prometheus' words."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return found

    def _get(self, what: str, **parameters: str) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except HTTPError as error:
            raise ValueError(error.read().decode()) from None


def promtool(*arguments: str | Path) -> str:
    """What it prints; fails with that where it finds fault. The test is skipped where it is not installed."""
    done = subprocess.run(
        [_installed("promtool"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def prometheus(targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Running, with the deployed configuration but for its targets, here address by component, scraped every second."""
    program = _installed("prometheus")
    with tempfile.TemporaryDirectory(prefix="finops-prometheus-") as folder:
        port, log = free_port(), Path(folder) / "prometheus.log"
        options = [
            f"--config.file={_configure(Path(folder), targets)}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={LOOPBACK}:{port}",
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        watch, server = guard(process.pid), Prometheus(f"http://{LOOPBACK}:{port}")
        try:
            wait_until(
                lambda: process.poll() is None and _is_ready(server),
                START_SECONDS,
                lambda: f"Prometheus did not start:\n{last_lines(log)}",
            )
            yield server
        finally:
            process.kill()
            process.wait()
            release(watch)


def asked(job: Mapping[str, Any]) -> dict[str, str]:
    """What a job of compose asks: the address of each component, by name."""
    fixed = {group["labels"]["component"]: target for group in job["static_configs"] for target in group["targets"]}
    looked_up = {
        name: f"{name}:{group['port']}"
        for group in job["dns_sd_configs"]
        if group["type"] == "A"
        for name in group["names"]
    }
    return fixed | looked_up


def _configure(folder: Path, targets: Mapping[str, str]) -> Path:
    deployed = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = deployed["scrape_configs"]
    assert set(targets) <= set(asked(job)), "they are deployed under these names"
    found = {name: value for name, value in job.items() if name != "dns_sd_configs"}
    static = [{"targets": [address], "labels": {"component": name}} for name, address in targets.items()]
    changed = {
        "global": deployed["global"] | every,
        "rule_files": [f"{PROMETHEUS}/{pattern}" for pattern in deployed["rule_files"]],
        "scrape_configs": [found | {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": static}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(deployed | changed))
    return file


def _is_ready(server: Prometheus) -> bool:
    try:
        with urlopen(f"{server.url}/-/ready", timeout=2):  # noqa: S310
            return True
    except (URLError, OSError):
        return False


def _installed(program: str) -> str:
    return shutil.which(program) or _refuse()


def _refuse() -> str:
    if os.environ.get("FINOPS_REQUIRE_ALL"):
        pytest.fail("No Prometheus is installed, and nothing may be skipped.")
    pytest.skip("No Prometheus is installed: install prometheus to run these tests.")
