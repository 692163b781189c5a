"""Pods of the production overlay as processes of this machine: with their environment, through PgBouncer, probed."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from costs.models import ApiKey, Scope
from finops_project.local.home import SOURCE
from finops_project.local.ports import LOOPBACK, free_port
from tests.deploy.manifests import autoscalers, components, environment_of, main, of_kind
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.processes import WebProcess, beat, current_database_url, web
from tests.servers import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "inbox"]),
    pytest.mark.slow,
    pytest.mark.timeout(120),
]
EVENT = b'{"cost_type": "cdn", "amount": "0.01"}'


@pytest.fixture
def bouncer() -> Iterator[PgBouncer]:
    with pgbouncer() as running:
        yield running


def environment(name: str, bouncer: PgBouncer, folder: Path) -> dict[str, str]:
    """What the overlay gives the component; secrets and places are this test's, optional secrets are absent."""
    given = environment_of(main(components()[name]["spec"]["template"]))
    data = of_kind("ConfigMap")["finops-engine-config"]["data"]
    configured = {
        variable: data[value.removeprefix("finops-engine-config/")]
        for variable, value in given.items()
        if value.startswith("finops-engine-config/")
    }
    plain = {variable: value for variable, value in given.items() if not re.match(r"finops-[\w-]+/", value)}
    return {
        **plain,
        **configured,
        # The image says so.
        "FINOPS_ENV": "production",
        "DATABASE_URL": bouncer.url,
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(60),
        "FINOPS_METRICS_TOKEN": "a-token",
        "FINOPS_METRICS_HOST": LOOPBACK,
        "FINOPS_METRICS_PORT": str(free_port()),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "DJANGO_STATIC_ROOT": str(folder),
    }


def status_of(server: WebProcess, path: str, body: bytes | None = None, **headers: str) -> int:
    address = urlsplit(server.url)
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=10)) as connection:
        connection.request("POST" if body else "GET", path, body, headers)
        return connection.getresponse().status


def metrics(variables: dict[str, str]) -> str:
    with closing(HTTPConnection(LOOPBACK, int(variables["FINOPS_METRICS_PORT"]), timeout=20)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def answers(variables: dict[str, str]) -> bool:
    try:
        return bool(metrics(variables))
    except OSError:
        return False


def test_a_web_pod_answers_probes_and_producers_of_the_cluster(bouncer: PgBouncer, tmp_path: Path) -> None:
    secret = ApiKey.issue(name="producer", scopes=Scope.values, source="producer")[1]
    variables = environment("web", bouncer, tmp_path)
    probes = main(components()["web"]["spec"]["template"])

    with web(1, **variables) as server:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = probes[probe]["httpGet"]
            headers = {header["name"]: header["value"] for header in asked["httpHeaders"]}
            assert status_of(server, asked["path"], **headers) == 200
        caller = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        assert status_of(server, "/costs/events", EVENT, Host="finops-engine:8080", **caller) == 202
        assert status_of(server, "/costs/events", EVENT, Host="elsewhere.example", **caller) == 400
        told = metrics(variables)
        server.kill()

    assert "finops_operation_latency_ms_bucket" in told
    assert "finops_inbox_oldest_seconds" not in told


def test_beat_tells_what_the_autoscalers_ask_for(bouncer: PgBouncer, tmp_path: Path) -> None:
    variables = environment("beat", bouncer, tmp_path)
    triggers = [trigger for scaler in autoscalers() for trigger in scaler["spec"]["triggers"]]
    asked = re.findall(r"finops_\w+", " ".join(trigger["metadata"].get("query", "") for trigger in triggers))

    with beat(**variables) as scheduler:
        wait_until(lambda: answers(variables), 30, lambda: "no metrics")
        told = metrics(variables)
        scheduler.kill()

    assert set(asked) == {"finops_inbox_oldest_seconds", "finops_cost_events_total"}
    assert {name for name in asked if f"# TYPE {name.removesuffix('_total')}" not in told} == set()


def test_workers_begin_once_the_migrations_are_there(bouncer: PgBouncer, tmp_path: Path) -> None:
    (waiting,) = components()["worker"]["spec"]["template"]["spec"]["initContainers"]
    given = environment("worker", bouncer, tmp_path) | {
        "DATABASE_URL": current_database_url(),
        "FINOPS_ROLE": "command",
    }
    known = {name: given[name] for name in environment_of(waiting)} | {"FINOPS_ENV": "production"}
    place = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    ended = subprocess.run(waiting["command"], cwd=SOURCE, env=known | {"PATH": place}, timeout=60, check=False)

    assert ended.returncode == 0
    # It counts nothing among the processes of its pod.
    assert not (tmp_path / "metrics").exists()
