"""The logs of real processes: JSON from the first line to the last, with ids, and without any secret or payload."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import pytest
from celery import current_app
from django.conf import settings
from django.utils.timezone import now

from alerts.fire import fire
from alerts.models import Channel, Route
from alerts.signal import Severity, Signal, Status
from costs.models import ApiKey, CostEvent, DeadLetter, ScheduledRun, Scope
from finops_project.local.home import SOURCE
from finops_project.local.ports import LOOPBACK
from tests.costs.test_admin import CONTRADICTION
from tests.processes import AppProcess, WebProcess, beat, web, worker
from tests.servers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]

CANARY = "canary7f3a9c"
SECONDS = 30
# Everything that can be said is said.
AS_IN_A_CONTAINER = {
    "FINOPS_LOG_FORMAT": "json",
    "FINOPS_LOG_LEVEL": "DEBUG",
    "GRANIAN_LOG_CONFIG": str(SOURCE / "finops_project" / "granian.json"),
    "FINOPS_METRICS_TOKEN": f"{CANARY}-metrics",
    "DJANGO_SECRET_KEY": f"{CANARY}-django-secret-key",
    "FINOPS_PAGERDUTY_ROUTING_KEY": f"{CANARY}-pagerduty",
    "FINOPS_SMTP_PASSWORD": f"{CANARY}-smtp",
    # Nobody listens at this port, and nothing leaves the machine.
    "FINOPS_SMTP_PORT": "9",
    "FINOPS_PAGERDUTY_URL": "http://127.0.0.1:9",
}


@dataclass(frozen=True, slots=True)
class Running:
    """Web, a worker and beat, and a key of theirs."""

    web: WebProcess
    worker: AppProcess
    beat: AppProcess
    key: str

    @property
    def processes(self) -> tuple[AppProcess, ...]:
        return self.web, self.worker, self.beat

    def call(self, method: str, path: str, body: object = None, **headers: str) -> int:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | headers
        request = Request(f"{self.web.url}{path}", content, headers, method=method)  # noqa: S310
        try:
            with urlopen(request, timeout=10) as response:  # noqa: S310
                return int(response.status)
        except HTTPError as error:
            with error:
                return error.code


@pytest.fixture
def running() -> Iterator[Running]:
    _, key = ApiKey.issue(name="writers", scopes=Scope.values, source="writers")
    with closing(socket.create_server((LOOPBACK, 0))) as taken:
        # Listens and is never answered: the webhook's receiver is out of order.
        endpoint = f"http://{LOOPBACK}:{taken.getsockname()[1]}"
        Channel.objects.create(name="hook", kind="webhook", settings=_hook(endpoint))
        extra = AS_IN_A_CONTAINER | {"FINOPS_ALERT_TEST_ENDPOINTS": endpoint}
        with web(1, **extra) as server, worker(2, **extra) as consumer, beat(**extra) as scheduler:
            taken.close()
            yield Running(server, consumer, scheduler, key)


def _hook(endpoint: str) -> dict[str, str]:
    return {"url": f"{endpoint}/hooks/{CANARY}", "secret": f"{CANARY}-of-the-webhook"}


def lines(process: AppProcess) -> list[dict[str, Any]]:
    """Every line of its log, or an error that shows the first one that is no JSON."""
    found = []
    for line in process.log.read_text().splitlines():
        assert line.startswith("{"), line
        found.append(json.loads(line))
    return found


def of_task(process: AppProcess, task_id: str) -> list[dict[str, Any]]:
    return [line for line in lines(process) if line.get("task_id") == task_id]


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    used = {"input_tokens": 1000, "output_tokens": 500}
    described = {"metadata": {"note": CANARY}, "operation": "hook"}
    common = {"event_id": event_id, "cost_type": "openai_api", "model": "gpt-4o", "post_id": "post_001"}
    return {**common, "usage": used, **described, **fields}


def test_all_lines_are_json_with_ids_and_no_secret_ever_comes_out(running: Running) -> None:
    id_header = {"X-Request-ID": "flow-77"}
    assert running.call("POST", "/costs/events", event("good"), **id_header) == 202
    assert running.call("POST", "/costs/events", event("broken", usage={**CONTRADICTION, "note": CANARY})) == 202
    assert running.call("POST", "/costs/events", event("refused", usage={CANARY: -1}, metadata=CANARY)) == 422
    assert running.call("GET", f"/costs/breakdown?start_date={CANARY}&token={CANARY}") == 422
    assert running.call("GET", "/costs/post/a%0A%7B%22event%22%3A%22forged%22%7D") == 404
    assert running.call("GET", "/costs/post/post_001", Authorization=f"Bearer {CANARY}") == 401
    assert running.call("POST", "/controls/decision", {"persona_id": CANARY, "model": 5}) == 422
    by_name = current_app.send_task("costs.tasks.track_cost", kwargs=event("by-name"))
    impossible = current_app.send_task("costs.tasks.track_cost", kwargs={"metadata": CANARY, "amount": CANARY})
    current_app.send_task(f"unknown.{'task'}", kwargs={"payload": CANARY, "password": CANARY})
    Route.objects.all().delete()
    Route.objects.create(severity=Severity.CRITICAL, channels=["hook"])
    fire(
        Signal("f-1", "cost_spike", {"persona_id": "p"}, Severity.CRITICAL, Status.FIRING, "A spike", {}, "/", None),
        at=now(),
    )

    consumer = running.worker
    wait_until(
        lambda: CostEvent.objects.filter(event_id__in=["good", "by-name"]).count() == 2, SECONDS, _late("events")
    )
    wait_until(lambda: DeadLetter.objects.filter(event_id="broken").exists(), SECONDS, _late("dead letter"))
    wait_until(lambda: len(of_task(consumer, impossible.id)) > 0, SECONDS, _late("failure"))
    wait_until(lambda: consumer.count_logged("did not reach hook") > 0, SECONDS, _late("attempt"))
    wait_until(lambda: consumer.count_logged("unregistered task") > 0, SECONDS, _late("unknown task"))
    wait_until(lambda: ScheduledRun.objects.filter(entry="inbox-sweep", runs__gt=1).exists(), SECONDS, _late("sweep"))

    (accepted,) = (line for line in lines(running.web) if line.get("request_id") == "flow-77")
    assert (accepted["event"], accepted["status"], accepted["source"]) == ("request", 202, "writers")
    (booked,) = (line for line in of_task(consumer, by_name.id) if line["event"] == "task succeeded")
    assert (booked["task"], booked["event_id"], booked["post_id"]) == ("costs.tasks.track_cost", "by-name", "post_001")
    (failed,) = (line for line in of_task(consumer, impossible.id) if line["event"] == "task failed")
    assert failed["exception"].startswith("Traceback")
    assert not any(line["event"] == "forged" for process in running.processes for line in lines(process))
    for process in running.processes:
        _expect_no_secret(process, running.key)


def _expect_no_secret(process: AppProcess, key: str) -> None:
    text = process.log.read_text()
    passwords = [unquote(urlsplit(url).password or "") for url in (settings.DATABASE_URL, settings.CELERY_BROKER_URL)]
    for secret in filter(None, [CANARY, key, *passwords]):
        shown = [line for line in text.splitlines() if secret in line]
        assert not shown, shown[:3]


def _late(what: str) -> Any:
    return lambda: f"no {what} in time"
