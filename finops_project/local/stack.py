"""The stack of one machine: `up` brings everything to a state that is fully well, `down` stops it and keeps the data.

Order of `up`: ports, supervisor, PostgreSQL, Valkey, then (when code or settings changed since the last time)
application stop, migrations, application start; at the end it waits for /ready and writes `.run/stack.json`.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NoReturn

from finops_project.local import processes
from finops_project.local.home import Home, LocalStackError, last_lines
from finops_project.local.ports import LOOPBACK, free_port, is_free, require_free, wanted_port
from finops_project.local.servers import Postgres, Valkey
from finops_project.local.stand_ins import StandIns, channels_without_receiver
from finops_project.local.supervision import Supervisor

ADMINISTRATOR = "admin"
READY_SECONDS = 120
# All kinds of workers play one role.
ROLES = {"watcher": "worker", "teller": "worker"}
PORTS = {
    "web": ("FINOPS_PORT", 8080),
    "flower": ("FINOPS_FLOWER_PORT", 5555),
    "metrics": ("FINOPS_METRICS_PORT", 9090),
}


@dataclass(frozen=True)
class Stack:
    """What `up`, `down`, `status` and `run` share."""

    home: Home

    @cached_property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.home)

    @cached_property
    def ports(self) -> dict[str, int]:
        """What the environment says; else what a stack that runs was told when it was started."""
        held = self._held_ports()
        return {name: wanted_port(variable, held.get(name, default)) for name, (variable, default) in PORTS.items()}

    @cached_property
    def postgres(self) -> Postgres | None:
        """None where DATABASE_URL names another server."""
        if os.environ.get("DATABASE_URL"):
            return None
        return Postgres(self.home.run / "postgres", self._port("postgres", "postgres"), self.home.secret("postgres"))

    @cached_property
    def valkey(self) -> Valkey | None:
        """None where REDIS_URL names another server."""
        if os.environ.get("REDIS_URL"):
            return None
        return Valkey(self.home.run / "valkey", self._port("valkey", "valkey"), self.home.secret("valkey"))

    @cached_property
    def stand_ins(self) -> StandIns:
        """Receivers for the channels of alerts that have none of their own."""
        channels = channels_without_receiver(os.environ)
        if not channels:
            return StandIns(0, 0, ())
        http, smtp = (self._port(name, processes.RECEIVERS) for name in ("receivers", "receivers_smtp"))
        return StandIns(http, smtp, channels)

    @property
    def database_url(self) -> str:
        return self.postgres.url if self.postgres else os.environ["DATABASE_URL"]

    @property
    def redis_url(self) -> str:
        return self.valkey.url if self.valkey else os.environ["REDIS_URL"]

    def up(self) -> None:
        """Raises LocalStackError with the one sentence that says what is wrong."""
        self.home.prepare()
        with self.home.locked():
            if not self.supervisor.is_alive():
                self.supervisor.end_orphans()
            self._check_ports()
            self.supervisor.launch(self._programs())
            self._start_servers()
            self._start_application()
            self._wait_until_well()
            self._write_description()

    def down(self) -> None:
        if not self.home.run.exists():
            _say("nothing is running")
            return
        with self.home.locked():
            _say("stopping everything")
            _say("stopped; the data stays in .run/" if self.supervisor.shutdown() else "nothing was running")

    def status(self) -> bool:
        """Print each program's state; True when all of them run."""
        if not self.supervisor.is_alive():
            _say("nothing is running; `make up` starts everything")
            return False
        states = {name: self.supervisor.state(name) for name in self._programs()}
        for name, state in states.items():
            print(f"{name:10} {state.lower()}")
        if set(states.values()) != {"RUNNING"}:
            _say("not everything runs; `make up` says why, and the logs are in .run/logs/")
            return False
        self._say_addresses()
        return True

    def run(self, name: str) -> NoReturn:
        """Become the program: what the supervisor starts."""
        launch = self.home.read("launch.json")[name]
        self.supervisor.become(name, launch["command"], launch["environment"])

    def _programs(self) -> list[str]:
        servers = [("postgres", self.postgres), ("valkey", self.valkey)]
        return [name for name, server in servers if server] + self._application()

    def _application(self) -> list[str]:
        return [*([processes.RECEIVERS] if self.stand_ins.channels else []), *processes.APPLICATION]

    def _port(self, name: str, program: str) -> int:
        """The program's port of last time, or a new one when somebody else took it meanwhile."""
        known = self.home.read("ports.json")
        port = known.get(name)
        if port and (is_free(port) or self.supervisor.is_running(program)):
            return int(port)
        known[name] = free_port()
        self.home.write("ports.json", known)
        return int(known[name])

    def _held_ports(self) -> dict[str, int]:
        return self.home.read("stack_ports.json") if self.supervisor.is_running("web") else {}

    def _check_ports(self) -> None:
        held = self._held_ports()
        for name, port in self.ports.items():
            if held.get(name) != port:
                require_free(PORTS[name][0], port)

    def _start_servers(self) -> None:
        self._write_launch()
        if self.postgres and not self.supervisor.is_running("postgres"):
            _say(f"starting PostgreSQL {self.postgres.version} on {LOOPBACK}:{self.postgres.port}")
            self.postgres.initialise()
            self.supervisor.start("postgres")
        if self.valkey and not self.supervisor.is_running("valkey"):
            _say(f"starting Valkey on {LOOPBACK}:{self.valkey.port}")
            self.valkey.initialise()
            self.supervisor.start("valkey")
        if self.postgres:
            self.supervisor.wait("postgres", self.postgres.is_ready)
            self.postgres.create_database()
        if self.valkey:
            self.supervisor.wait("valkey", self.valkey.is_ready)

    def _start_application(self) -> None:
        fingerprint = self.home.fingerprint({**self._settings, "ports": json.dumps(self.ports)})
        unchanged = self.home.read("application.json").get("fingerprint") == fingerprint
        if unchanged and all(map(self.supervisor.is_started, self._application())):
            _say("the application already runs this code")
            return
        self.home.write("application.json", {})
        self.supervisor.stop(*self._application())
        self._provision()
        self._empty_metrics()
        for name in PORTS:
            require_free(PORTS[name][0], self.ports[name])
        _say("starting web, workers, beat and Flower")
        self.supervisor.start(*self._application())
        self.home.write("stack_ports.json", self.ports)
        self.home.write("application.json", {"fingerprint": fingerprint})

    def _provision(self) -> None:
        """Migrate; make the administrator and, the first time in this database, the API key."""
        identity = "local" if self.postgres else hashlib.sha256(self.database_url.encode()).hexdigest()
        known = self.home.read("api_key.json")
        arguments = [] if known.get("database") == identity else [f"local-{secrets.token_hex(3)}"]
        _say("migrating the database")
        command = [sys.executable, "-m", "finops_project.local.provision", *arguments]
        environment = self._settings | {
            "FINOPS_ROLE": "command",
            "DJANGO_SUPERUSER_USERNAME": ADMINISTRATOR,
            "DJANGO_SUPERUSER_PASSWORD": self.home.secret("admin"),
        }
        log = self.home.logs / "migrate.log"
        with log.open("w") as errors:
            result = subprocess.run(
                command,
                env=environment,
                cwd=self.home.source,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=False,
            )
        if result.returncode:
            print(last_lines(log))
            raise LocalStackError("The database could not be migrated: see the lines above and .run/logs/migrate.log.")
        if arguments:
            key = json.loads(result.stdout.strip().splitlines()[-1])["api_key"]
            self.home.write("api_key.json", {"database": identity, "api_key": key})

    def _empty_metrics(self) -> None:
        """Counts of processes that are gone must not be added to those of the new ones."""
        folder = self.home.run / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)

    def _wait_until_well(self) -> None:
        _say("waiting until everything is well")
        deadline = time.monotonic() + READY_SECONDS
        answer: dict[str, Any] = {}
        while answer.get("status") != "ok":
            if time.monotonic() > deadline:
                print(json.dumps(answer, indent=2))
                raise LocalStackError(f"/ready did not say ok within {READY_SECONDS} s: its last answer is above.")
            for name in self._application():
                self.supervisor.expect_alive(name)
            time.sleep(0.2 if answer else 0.05)
            answer = self._ready()
        for name in self._application():
            self.supervisor.wait(name, partial(self.supervisor.is_running, name))
        self.supervisor.wait("flower", partial(_answers, f"{self._flower_url}/healthcheck"))
        if self.stand_ins.channels:
            self.supervisor.wait(processes.RECEIVERS, partial(_answers, self.stand_ins.url))

    def _ready(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.home.read('api_key.json').get('api_key', '')}"}
        request = urllib.request.Request(f"{self._base_url}/ready", headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
                body = response.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        except OSError as error:
            return {"status": "down", "detail": str(error)}
        try:
            return dict(json.loads(body))
        except ValueError:
            return {"status": "down", "detail": body[:500].decode(errors="replace")}

    @property
    def _base_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['web']}"

    @property
    def _flower_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['flower']}"

    @cached_property
    def _settings(self) -> dict[str, str]:
        """The environment that all application processes share."""
        ports = {variable for variable, _ in PORTS.values()}
        inherited = {name: value for name, value in processes.inherited_environment().items() if name not in ports}
        return (
            inherited
            | self.stand_ins.settings(inherited)
            | {
                "DATABASE_URL": self.database_url,
                "DATABASE_REPLICA_URL": os.environ.get("DATABASE_REPLICA_URL", ""),
                "REDIS_URL": self.redis_url,
                "DJANGO_SETTINGS_MODULE": "finops_project.settings",
                "DJANGO_SECRET_KEY": os.environ.get("DJANGO_SECRET_KEY") or self.home.secret("django"),
                "FINOPS_ENV": os.environ.get("FINOPS_ENV") or "development",
                "FINOPS_METRICS_TOKEN": os.environ.get("FINOPS_METRICS_TOKEN") or self.home.secret("metrics"),
                "DJANGO_STATIC_ROOT": str(self.home.static),
                "FINOPS_PUBLIC_URL": os.environ.get("FINOPS_PUBLIC_URL") or self._base_url,
                "FINOPS_FLOWER_URL": os.environ.get("FINOPS_FLOWER_URL") or self._flower_url,
                "FINOPS_BEAT_SCHEDULE": str(self.home.run / "beat-schedule"),
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _write_launch(self) -> None:
        """Write down what each program runs; `run` reads it when the supervisor starts one."""
        login = {"FLOWER_BASIC_AUTH": f"{ADMINISTRATOR}:{self.home.secret('admin')}"}
        shared_metrics = {"PROMETHEUS_MULTIPROC_DIR": str(self.home.run / "metrics")}
        launch: dict[str, Any] = {
            # It tells of all processes, since they share the folder.
            "web": (
                processes.web_command(self.ports["web"]),
                shared_metrics | {"FINOPS_METRICS_PORT": str(self.ports["metrics"])},
            ),
            "worker": (processes.worker_command(queues=(processes.BOOKING,)), shared_metrics),
            "teller": (
                processes.worker_command(processes=3, name="teller", queues=(processes.TELLING,)),
                shared_metrics,
            ),
            "watcher": (processes.worker_command(name="watcher", queues=(processes.WATCHING,)), shared_metrics),
            "beat": (processes.beat_command(self.home.run / "beat-schedule"), shared_metrics),
            "flower": (processes.flower_command(self.ports["flower"]), login),
        }
        content: dict[str, Any] = {
            name: {"command": command, "environment": self._settings | extra | {"FINOPS_ROLE": ROLES.get(name, name)}}
            for name, (command, extra) in launch.items()
        }
        apart = {
            name: [_absolute(server.command[0]), *server.command[1:]]
            for name, server in (("postgres", self.postgres), ("valkey", self.valkey))
            if server
        }
        if self.stand_ins.channels:
            apart[processes.RECEIVERS] = processes.receivers_command(self.stand_ins)
        for name, command in apart.items():
            content[name] = {"command": command, "environment": processes.inherited_environment()}
        self.home.write("launch.json", content)

    def _write_description(self) -> None:
        description = {
            "base_url": self._base_url,
            "flower_url": self._flower_url,
            "admin_url": f"{self._base_url}/admin/",
            "admin_user": ADMINISTRATOR,
            "admin_password": self.home.secret("admin"),
            "api_key": self.home.read("api_key.json")["api_key"],
            "metrics_url": f"http://{LOOPBACK}:{self.ports['metrics']}/metrics",
            "metrics_token": self._settings["FINOPS_METRICS_TOKEN"],
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            # Empty where all channels of alerts have receivers of their own.
            "receivers_url": self.stand_ins.url,
        }
        self.home.write("stack.json", description)
        _say("everything is well; the passwords and the API key are in .run/stack.json")
        self._say_addresses()

    def _say_addresses(self) -> None:
        known = self.home.read("stack.json")
        _say(f"API {known['base_url']}  admin {known['admin_url']}  Flower {known['flower_url']}")
        if known.get("receivers_url"):
            _say(f"alerts that would have been sent: {known['receivers_url']}/")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return True
    except OSError:
        return False


def _absolute(program: str) -> str:
    return shutil.which(program) or program


def _say(text: str) -> None:
    print(f"finops: {text}", flush=True)
