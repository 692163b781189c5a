"""The audit desk in a real browser, against the real web server: as a person finds out why a post cost what it cost.

Every page is also looked at in light, dark and narrow; `.run/screenshots/` keeps what was seen.
"""

import pytest
from playwright.sync_api import expect

from costs.models import ApiKey, DeadLetter, InboxRow
from tests.costs.conftest import amount_event, usage_event
from tests.costs.test_admin import CONTRADICTION
from tests.end_to_end.audit_desk import LOOKS, NAME, NARROW, a_ledger_of_everything, audit_desk, book

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "inbox"]), pytest.mark.slow]


def test_from_a_post_down_to_price_and_formula() -> None:
    book(usage_event(post_id="post_001", operation="hook"), amount_event("0.0125", post_id="post_001"))

    with audit_desk() as desk:
        desk.follow("Posts")
        desk.follow("post_001")
        expect(desk.page.locator("#total")).to_have_text("$0.02")
        desk.page.locator("#timeline tr", has=desk.page.locator(".finops-formula")).get_by_text("Explain").click()

        expect(desk.page.locator("#formula")).to_have_text("1000 x $2.5/M + 500 x $10/M = $0.0075")
        expect(desk.page.locator(".finops")).to_contain_text("gpt-4o on the list of openai")


def test_the_same_way_with_the_keyboard_alone() -> None:
    book(usage_event(post_id="post_001"))

    with audit_desk() as desk:
        for words, heading in (("Posts", "Posts"), ("post_001", "Post post_001"), ("Explain", "Ledger line")):
            desk.tab_to(words)
            desk.page.keyboard.press("Enter")
            expect(desk.page.get_by_role("heading", level=1)).to_contain_text(heading)

        expect(desk.page.locator("#formula")).to_contain_text("= $0.0075")


def test_the_navigation_of_a_narrow_screen_opens_with_the_keyboard() -> None:
    with audit_desk(**LOOKS[NARROW]) as desk:
        desk.tab_to("Navigation")
        desk.page.keyboard.press("Enter")

        desk.tab_to("Ledger lines")
        desk.page.keyboard.press("Enter")
        expect(desk.page.get_by_role("heading", level=1)).to_have_text("Ledger lines")


def test_search_adds_up_what_it_finds() -> None:
    book(usage_event(post_id="post_001"), amount_event("0.0125", post_id="post_002"), amount_event("1", post_id="p"))

    with audit_desk() as desk:
        desk.follow("Ledger lines")
        desk.page.get_by_label("Post or event").fill("post_0")
        desk.page.get_by_role("button", name="Find").click()

        expect(desk.page.locator("#totals .figure").first).to_have_text("$0.02")
        expect(desk.page.locator("#lines tbody tr")).to_have_count(2)


def test_a_dead_letter_goes_back_into_the_inbox() -> None:
    book(usage_event(event_id="broken", usage=CONTRADICTION))

    with audit_desk() as desk:
        desk.follow("Dead letters")
        desk.follow("broken")
        desk.page.get_by_role("button", name="Replay this event").click()
        expect(desk.page.locator("body")).to_contain_text("1 put back into the inbox")

    assert DeadLetter.objects.get().replayed_by == NAME
    assert InboxRow.objects.count() == 1


def test_the_secret_of_a_new_key_is_seen_once() -> None:
    with audit_desk() as desk:
        desk.follow("API keys")
        desk.page.locator("a[href*='apikey/add']").first.click()
        desk.page.locator("[name=name]").fill("writer")
        desk.page.locator("[name=scopes][value='events:write']").check()
        desk.page.locator("button[name=_save]").click()
        secret = desk.page.get_by_label("Secret of the key").input_value()
        desk.page.get_by_role("button", name="Copy").click()
        expect(desk.page.get_by_role("status")).to_have_text("Copied.")
        desk.photograph("key-made-light")
        desk.follow("All keys")
        afterwards = desk.page.content()

    assert ApiKey.objects.get() == ApiKey.objects.find(secret)
    assert secret not in afterwards


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_quiet_fits_and_is_within_reach_of_the_keyboard(look: str) -> None:
    pages = a_ledger_of_everything()

    with audit_desk(**LOOKS[look]) as desk:
        troubles = desk.walk(pages, look)

    assert troubles == {}
