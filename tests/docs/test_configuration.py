"""docs/configuration.md tells every environment variable with its default, and none that does not exist."""

import ast
import re
from collections.abc import Iterator

import pytest

from finops_project.local.home import SOURCE
from finops_project.local.stack import PORTS

ROW = re.compile(r"^\| (`[^|]+`) \|([^|]*)\|", re.MULTILINE)
# Read by the local stack, the tests, Docker and make, and by no setting.
ELSEWHERE = {
    *(variable for variable, _ in PORTS.values()),
    *("PYTHON", "TEST_DATABASE_URL", "TEST_REDIS_URL", "FINOPS_REQUIRE_ALL"),
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH", "GRAFANA_ADMIN_PASSWORD"),
    *("FINOPS_PROMETHEUS_PORT", "FINOPS_GRAFANA_PORT"),
}


def documented() -> dict[str, str]:
    """Defaults by variable, both as the document writes them."""
    rows = ROW.findall((SOURCE / "docs" / "configuration.md").read_text())
    return {name: default.strip() for names, default in rows for name in re.findall(r"`(\w+)`", names)}


def settings_calls() -> Iterator[tuple[str, ast.expr | None]]:
    """Variable and default of each `env.kind("NAME", default)`."""
    for node in ast.walk(ast.parse((SOURCE / "finops_project" / "settings.py").read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(value=str(name)), *rest]):
                yield name, rest[0] if rest else None


def written(default: ast.expr | None) -> str | None:
    """The default as an operator would write it; None where it is computed from paths."""
    if default is None:
        return ""
    try:
        value = eval(compile(ast.Expression(default), "default", "eval"), {"__builtins__": {}})  # noqa: S307
    except NameError:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_variable_is_documented_and_every_documented_one_exists() -> None:
    assert documented().keys() == {name for name, _ in settings_calls()} | ELSEWHERE


@pytest.mark.parametrize(
    ("name", "default"), list(settings_calls()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_documented_default_is_the_real_one(name: str, default: ast.expr | None) -> None:
    real = written(default)

    if real is not None:
        assert documented()[name] == (f"`{real}`" if real else "")


def test_the_ports_are_those_of_the_local_stack() -> None:
    text = (SOURCE / "docs" / "configuration.md").read_text()
    # A single process has none unless it is told; it is the stack that takes one for all.
    metrics, port = PORTS["metrics"]
    others = {variable: f"`{default}`" for variable, default in PORTS.values() if variable != metrics}

    assert others.items() <= documented().items()
    assert f"`make up` takes {port}" in next(line for line in text.splitlines() if line.startswith(f"| `{metrics}`"))


def test_the_example_file_asks_for_every_secret_that_docker_needs() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (SOURCE / "docker-compose.yml").read_text()))
    asked = dict(line.split("=", 1) for line in (SOURCE / ".env.example").read_text().splitlines() if "=" in line[:40])

    assert needed == {name for name, value in asked.items() if not value} - {"DJANGO_CSRF_TRUSTED_ORIGINS"}
