"""A page of headless Chromium, driven by Playwright; the browser is the machine's own, none is downloaded.

While it is open, Playwright's event loop runs in the test's thread and Django refuses the ORM there: read and write
the database before and after.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, Request, sync_playwright

STEP_MILLISECONDS = 20_000
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Visit:
    """A page, with what it logged as an error and every address that it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(f"{self.page.url}: {message.text} ({message.location['url']})")

    def note_exception(self, error: Error) -> None:
        self.errors.append(f"{self.page.url}: {error}")

    def note_request(self, request: Request) -> None:
        self.addresses.append(request.url)

    def foreign(self, base_url: str) -> list[str]:
        """Addresses elsewhere: what a page asked of another host."""
        own = (f"{base_url}/", "data:", "blob:", "about:")
        return [address for address in self.addresses if not address.startswith(own)]


@contextmanager
def browser(*, width: int = 1440, height: int = 900, dark: bool = False) -> Iterator[Visit]:
    """One page with an empty profile; the test is skipped where no Chromium is installed."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None) or _refuse()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.set_default_timeout(STEP_MILLISECONDS)
        visit = Visit(page)
        page.on("console", visit.note_message)
        page.on("pageerror", visit.note_exception)
        page.on("request", visit.note_request)
        yield visit
        chromium.close()


def _refuse() -> str:
    if os.environ.get("FINOPS_REQUIRE_ALL"):
        pytest.fail("No Chromium is installed, and nothing may be skipped.")
    pytest.skip("No Chromium is installed: install chromium to run the browser tests.")
