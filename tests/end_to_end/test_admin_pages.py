"""The audit desk in a real browser, against the real web server: as a person finds out why a post cost what it cost."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User

from costs import drain, ingest
from costs.events import encode
from costs.models import ApiKey, DeadLetter, InboxRow
from tests.browser import Browser, browser
from tests.costs.conftest import amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION
from tests.processes import web

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])

PASSWORD = "a long enough password"


@pytest.fixture
def desk() -> Iterator[Browser]:
    """Logged in, on a ledger with one post of two charges and one dead letter."""
    User.objects.create_superuser("auditor", password=PASSWORD)
    book(
        usage_event(post_id="post_001", persona_id="ai_jesus", operation="hook"),
        amount_event("0.0125", post_id="post_001"),
        usage_event(event_id="broken", usage=CONTRADICTION),
    )
    with browser() as opened, web() as server:
        opened.goto(f"{server.url}/admin/")
        opened.fill("[name=username]", "auditor")
        opened.fill("[name=password]", PASSWORD)
        opened.press("button[type=submit]")
        yield opened
        assert opened.errors == []
        assert [asked for asked in opened.addresses if not asked.startswith((server.url, "data:", "about:"))] == []


def book(*events: dict[str, object]) -> None:
    at = datetime.now(UTC)
    ingest.accept([encode(event) for event in events], source="default", at=at)
    drain.drain(at=at)


@pytest.mark.slow
def test_from_a_post_down_to_price_and_formula(desk: Browser) -> None:
    desk.follow("Posts")
    desk.follow("post_001")
    assert desk.text("#total") == "$0.02"

    desk.press("#timeline tbody tr:has(.finops-formula) a")

    assert desk.text("#formula") == "1000 x $2.5/M + 500 x $10/M = $0.0075"
    assert "gpt-4o on the list of openai" in desk.text()


@pytest.mark.slow
def test_search_then_replay_then_make_a_key(desk: Browser) -> None:
    desk.follow("Ledger lines")
    desk.fill("[name=q]", "post_0")
    desk.press("#search button[type=submit]")
    assert desk.text("#totals .figure") == "$0.02"

    desk.press("#nav-sidebar-apps a[href*=deadletter]")
    desk.follow("broken")
    desk.follow("Replay this event")
    assert "1 put back into the inbox" in desk.text()
    assert DeadLetter.objects.get().replayed_by == "auditor"
    assert InboxRow.objects.count() == 1

    desk.press("#nav-sidebar-apps a[href*=apikey]")
    desk.press("a[href*='apikey/add']")
    desk.fill("[name=name]", "writer")
    desk.click("[name=scopes][value='events:write']")
    desk.press("button[name=_save]")
    secret = desk.evaluate("document.querySelector('#secret').value")
    assert ApiKey.objects.get() == ApiKey.objects.find(secret)
    desk.click("main button, .finops-secret button")
    assert "Copied." in desk.text()
    desk.follow("All keys")
    assert secret not in desk.evaluate("document.documentElement.outerHTML")
