"""Flower, as `make up` starts it: who may look, and what a task shows there."""

import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from celery import current_app
from playwright.sync_api import expect

from alerts.tasks import deliver
from costs.models import CostEvent
from costs.tasks import track_cost
from finops_project.local import processes
from finops_project.local.ports import LOOPBACK, free_port
from tests.browser import browser
from tests.end_to_end.audit_desk import SCREENSHOTS
from tests.processes import AppProcess, worker
from tests.servers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]

USER, PASSWORD = "admin", "of-the-test"
TASK = track_cost.name
CANARY = "canary-7f3a9c"
EVENT = {"cost_type": "cdn", "amount": "1", "post_id": "post_001", "metadata": {"note": CANARY}}
SECONDS = 30


def basic(login: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


class Flower:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, *, login: str = f"{USER}:{PASSWORD}") -> Any:
        request = Request(self.url + path, headers=basic(login))  # noqa: S310
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.read().decode()

    def answers(self) -> bool:
        try:
            return bool(self.get("/healthcheck"))
        except URLError:
            return False

    def task(self, task_id: str) -> dict[str, Any]:
        """What it knows of the task; empty if nothing."""
        known: dict[str, Any] = json.loads(self.get("/api/tasks")).get(task_id, {})
        return known


@contextmanager
def flower(**more: str) -> Iterator[Flower]:
    port = free_port()
    served = Flower(f"http://{LOOPBACK}:{port}")
    with tempfile.TemporaryDirectory(prefix="finops-test-flower-") as folder:
        extra = {"FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}", "FINOPS_LOG_FORMAT": "json", **more}
        process = AppProcess(processes.flower_command(port), "flower", Path(folder) / "flower.log", extra)
        try:
            process.wait_until(served.answers, "Flower")
            yield served
            assert CANARY not in process.log.read_text()
            assert all(line.startswith("{") for line in process.log.read_text().splitlines())
        finally:
            process.close()


@pytest.fixture
def shown() -> Iterator[Flower]:
    """It sees a worker that listens already."""
    with flower() as served, worker(1):
        wait_until(lambda: "test-" in served.get("/workers"), SECONDS, _late)
        yield served


def test_a_task_is_shown_by_its_name_its_state_and_ids_only(shown: Flower) -> None:
    track_cost.delay(**EVENT, event_id="tracked")
    nudge = wait_for_task(shown, lambda task: task["name"] == TASK)
    by_name = current_app.send_task(TASK, kwargs=EVENT | {"event_id": "by-name"})
    told = wait_for_task(shown, lambda task: task["uuid"] == by_name.id)

    assert (nudge["state"], nudge["args"], nudge["kwargs"]) == ("SUCCESS", "()", "{'nudge': True}")
    assert (told["name"], told["state"], told["kwargs"]) == (TASK, "SUCCESS", "…")
    for page in ("/api/tasks", f"/task/{by_name.id}", "/api/workers?refresh=1"):
        assert CANARY not in shown.get(page)
    assert CostEvent.objects.count() == 2


def test_of_a_failure_it_shows_what_a_log_would(shown: Flower) -> None:
    sent = current_app.send_task(deliver.name, kwargs={"delivery_id": f"db://finops:{CANARY}@db"}, queue="celery")
    failed = wait_for_task(shown, lambda task: task["uuid"] == sent.id)

    assert (failed["state"], failed["kwargs"]) == ("FAILURE", "{'delivery_id': 'db://***@db'}")
    assert failed["exception"] == """ValueError("Field 'id' expected a number but got 'db://***@db'.")"""
    # Where it happened, and none of the error's own words.
    assert failed["traceback"].startswith('  File "')
    assert "ValueError" not in failed["traceback"]
    assert CANARY not in shown.get(f"/task/{sent.id}")


def test_nobody_sees_it_without_the_login() -> None:
    with flower() as served, pytest.raises(HTTPError, match="401") as refused:
        served.get("/api/tasks", login=f"{USER}:wrong")
    refused.value.close()


def test_in_a_browser_it_can_be_read(shown: Flower) -> None:
    track_cost.delay(**EVENT, event_id="tracked")
    wait_for_task(shown, lambda task: task["name"] == TASK)

    with browser() as visit:
        visit.page.set_extra_http_headers(basic(f"{USER}:{PASSWORD}"))
        visit.page.goto(f"{shown.url}/tasks")
        row = visit.page.locator("#tasks-table tbody tr", has_text=TASK).first
        expect(row).to_contain_text("SUCCESS")
        expect(row).to_contain_text("{'nudge': True}")
        visit.page.screenshot(path=_screenshot("flower-tasks"))
        row.locator("a[href*='/task/']").first.click()
        expect(visit.page.locator("body")).to_contain_text("{'nudge': True}")
        visit.page.screenshot(path=_screenshot("flower-task"))


def _screenshot(name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS / f"{name}.png"


def wait_for_task(shown: Flower, is_it: Any) -> dict[str, Any]:
    """The first task of this kind, once it has ended."""
    found: list[dict[str, Any]] = []

    def has_ended() -> bool:
        tasks = json.loads(shown.get("/api/tasks")).values()
        found[:] = [task for task in tasks if is_it(task) and task["state"] in ("SUCCESS", "FAILURE")]
        return bool(found)

    wait_until(has_ended, SECONDS, _late)
    return found[0]


def _late() -> str:
    return "Flower does not show it in time"
