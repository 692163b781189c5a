"""The Schedule page in a real browser, and the way from there to Flower."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils.timezone import now
from playwright.sync_api import expect

from costs.models import ScheduledRun
from costs.schedule import entries
from tests.costs.test_schedule import run
from tests.end_to_end.audit_desk import audit_desk

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]

PAGE = reverse("admin:costs_scheduledrun_changelist")
LOOKS: dict[str, dict[str, Any]] = {"light": {}, "dark": {"dark": True}, "narrow": {"width": 375, "height": 812}}


def a_day_of_runs() -> None:
    """All is well but for one that is late, one that failed, one that failed before, and one that never ran."""
    at = now()
    for number, entry in enumerate(entries()[:-1]):
        ScheduledRun.objects.note(
            run(entry.name, ended_at=at - timedelta(seconds=number / 10), runs=1_000 * number + 1)
        )
    ScheduledRun.objects.note(run("alert-sweep", ended_at=at, error="OperationalError: the connection is lost"))
    ScheduledRun.objects.note(run("heartbeat", ended_at=at - timedelta(hours=1), error="ValueError: broken"))
    ScheduledRun.objects.note(run("heartbeat", ended_at=at))
    before = at - timedelta(minutes=7)
    ScheduledRun.objects.filter(pk="inbox-sweep").update(started_at=before, ended_at=before)


@pytest.mark.parametrize("look", LOOKS)
def test_it_can_be_read_everywhere(look: str) -> None:
    a_day_of_runs()

    with audit_desk(**LOOKS[look]) as desk:
        desk.open(PAGE)

        expect(desk.page.locator("#schedule tbody tr")).to_have_count(len(entries()))
        expect(desk.page.locator("#schedule")).to_contain_text("overdue by 7 min")
        assert desk.wider_than_window() == []
        assert desk.beyond_keyboard() == []
        desk.photograph(f"schedule-{look}")


def test_flower_opens_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_FLOWER_URL", "http://127.0.0.1:9/flower")

    with audit_desk() as desk:
        desk.follow("Schedule")
        link = desk.page.get_by_role("link", name="Flower")

        expect(link).to_have_attribute("href", "http://127.0.0.1:9/flower")
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_without_an_address_there_is_no_link() -> None:
    with audit_desk() as desk:
        expect(desk.page.get_by_role("link", name="Flower")).to_have_count(0)
