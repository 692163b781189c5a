"""What deploy/kubernetes describes, as kustomize builds it, and how its objects refer to each other."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from finops_project.local import processes
from finops_project.local.home import SOURCE

FOLDER = SOURCE / "deploy" / "kubernetes"
BASE, PRODUCTION = FOLDER / "base", FOLDER / "overlays" / "production"
# FINOPS_DECISION_POOL of a web process, where nothing else is set.
DECISIONS_OF_WEB = 2

Thing = dict[str, Any]


@cache
def built(folder: Path) -> list[Thing]:
    """What `kubectl apply -k` would send."""
    if shutil.which("kubectl") is None:
        if os.environ.get("FINOPS_REQUIRE_ALL"):
            pytest.fail("No kubectl is installed, and nothing may be skipped.")
        pytest.skip("No kubectl is installed: it builds what deploy/kubernetes describes.")
    result = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def of_kind(kind: str, folder: Path = PRODUCTION) -> dict[str, Thing]:
    return {thing["metadata"]["name"]: thing for thing in built(folder) if thing["kind"] == kind}


def components(folder: Path = PRODUCTION) -> dict[str, Thing]:
    """Our Deployments by component."""
    ours = [thing for thing in of_kind("Deployment", folder).values() if thing["metadata"]["labels"].get("component")]
    return {thing["metadata"]["labels"]["component"]: thing for thing in ours}


def pods(folder: Path = PRODUCTION) -> dict[str, Thing]:
    """The templates of pods of all Deployments and Jobs, by name."""
    owners = of_kind("Deployment", folder) | of_kind("Job", folder)
    return {name: owner["spec"]["template"] for name, owner in owners.items()}


def containers(template: Thing) -> list[Thing]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def main(template: Thing) -> Thing:
    (container,) = template["spec"]["containers"]
    return dict(container)


def environment_of(container: Thing, folder: Path = PRODUCTION) -> dict[str, str]:
    """The variables of a container; what comes from a secret or a ConfigMap in it is written `name/key`."""
    maps = of_kind("ConfigMap", folder)
    found = dict[str, str]()
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", []):
        value = variable.get("value")
        if value is None:
            (reference,) = variable["valueFrom"].values()
            value = f"{reference['name']}/{reference['key']}"
        found[variable["name"]] = value
    return found


def matches(selector: Thing, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(expression["key"]) in expression["values"] for expression in selector.get("matchExpressions", [])
    )


def chosen(selector: Thing) -> set[str]:
    """Names of the owners of the pods that a selector picks."""
    return {name for name, template in pods().items() if matches(selector, template["metadata"]["labels"])}


def port_of(template: Thing, name: str) -> int | None:
    ports = {port["name"]: port["containerPort"] for port in main(template).get("ports", [])}
    return ports.get(name)


def references(thing: Any, key: str) -> Iterator[Thing]:
    """Every value under this key, wherever it stands."""
    if isinstance(thing, dict):
        for name, value in thing.items():
            if name == key and isinstance(value, dict):
                yield value
            yield from references(value, key)
    elif isinstance(thing, list):
        for value in thing:
            yield from references(value, key)


def example_secrets() -> dict[str, set[str]]:
    secrets = yaml.safe_load_all((FOLDER / "secrets.example.yaml").read_text())
    return {secret["metadata"]["name"]: set(secret["stringData"]) for secret in secrets}


def connections(folder: Path, **replicas: int) -> int:
    """At most, with so many pods of a component or as many as its Deployment says."""
    count: dict[str, int] = {
        name: replicas.get(name, thing["spec"]["replicas"]) for name, thing in components(folder).items()
    }
    pool = int(environment_of(main(components(folder)["web"]["spec"]["template"]), folder)["FINOPS_DB_POOL_MAX"])
    of_web: int = processes.WEB_PROCESSES * (pool + DECISIONS_OF_WEB)
    # A child holds one for each of its two aliases; beat has one for the metrics.
    children = {name: concurrency_of(components(folder)[name]) for name in ("worker", "watcher", "teller")}
    of_others = sum(2 * count[name] * each for name, each in children.items()) + count["beat"]
    return count["web"] * of_web + of_others


def concurrency_of(worker: Thing) -> int:
    command: list[str] = main(worker["spec"]["template"])["command"]
    return int(command[command.index("--concurrency") + 1])


def autoscalers() -> list[Thing]:
    return list(of_kind("ScaledObject").values())
