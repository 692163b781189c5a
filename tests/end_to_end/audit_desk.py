"""The admin as somebody at a desk uses it: a browser, a login, every page there is, and a ledger that fills them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import Page, expect

from costs import drain, ingest
from costs.events import encode
from costs.models import ApiKey, CostEvent, DeadLetter, EntryType, InboxRow, PriceRate, PriceSheet
from costs.reprice import reprice_unpriced
from costs.templatetags.ledger import post_url
from finops_project.local.home import Home
from tests.browser import browser
from tests.costs.conftest import amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION, give_a_price
from tests.processes import web

NAME, PASSWORD = "auditor", "a long enough password"
SCREENSHOTS = Home().run / "screenshots"
WIDE, NARROW = "wide", "narrow"
LOOKS: dict[str, dict[str, Any]] = {WIDE: {}, NARROW: {"width": 375, "height": 812}}
# More than the longest page has: a page that never lets go of the focus is a trap.
TAB_STOPS = 400

# Without the icon, which is a line of its own.
FOCUSED_WORDS = """() => {
    const here = document.activeElement;
    return here.getAttribute("aria-label") ?? here.innerText.trim().split("\\n").pop();
}"""
# True once the focus has been where it is now.
FOCUS_WAS_HERE = """() => {
    const here = document.activeElement;
    // A date has several stops of its own.
    const was = here !== window.lastStop && "tabStop" in here.dataset;
    here.dataset.tabStop = "";
    window.lastStop = here;
    return was;
}"""
NEVER_FOCUSED = """() =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [x-on\\\\:click], [\\\\@click]")]
        .filter(part => part.checkVisibility({visibilityProperty: true}) && part.clientWidth > 1)
        .filter(part => !part.disabled && !("tabStop" in part.dataset) && part.getAttribute("tabindex") !== "-1")
        .filter(part => part.type !== "radio" || part.checked)
        .map(part => part.outerHTML.slice(0, 200))
"""
WIDER_THAN_WINDOW = """() => {
    const scrolls = part => part.closest(".finops-scroll, .overflow-x-auto, .simplebar-content-wrapper");
    if (document.documentElement.scrollWidth <= innerWidth) return [];
    return [...document.querySelectorAll("body *")]
        .filter(part => part.getBoundingClientRect().right > innerWidth + 1 && !scrolls(part))
        .map(part => part.outerHTML.slice(0, 200)).slice(0, 5);
}"""


@dataclass(frozen=True, slots=True)
class Desk:
    """The admin of one web server, opened by somebody who may do everything."""

    page: Page
    url: str

    def log_in(self) -> None:
        self.page.goto(f"{self.url}/admin/")
        self.page.locator("[name=username]").fill(NAME)
        self.page.locator("[name=password]").fill(PASSWORD)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("main, #main").first).to_contain_text("Today (UTC)")

    def follow(self, words: str) -> None:
        """Click the first link that reads like this, perhaps after an icon."""
        self.page.get_by_role("link", name=re.compile(rf"(^|\s){re.escape(words)}$")).first.click()

    def tab_to(self, words: str) -> None:
        """Press Tab until something that reads like this has the focus."""
        for _ in range(TAB_STOPS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(FOCUSED_WORDS) == words:
                return
        raise AssertionError(f"Tab does not lead to {words!r}")

    def open(self, path: str) -> None:
        response = self.page.goto(self.url + path)
        assert response is not None
        assert response.ok, f"{path} answers {response.status}"
        # The API's documentation draws itself after it is loaded.
        self.page.locator(".loading").wait_for(state="detached")

    def wider_than_window(self) -> list[str]:
        """The parts that make a page scroll sideways; tables may scroll within their frame."""
        found: list[str] = self.page.evaluate(WIDER_THAN_WINDOW)
        return found

    def beyond_keyboard(self) -> list[str]:
        """What can be clicked and never has the focus, however often Tab is pressed."""
        for _ in range(TAB_STOPS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(FOCUS_WAS_HERE):
                break
        found: list[str] = self.page.evaluate(NEVER_FOCUSED)
        return found

    def walk(self, pages: Mapping[str, str], look: str) -> dict[str, list[str]]:
        """Open and photograph every page, wide ones in dark too; returns what does not fit or has no focus ever."""
        troubles = {}
        for name, path in pages.items():
            self.open(path)
            self.photograph(f"{name}-{look}")
            troubles[name] = [*self.wider_than_window(), *self.beyond_keyboard()]
            if look == WIDE:
                # As the switch of the theme does it.
                self.page.evaluate("document.documentElement.classList.add('dark')")
                self.photograph(f"{name}-dark")
        return {name: parts for name, parts in troubles.items() if parts}

    def photograph(self, name: str) -> None:
        """The whole page in one window, so that what sticks to the window's edges covers nothing."""
        window = self.page.viewport_size
        assert window is not None
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.set_viewport_size({"width": window["width"], "height": height})
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        self.page.set_viewport_size(window)


@contextmanager
def audit_desk(**look: Any) -> Iterator[Desk]:
    """Logged in; nothing may end up on the console, and no other host may be asked for anything."""
    User.objects.create_superuser(NAME, password=PASSWORD)
    for folder in (SCREENSHOTS.parent, SCREENSHOTS):
        folder.mkdir(mode=0o700, exist_ok=True)
    with web() as server, browser(**look) as visit:
        desk = Desk(visit.page, server.url)
        desk.log_in()
        yield desk
        assert visit.errors == []
        assert visit.foreign(server.url) == []


