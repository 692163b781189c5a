"""The first page in a real browser: figures of the ledger, plots that lead to their rows, and news by themselves.

`.run/screenshots/` keeps what was seen.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Locator, expect

from anomalies.models import Anomaly
from controls import budgets
from controls.models import Budget
from costs.breakdown import breakdown
from costs.templatetags.ledger import money, post_url
from tests.alerts.conftest import seed
from tests.anomalies.incidents import spike_of
from tests.anomalies.test_admin import one
from tests.controls.rows import make_control
from tests.costs.conftest import amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION
from tests.end_to_end.audit_desk import SCREENSHOTS, Desk, accept, address_of, audit_desk, book

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]

HOME = reverse("admin:index")
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "narrow": {"width": 375, "height": 812},
    "narrow-dark": {"width": 375, "height": 812, "dark": True},
}
PERSONAS = ("ai_jesus", "stoic_daily", "night_owl", "a_persona_with_quite_a_long_name", "chef", "coach", "poet")
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")
# The digits of every row of a plot's table, by its label.
VALUES = """figure => Object.fromEntries([...figure.querySelectorAll("tbody tr")].map(row =>
    [(row.querySelector("a") ?? row.cells[0]).textContent.trim(), row.cells[1].dataset.value]))"""
BAR = """(canvas, place) => {
    const chart = Chart.getChart(canvas), bar = chart.getDatasetMeta(0).data[place];
    const box = canvas.getBoundingClientRect();
    const x = chart.options.indexAxis === "y" ? (chart.scales.x.left + bar.x) / 2 : bar.x;
    return [box.left + x, box.top + bar.y + (chart.options.indexAxis === "y" ? 0 : 3)];
}"""
T = TypeVar("T")


def test_every_figure_is_the_ledger_s_to_the_last_digit() -> None:
    weeks_of_posts(days=9)
    today, week, month = now().date(), now().date() - timedelta(days=6), now().date().replace(day=1)
    persona, model, kind, day = (
        sums(week.isoformat(), today.isoformat(), name) for name in ("persona_id", "model", "cost_type", "day")
    )

    of_today, of_month = total(today), total(month)

    with audit_desk() as desk:
        desk.open(f"{HOME}?period=7d")

        assert exact(desk, "card-today") == money(of_today)
        assert exact(desk, "card-month") == money(of_month)
        assert values(desk, "by-persona") == persona
        assert values(desk, "by-model") == {name or "no model": amount for name, amount in model.items()}
        assert values(desk, "by-type") == kind
        spent = values(desk, "spent")
        assert {name: amount for name, amount in spent.items() if amount} == day
        assert drawn(desk, "by-persona") == [float(amount) for amount in persona.values()]


def test_the_hours_of_today_add_up_to_today_and_lead_to_their_lines() -> None:
    book(amount_event("0.25", persona_id="ai_jesus", post_id="post_001"), amount_event("0.0125", persona_id="chef"))

    with audit_desk() as desk:
        desk.open(f"{HOME}?period=today")
        spent = values(desk, "spent")
        assert sum(spent.values()) == Decimal("0.2625")
        hour = next(place for place, amount in enumerate(spent.values()) if amount)
        click_bar(desk, "spent", hour)

        expect(desk.page.locator("#totals .figure").first).to_have_text("$0.2625")
        expect(desk.page.locator("#hour")).to_contain_text("Only the hour that begins at")
        expect(desk.page.locator("#lines tbody tr")).to_have_count(2)


def test_a_click_on_a_bar_leads_to_the_lines_that_it_adds_up() -> None:
    weeks_of_posts(days=3)
    today, week = now().date(), now().date() - timedelta(days=6)
    dearest, amount = next(iter(sums(week.isoformat(), today.isoformat(), "persona_id").items()))

    with audit_desk() as desk:
        desk.open(f"{HOME}?period=7d")
        click_bar(desk, "by-persona", 0)

        expect(desk.page.get_by_role("heading", level=1)).to_have_text("Ledger lines")
        expect(desk.page.get_by_label("Persona")).to_have_value(dearest)
        expect(desk.page.locator("#totals .figure").first).to_have_text(money(amount))


def test_a_click_on_the_cost_per_post_leads_to_the_posts_of_that_day() -> None:
    book(amount_event("0.03", post_id="post_001"), amount_event("0.01", post_id="post_002"), amount_event("5"))

    with audit_desk() as desk:
        desk.open(f"{HOME}?period=7d")
        assert exact(desk, "card-post") == "$0.02"
        assert list(values(desk, "per-post").values())[-1] == Decimal("0.02")
        click_bar(desk, "per-post", 6)

        expect(desk.page.locator("#posts tbody tr")).to_have_count(2)


def test_what_happens_later_is_shown_without_a_reload() -> None:
    book(amount_event("0.25", persona_id="ai_jesus"))

    with audit_desk() as desk:
        desk.page.clock.install()
        desk.open(HOME)
        desk.page.evaluate("window.sameDocument = true")
        desk.page.locator("#plot-by-persona summary").click()
        desk.tab_to("ai_jesus")
        elsewhere(lambda: book(amount_event("0.5", persona_id="ai_jesus")))
        desk.page.clock.fast_forward(31_000)

        expect(desk.page.locator("#card-today .figure")).to_have_text("$0.75")
        expect(desk.page.locator("#plot-by-persona tbody td")).to_have_text("$0.75")
        assert drawn(desk, "by-persona") == [0.75]
        assert desk.page.evaluate("window.sameDocument")
        assert desk.page.evaluate("document.activeElement.textContent") == "ai_jesus"
        assert desk.page.locator("#plot-by-persona details").get_attribute("open") is not None


def test_a_plot_that_comes_later_leaves_the_reader_where_he_is() -> None:
    book(amount_event("0.25", persona_id="ai_jesus"))

    with audit_desk(height=300) as desk:
        desk.page.clock.install()
        desk.open(HOME)
        expect(desk.page.locator("#plot-per-post canvas")).to_have_count(0)
        before = read_the_values_of(desk, "by-persona")
        elsewhere(lambda: book(amount_event("0.5", persona_id="ai_jesus", post_id="post_001")))
        desk.page.clock.fast_forward(31_000)

        expect(desk.page.locator("#plot-per-post canvas")).to_be_visible()
        assert is_there(desk, before)


def test_what_takes_too_long_stays_and_says_how_old_it_is() -> None:
    book(amount_event("0.25", persona_id="ai_jesus"), usage_event(event_id="broken", usage=CONTRADICTION))

    with audit_desk(height=300) as desk:
        desk.page.clock.install()
        desk.open(HOME)
        before = read_the_values_of(desk, "by-persona")
        with locked("costs_dailycost"):
            desk.page.clock.fast_forward(31_000)
            expect(desk.page.locator("#figures .finops-hint")).to_contain_text("Some figures take too long")
            desk.page.screenshot(path=SCREENSHOTS / "home-too-slow.png", full_page=True)

            assert re.match(r"\d{4}-\d\d-\d\d ", str(figure(desk, "by-persona").get_attribute("data-old")))
            expect(desk.page.locator("#card-today[data-old] .figure")).to_have_text("$0.25")
            expect(desk.page.locator("#card-dead:not([data-old]) .figure")).to_have_text("1")
            assert is_there(desk, before)
        desk.page.clock.fast_forward(31_000)

        expect(desk.page.locator("[data-old]")).to_have_count(0)
        expect(desk.page.locator("#figures .finops-hint")).to_have_count(0)
        assert is_there(desk, before)


def test_the_first_event_of_all_brings_the_plots_by_itself() -> None:
    with audit_desk() as desk:
        desk.page.clock.install()
        desk.open(HOME)
        expect(desk.page.locator("#untouched")).to_contain_text("/costs/events -H")
        expect(desk.page.locator("canvas")).to_have_count(0)
        elsewhere(lambda: book(usage_event(persona_id="ai_jesus", post_id="post_001")))
        desk.page.clock.fast_forward(31_000)

        expect(desk.page.locator("#plot-by-model canvas")).to_be_visible()
        expect(desk.page.locator("#untouched")).to_have_count(0)


def test_a_page_that_nobody_sees_asks_nothing_and_reads_at_once_when_it_is_seen() -> None:
    with audit_desk() as desk:
        desk.page.clock.install()
        desk.open(HOME)
        asked = counting_fragments(desk)
        hide(desk, True)
        desk.page.clock.fast_forward(120_000)
        assert asked() == 0

        hide(desk, False)
        desk.page.clock.run_for(100)
        desk.page.wait_for_function("document.getElementById('refresh-state').textContent === ''")
        desk.page.wait_for_timeout(200)
        assert asked() == 1


def test_figures_that_cannot_be_read_again_say_why_and_since_when_they_stand() -> None:
    with audit_desk() as desk:
        desk.page.clock.install()
        desk.open(HOME)
        before = desk.page.locator("#read-at").inner_text()
        desk.page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('gone')); }")
        desk.page.clock.fast_forward(31_000)

        expect(desk.page.locator("#refresh-state")).to_have_text(
            "These figures could not be read again: the server does not answer."
        )
        expect(desk.page.locator("#read-at")).to_have_text(before)


def test_who_is_logged_out_meanwhile_is_told() -> None:
    with audit_desk() as desk:
        desk.open(HOME)
        desk.page.context.clear_cookies()
        desk.page.get_by_role("button", name="Read again").click()

        expect(desk.page.locator("#refresh-state")).to_contain_text("you are not logged in any more")


def test_from_a_plot_to_its_lines_with_the_keyboard_alone() -> None:
    book(amount_event("0.25", persona_id="ai_jesus"))

    with audit_desk() as desk:
        desk.tab_to("Values of “By persona, 7 days”")
        desk.page.keyboard.press("Enter")
        desk.tab_to("ai_jesus")
        desk.page.keyboard.press("Enter")

        expect(desk.page.get_by_label("Persona")).to_have_value("ai_jesus")


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_quiet_fits_and_is_within_reach_of_the_keyboard(look: str) -> None:
    pages = {f"home-{period}": f"{HOME}?period={period}" for period in ("today", "7d", "30d")} | everything()

    too_wide, out_of_reach = {}, {}
    with audit_desk(**LOOKS[look]) as desk:
        for name, path in pages.items():
            desk.open(path)
            desk.page.wait_for_timeout(300)
            desk.photograph(f"{name}-{look}")
            too_wide[name] = desk.wider_than_window()
            out_of_reach[name] = desk.beyond_keyboard()

    assert {name: parts for name, parts in too_wide.items() if parts} == {}
    assert {name: parts for name, parts in out_of_reach.items() if parts} == {}


@pytest.mark.parametrize("look", LOOKS)
def test_with_nothing_in_it_it_says_what_to_do_next(look: str) -> None:
    with audit_desk(**LOOKS[look]) as desk:
        desk.open(HOME)
        expect(desk.page.locator("#untouched")).to_contain_text("Make an API key")
        desk.photograph(f"home-empty-{look}")

        assert desk.wider_than_window() == []


def weeks_of_posts(days: int) -> None:
    """A few posts a day of some personas, each with several models and its infrastructure."""
    events: list[dict[str, Any]] = []
    for back in range(days):
        at = now() - timedelta(days=back, seconds=30)
        for place, persona in enumerate(PERSONAS[: 3 + back % 5]):
            post = {"persona_id": persona, "post_id": f"post_{back:02}_{place}", "timestamp": at.isoformat()}
            tokens = {"input_tokens": 700 + 130 * place + 41 * back, "output_tokens": 300 + 37 * back}
            events += [
                usage_event(**post, model=MODELS[(back + place) % len(MODELS)], operation="hook", usage=tokens),
                usage_event(**post, model=MODELS[place % len(MODELS)], operation="body"),
                amount_event(f"0.00{1 + place}{back % 7}", **post, cost_type="kubernetes", operation="orchestrate"),
                amount_event("0.000731", **post, cost_type="vector_db", operation="search"),
            ]
    book(*events)


def a_runaway() -> None:
    """Posts of one persona over three hours, the last ones far too dear; and one post with many charges."""
    events = []
    for number in range(45):
        at = now() - timedelta(minutes=4 * (45 - number))
        amount = "0.134" if number > 40 else f"0.0{12 + number % 9}"
        events.append(amount_event(amount, post_id=f"run_{number:02}", persona_id="ai_jesus", timestamp=at.isoformat()))
        if number % 5 == 0:
            post = {"post_id": "long_post", "persona_id": "poet", "timestamp": at.isoformat()}
            events.append(usage_event(**post, operation="draft"))
    book(*events)


def everything() -> dict[str, str]:
    """A month with all that can be wrong; returns the pages beside the first one that have plots."""
    seed()
    weeks_of_posts(days=30)
    a_runaway()
    book(usage_event(post_id="post_00_0", model="gpt-99-imaginary", persona_id="ai_jesus"))
    accept(amount_event("0.002", post_id="post_00_0"))
    for name, scope, period, limit in (
        ("everything a day", {}, "daily", "0.2"),
        ("everything a month", {}, "monthly", "4"),
        ("ai_jesus a month", {"persona_id": "ai_jesus"}, "monthly", "0.5"),
    ):
        a_budget(name, scope, period, limit)
    anomalies = [spike_of("ai_jesus"), spike_of("a_persona_with_quite_a_long_name", score="3")]
    make_control("stoic_daily")
    assert Anomaly.objects.open().count() == len(anomalies)
    budget = a_budget("poet a month", {"persona_id": "poet"}, "monthly", "0.1")
    over = one("budget_overrun", scope={"persona_id": "poet", "budget_id": str(budget.pk)})
    return {
        "post-with-plot": post_url("long_post"),
        "anomaly-with-plot": address_of(anomalies[0]),
        "anomaly-of-budget-with-plot": address_of(over),
    }


def a_budget(name: str, scope: dict[str, str], period: str, limit: str) -> Budget:
    budget = Budget(name=name, period=period, limit=Decimal(limit), **scope)
    return budgets.create(budget, actor="ann", at=now())


def sums(start: str, end: str, name: str) -> dict[str, Decimal]:
    """What the ledger says, in its order."""
    groups = breakdown(start_date=start, end_date=end, group_by=name)["groups"]
    return {group["key"][name] or "": group["cost"] for group in groups}


def total(first: date) -> Decimal:
    """Of all days from this one to today."""
    return sum(sums(first.isoformat(), now().date().isoformat(), "day").values(), Decimal(0))


def figure(desk: Desk, name: str) -> Locator:
    return desk.page.locator(f"#plot-{name}")


def values(desk: Desk, name: str) -> dict[str, Decimal]:
    found: dict[str, str] = figure(desk, name).evaluate(VALUES)
    return {label: Decimal(digits) for label, digits in found.items() if digits}


def drawn(desk: Desk, name: str) -> list[float]:
    script = "canvas => Chart.getChart(canvas).data.datasets[0].data"
    found: list[float] = figure(desk, name).locator("canvas").evaluate(script)
    return found


def exact(desk: Desk, card: str) -> str | None:
    """All digits of a card, as whoever points at it reads them."""
    return desk.page.locator(f"#{card} .figure [title]").get_attribute("title")


def click_bar(desk: Desk, name: str, place: int) -> None:
    canvas = figure(desk, name).locator("canvas")
    canvas.scroll_into_view_if_needed()
    desk.page.mouse.click(*canvas.evaluate(BAR, place))


def read_the_values_of(desk: Desk, name: str) -> tuple[str, float]:
    """Open the table beneath a plot, stay there, and look where that is."""
    figure(desk, name).locator("summary").scroll_into_view_if_needed()
    figure(desk, name).locator("summary").click()
    return place_of_reading(desk)


def is_there(desk: Desk, before: tuple[str, float]) -> bool:
    what, top = place_of_reading(desk)
    return what == before[0] and abs(top - before[1]) < 3


def place_of_reading(desk: Desk) -> tuple[str, float]:
    """What is open and has the focus, and where in the window that is."""
    open_ones, focused, top = desk.page.evaluate(
        """() => [
            [...document.querySelectorAll("details[open]")].map(part => part.closest("figure").id),
            document.activeElement.getAttribute("aria-label"),
            document.activeElement.getBoundingClientRect().top,
        ]"""
    )
    return f"{open_ones}, {focused}", top


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Whoever reads it waits."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_lock, table).result()
        try:
            yield
        finally:
            pool.submit(connections.close_all).result()


def _lock(table: str) -> None:
    connection = connections["default"]
    connection.set_autocommit(False)
    connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")


def counting_fragments(desk: Desk) -> Callable[[], int]:
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url) if "/figures/" in request.url else None)
    return lambda: len(asked)


def hide(desk: Desk, is_hidden: bool) -> None:
    desk.page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        is_hidden,
    )


def elsewhere(work: Callable[[], T]) -> T:
    """In a thread of its own: Playwright's event loop keeps the ORM out of this one."""
    with ThreadPoolExecutor(1) as pool, _closing_connections(pool):
        return pool.submit(work).result()


@contextmanager
def _closing_connections(pool: ThreadPoolExecutor) -> Iterator[None]:
    yield
    pool.submit(connections.close_all).result()


def now() -> datetime:
    return datetime.now(UTC)