def book(*events: dict[str, Any]) -> None:
    accept(*events)
    drain.drain(at=datetime.now(UTC))


def accept(*events: dict[str, Any]) -> None:
    """Into the inbox, where no worker runs: there they wait."""
    ingest.accept([encode(event) for event in events], source="default", at=datetime.now(UTC))


def a_ledger_of_everything() -> dict[str, str]:
    """One row of every kind that the admin shows; returns the path of every page, by name."""
    book(*an_evening_of_posts())
    give_a_price("house-model")
    reprice_unpriced(at=datetime.now(UTC))
    accept(amount_event("0.002", post_id="post_001", event_id="late-1"))
    ApiKey.issue(name="content pipeline", source="studio", scopes=["events:write", "decisions:write"])
    retired, _ = ApiKey.issue(
        name="old importer", scopes=["events:write"], personas=["ai_jesus"], source="old", rate_limit=60
    )
    retired.revoke(at=datetime.now(UTC))
    return {**fixed_pages(), **pages_of_rows(retired)}


def an_evening_of_posts() -> list[dict[str, Any]]:
    start = datetime.now(UTC) - timedelta(minutes=50)
    one = {"post_id": "post_001", "persona_id": "ai_jesus"}
    two = {"post_id": "post_002", "persona_id": "stoic_daily"}
    cached = {"input_tokens": 12_400, "cache_read_tokens": 9_000, "output_tokens": 730}
    claude = {"cost_type": "anthropic_api", "provider": "anthropic", "model": "claude-sonnet-4-5"}
    events = [
        usage_event(**one, operation="hook_generation", correlation_id="flow-77", request_id="req-1"),
        usage_event(**one, operation="body_generation", usage=cached, metadata={"draft": 2, "tone": "warm"}),
        usage_event(**one, operation="review", model="house-model", event_id="priced-later"),
        usage_event(**one, operation="image_prompt", amount="0.02", event_id="deviating"),
        usage_event(**one, operation="summary", model="gpt-99-imaginary", event_id="no-price"),
        {**one, "cost_type": "kubernetes", "operation": "orchestrate", "usage": {"cpu_core_hours": "0.05"}},
        {**one, "cost_type": "vector_db", "operation": "search", "usage": {"vector_reads": 250}},
        usage_event(**two, **claude, operation="hook_generation"),
        amount_event("0.0125", **two, metadata={"invoice": "2026-14"}),
        usage_event(**two, model="gpt-4o-mini", operation="rewrite"),
        amount_event("1.75", cost_type="storage", event_id="shared-bucket"),
        usage_event(event_id="broken", usage=CONTRADICTION, **two),
    ]
    return [{"timestamp": (start + timedelta(minutes=4 * n)).isoformat(), **event} for n, event in enumerate(events)]


def fixed_pages() -> dict[str, str]:
    lines = reverse("admin:costs_costevent_changelist")
    return {
        "overview": reverse("admin:index"),
        "posts": reverse("admin:costs_post_changelist"),
        "posts-none-found": f"{reverse('admin:costs_post_changelist')}?{urlencode({'q': 'nothing'})}",
        "post": post_url("post_001"),
        "lines": lines,
        "lines-unpriced": f"{lines}?{urlencode({'state': 'unpriced'})}",
        "lines-none-found": f"{lines}?{urlencode({'q': 'nothing', 'start': '2026-02-01', 'end': '2026-01-01'})}",
        "dead-letters": reverse("admin:costs_deadletter_changelist"),
        "inbox": reverse("admin:costs_inboxrow_changelist"),
        "prices": reverse("admin:costs_pricerate_changelist"),
        "price-new": reverse("admin:costs_pricerate_add"),
        "price-sheets": reverse("admin:costs_pricesheet_changelist"),
        "keys": reverse("admin:costs_apikey_changelist"),
        "key-new": reverse("admin:costs_apikey_add"),
        "users": reverse("admin:auth_user_changelist"),
        "user-new": reverse("admin:auth_user_add"),
        "groups": reverse("admin:auth_group_changelist"),
        "api-docs": reverse("docs"),
    }


def pages_of_rows(retired: ApiKey) -> dict[str, str]:
    charges = CostEvent.objects.filter(entry_type=EntryType.CHARGE)
    token_lines = charges.filter(post_id="post_001", model="gpt-4o", evidence="computed")
    rows: dict[str, Model] = {
        "line-computed": token_lines.latest("cost_amount"),
        "line-given": charges.get(event_id="shared-bucket"),
        "line-deviating": charges.get(event_id="deviating"),
        "line-unpriced": charges.get(event_id="no-price"),
        "line-priced-later": charges.get(event_id="priced-later"),
        "line-adjustment": CostEvent.objects.get(entry_type=EntryType.ADJUSTMENT),
        "line-infrastructure": charges.get(cost_type="kubernetes"),
        "dead-letter": DeadLetter.objects.get(),
        "inbox-row": InboxRow.objects.get(),
        "price": PriceRate.objects.latest("id"),
        "price-sheet": PriceSheet.objects.get(costevent__event_id="deviating"),
        "key": ApiKey.objects.exclude(pk=retired.pk).get(),
        "key-revoked": retired,
    }
    return {name: address_of(row) for name, row in rows.items()}


def address_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
