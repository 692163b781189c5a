"""The audit desk: what people see, what nobody may do, and that it stays fast on a large ledger."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from costs.admin import search
from costs.models import ApiKey, CostEvent, DeadLetter, InboxRow, PriceRate
from costs.reprice import reprice_unpriced
from costs.templatetags.ledger import change, instant, money, number, post_url, pretty_text, rate_url
from tests.costs.conftest import Ledger, amount_event, usage_event

pytestmark = pytest.mark.django_db

LINES, POSTS = reverse("admin:costs_costevent_changelist"), reverse("admin:costs_post_changelist")
# More cached tokens than there are tokens: accepted as it came, and impossible to book.
CONTRADICTION = {
    "dialect": "openai_chat",
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 700},
}


def read(response: Any) -> str:
    """The page as text: tags gone, white space in one piece."""
    assert response.status_code == 200, response.content[:500]
    text = re.sub(r"<(script|style|datalist).*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def find(client: Client, **asked: str) -> Any:
    return client.get(LINES, asked)


def events_on(response: Any) -> list[str]:
    return [entry.line.event_id for entry in response.context["page"].entries]


def line_page(client: Client, line: CostEvent) -> str:
    return read(client.get(reverse("admin:costs_costevent_change", args=[line.pk])))


def clerk(*rights: str) -> Client:
    """Somebody on the staff with these rights only."""
    user = User.objects.create_user("clerk", password=None, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


def now() -> datetime:
    return datetime.now(UTC)


class TestLedgerLines:
    def test_amounts_are_shown_to_their_last_decimal(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("0.000000000001"), amount_event("1234567.5"), usage_event()])

        text = read(find(admin_client))

        assert "$0.000000000001" in text
        assert "$1,234,567.5" in text
        assert "$0.0075" in text

    def test_a_line_without_a_price_says_so_in_words_and_is_not_zero(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([usage_event(model="gpt-99-imaginary", event_id="dark")])

        response = find(admin_client, q="dark")

        assert "unpriced charge computed" in read(response)
        assert response.context["totals"].unpriced == 1

    def test_a_line_that_was_priced_later_shows_the_price_of_today(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(model="house-model", event_id="late")])
        give_a_price("house-model")
        reprice_unpriced(at=now())

        response = find(admin_client, q="late", entry_type="charge")

        assert "$0.0075 priced later" in read(response)
        assert response.context["totals"].unpriced == 0

    def test_the_whole_id_of_an_event_finds_it(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("1", event_id="call-1"), amount_event("1", event_id="call-10")])

        assert events_on(find(admin_client, q="call-1")) == ["call-1"]

    @pytest.mark.parametrize(
        ("typed", "found"),
        [
            ("post_0", {"post_01", "post_02"}),
            ("post_01", {"post_01"}),
            ("POST_01", set()),
            ("%", set()),
            ("t_01", set()),
        ],
    )
    def test_a_post_is_found_by_its_beginning(
        self, admin_client: Client, ledger: Ledger, typed: str, found: set[str]
    ) -> None:
        ledger.record([amount_event("1", post_id=post, event_id=post) for post in ("post_01", "post_02", "postX01")])

        assert set(events_on(find(admin_client, q=typed))) == found

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"persona_id": "stoic"}, "b"),
            ({"cost_type": "openai_api"}, "ab"),
            ({"model": "gpt-4o-mini"}, "b"),
            ({"operation": "hook"}, "a"),
            ({"state": "unpriced"}, ""),
            ({"state": "deviating"}, "d"),
            ({"entry_type": "adjustment"}, ""),
            ({"persona_id": "stoic", "model": "gpt-4o"}, ""),
            ({"post": "p"}, "c"),
        ],
    )
    def test_filters_narrow_and_the_totals_are_those_of_what_is_found(
        self, admin_client: Client, ledger: Ledger, asked: dict[str, str], found: str
    ) -> None:
        ledger.record(
            [
                usage_event(event_id="a", operation="hook"),
                usage_event(event_id="b", model="gpt-4o-mini", persona_id="stoic"),
                amount_event("3", event_id="c", post_id="p"),
                usage_event(event_id="d", cost_type="other", amount="1"),
            ]
        )

        response = find(admin_client, **asked)

        assert sorted(events_on(response)) == list(found)
        totals = response.context["totals"]
        assert totals.charges == len(found)
        assert totals.amount == sum((line.cost_amount or 0 for line in CostEvent.objects.filter(event_id__in=found)), 0)

    @pytest.mark.parametrize("field", ["persona_id", "cost_type", "model", "operation"])
    def test_a_name_is_found_with_its_blanks(self, admin_client: Client, ledger: Ledger, field: str) -> None:
        ledger.record([amount_event("1", event_id=f"{name}|", **{field: name}) for name in ("ai", " ai", "ai ")])

        for name in ("ai", " ai", "ai "):
            assert events_on(find(admin_client, **{field: name})) == [f"{name}|"]

    def test_a_blank_typed_by_mistake_is_told(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("1", persona_id="stoic")])

        response = find(admin_client, persona_id="stoic ")

        assert "Names must be whole, case and blanks at their ends included" in read(response)

    def test_without_a_period_the_last_seven_days_are_shown_and_the_page_says_so(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        midnight = now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=6)
        for name, moment in (("in", midnight), ("out", midnight - timedelta(microseconds=1))):
            ledger.record([amount_event("1", event_id=name, timestamp=moment.isoformat())])

        response = find(admin_client)

        assert events_on(response) == ["in"]
        assert response.context["totals"].amount == 1
        assert f"The last 7 days, since {midnight:%Y-%m-%d} 00:00 UTC" in read(response)

    def test_a_period_takes_both_of_its_days_whole(self, admin_client: Client, ledger: Ledger) -> None:
        moments = ("10T23:59:59", "11T00:00:00", "12T23:59:59.999999", "13T00:00:00")
        for moment in moments:
            stamp = f"2026-01-{moment}Z"
            ledger.record([amount_event("1", event_id=moment, timestamp=stamp)])

        response = find(admin_client, start="2026-01-11", end="2026-01-12")

        assert events_on(response) == [moments[2], moments[1]]
        assert response.context["totals"].amount == 2

    def test_every_line_is_on_exactly_one_page_even_when_lines_arrive_meanwhile(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        moment = now() - timedelta(hours=1)
        wanted = {f"call-{number}" for number in range(120)}
        ledger.record([amount_event("1", event_id=name, timestamp=moment.isoformat()) for name in wanted])
        seen: list[str] = []

        response = find(admin_client)
        while True:
            seen += events_on(response)
            ledger.record([amount_event("1", event_id=f"late-{len(seen)}")])
            if "older_url" not in response.context:
                break
            response = admin_client.get(LINES + response.context["older_url"])

        assert sorted(seen) == sorted(wanted)

    @pytest.mark.parametrize(
        "asked",
        [
            {"older_than": "x"},
            {"older_than": "2026-01-01~5"},
            {"older_than": "2026-01-01T00:00:00+00:00~99999999999999999999"},
            {"start": "yesterday"},
            {"start": "2026-01-02", "end": "2026-01-01"},
            {"start": "0001-01-01", "end": "9999-12-31"},
            {"end": "9999-12-31"},
            {"q": "\x00"},
            {"q": "x" * 300},
            {"q": "100%_\\"},
            {"q": "'; DROP TABLE cost_events; --"},
            {"post": "\n"},
            {"entry_type": "refund"},
            {"state": "lost"},
            {"nothing": "known"},
        ],
    )
    def test_odd_questions_get_a_page(self, admin_client: Client, ledger: Ledger, asked: dict[str, str]) -> None:
        ledger.record([amount_event("1")])

        assert find(admin_client, **asked).status_code == 200

    def test_nobody_can_add_change_or_delete_a_line(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("1")])
        line = CostEvent.objects.get()

        answers = [
            admin_client.post(reverse("admin:costs_costevent_add"), {"cost_amount": "0"}),
            admin_client.post(reverse("admin:costs_costevent_change", args=[line.pk]), {"cost_amount": "0"}),
            admin_client.post(reverse("admin:costs_costevent_delete", args=[line.pk]), {"post": "yes"}),
        ]

        assert [answer.status_code for answer in answers] == [403, 403, 403]
        assert CostEvent.objects.get().cost_amount == 1


class TestLinePage:
    def test_it_explains_each_bucket_and_the_formula(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(usage={"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 500})])
        line = CostEvent.objects.get()

        text = line_page(admin_client, line)

        price = line.explained()
        assert price is not None
        assert f"{price.formula} = {money(line.cost_amount)}" in text
        assert "cache_read_tokens 200 $1.25 per 1,000,000 standard genai-prices" in text
        assert "gpt-4o on the list of openai" in text

    def test_a_given_amount_stands_beside_the_computed_one(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(amount="0.02")])

        text = line_page(admin_client, CostEvent.objects.get())

        assert "The caller gave $0.02, and that is booked." in text
        assert "Computed from the usage $0.0075 deviates by more than 1 %" in text

    def test_an_amount_without_usage_has_nothing_to_explain_and_says_so(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([amount_event("5", metadata={"invoice": "2026-14"})])

        text = line_page(admin_client, CostEvent.objects.get())

        assert "The caller gave this amount without usage" in text
        assert '"invoice": "2026-14"' in text

    def test_an_unpriced_line_gives_the_reason(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(model="gpt-99-imaginary")])

        text = line_page(admin_client, CostEvent.objects.get())

        assert "Unpriced: no price for input_tokens" in text

    def test_a_charge_and_its_adjustment_lead_to_each_other(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(model="house-model")])
        give_a_price("house-model")
        reprice_unpriced(at=now())
        charge, adjustment = CostEvent.objects.order_by("id")

        before, after = line_page(admin_client, charge), line_page(admin_client, adjustment)

        assert "With its adjustments $0.0075" in before
        assert "Priced since, see its adjustments below." in before
        assert f"Line {charge.pk} , booked" in after
        assert "contract" in after

    def test_the_providers_own_usage_keeps_every_digit(self, admin_client: Client, ledger: Ledger) -> None:
        usage = {
            "dialect": "openai_chat",
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "score": Decimal("0.10000000001"),
        }
        ledger.record([usage_event(usage=usage)])

        assert '"score": 0.10000000001' in line_page(admin_client, CostEvent.objects.get())

    @pytest.mark.parametrize("number", ["0", "99999999", "99999999999999999999999", "x", "-1", "\u0661"])
    def test_an_unknown_number_is_not_found(self, admin_client: Client, number: str) -> None:
        assert admin_client.get(reverse("admin:costs_costevent_change", args=[number])).status_code == 404


class TestPosts:
    def test_a_post_shows_its_total_and_every_charge_with_its_formula(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([usage_event(post_id="p", operation="hook"), amount_event("0.0125", post_id="p")])

        response = admin_client.get(post_url("p"))

        text = read(response)
        assert "Total cost $0.02" in text
        assert "1000 x $2.5/M + 500 x $10/M" in text
        assert "given by the caller" in text
        assert sum(step.amount for step in response.context["steps"]) == response.context["found"]["total_cost"]

    def test_an_adjustment_stands_beneath_the_charge_that_it_corrects(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([usage_event(post_id="p", model="house-model"), amount_event("1", post_id="p")])
        give_a_price("house-model")
        reprice_unpriced(at=now())

        response = admin_client.get(post_url("p"))

        assert "adjustment to the price $0.0075 +$0.0075" in read(response)
        assert {step.amount for step in response.context["steps"]} == {Decimal("0.0075"), Decimal(1)}

    def test_what_waits_or_lacks_a_price_is_said_beside_the_total(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([usage_event(post_id="p", model="gpt-99-imaginary")])
        ledger.accept([amount_event("1", post_id="p")])

        text = read(admin_client.get(post_url("p")))

        assert "Without a price 1 not in the total" in text
        assert "Accepted, not booked yet 1 not in the total" in text

    def test_an_unknown_post_is_not_found(self, admin_client: Client) -> None:
        for asked in ({"id": "nope"}, {"id": ""}, {"id": "\x00"}, {"id": "x" * 300}, {}):
            assert admin_client.get(reverse("admin:costs_post"), asked).status_code == 404

    @pytest.mark.parametrize("name", ["a/b", "..", "a?b#c&d=e", "100%", "<b>x</b>", 'q"uote', "line\nbreak", " é😀 "])
    def test_any_name_leads_from_the_list_to_the_post(self, admin_client: Client, ledger: Ledger, name: str) -> None:
        ledger.record([amount_event("0.125", post_id=name)])

        listed = admin_client.get(POSTS)
        (link,) = re.findall(r'<td class="name"><a href="([^"]+)"', listed.content.decode())
        response = admin_client.get(unescape(link))

        assert "Total cost $0.125" in read(response)
        assert response.context["post_id"] == name

    def test_the_list_has_the_dearest_first_or_the_latest(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.record([amount_event("9", post_id="dear", timestamp=(now() - timedelta(hours=1)).isoformat())])
        ledger.record([amount_event("1", post_id="late")])

        def order(**asked: str) -> list[str]:
            return [post.post_id for post in admin_client.get(POSTS, asked).context["posts"]]

        assert order() == ["dear", "late"]
        assert order(order="latest") == ["late", "dear"]
        assert order(q="de") == ["dear"]


class TestDeadLetters:
    def test_open_ones_are_listed_with_their_reason(self, admin_client: Client, ledger: Ledger) -> None:
        letter = dead_letter(ledger)

        text = read(admin_client.get(reverse("admin:costs_deadletter_changelist")))

        assert letter.event_id in text
        assert "its parts are more" in text

    def test_replaying_puts_the_event_back_and_leaves_a_trace(self, admin_client: Client, ledger: Ledger) -> None:
        letter = dead_letter(ledger)

        replay(admin_client, letter)

        letter.refresh_from_db()
        assert letter.replayed_by == "admin"
        assert letter.replayed_at is not None
        assert InboxRow.objects.get().event_count == 1
        assert LogEntry.objects.get().change_message == "Replayed."

    def test_replaying_twice_is_harmless(self, admin_client: Client, ledger: Ledger) -> None:
        letter = dead_letter(ledger)
        replay(admin_client, letter)

        answer = replay(admin_client, letter)

        assert "Nothing to replay" in read(answer)
        assert InboxRow.objects.count() == 1

    def test_a_replayed_one_leaves_the_list_of_open_ones_and_stays_marked(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        letter = dead_letter(ledger)
        replay(admin_client, letter)

        listing = reverse("admin:costs_deadletter_changelist")

        assert letter.event_id not in read(admin_client.get(listing))
        assert "replayed by admin" in read(admin_client.get(listing, {"state": "replayed"}))

    def test_the_page_shows_the_event_and_offers_the_replay(self, admin_client: Client, ledger: Ledger) -> None:
        letter = dead_letter(ledger)

        text = read(admin_client.get(reverse("admin:costs_deadletter_change", args=[letter.pk])))

        assert '"cached_tokens": 700' in text
        assert "Replay this event" in text

    def test_one_that_never_can_be_booked_is_written_off_with_the_reason(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        letter = dead_letter(ledger)

        act_on(admin_client, letter, "write_off", because="The producer is mended.")

        listing = reverse("admin:costs_deadletter_changelist")
        assert not DeadLetter.objects.open().exists()
        assert letter.event_id not in read(admin_client.get(listing))
        told = read(admin_client.get(listing, {"state": "written-off"}))
        assert "written off by admin" in told
        assert "The producer is mended." in told
        assert LogEntry.objects.get().change_message == "Written off: The producer is mended."

    def test_nothing_is_written_off_without_a_reason(self, admin_client: Client, ledger: Ledger) -> None:
        letter = dead_letter(ledger)

        answer = act_on(admin_client, letter, "write_off", because=" ")

        assert "Say why" in read(answer)
        assert DeadLetter.objects.open().exists()

    def test_who_may_only_look_cannot_replay(self, ledger: Ledger) -> None:
        letter = dead_letter(ledger)
        client = clerk("view_deadletter")

        replay(client, letter)

        letter.refresh_from_db()
        assert letter.replayed_at is None

    def test_waiting_rows_are_listed_and_cannot_be_touched(self, admin_client: Client, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", event_id="waits")])
        row = InboxRow.objects.get()

        text = read(admin_client.get(reverse("admin:costs_inboxrow_change", args=[row.pk])))
        answer = admin_client.post(reverse("admin:costs_inboxrow_delete", args=[row.pk]), {"post": "yes"})

        assert '"event_id": "waits"' in text
        assert answer.status_code == 403


class TestPrices:
    def test_a_new_price_is_stored_and_logged(self, admin_client: Client) -> None:
        before = PriceRate.objects.count()

        save_price(admin_client)

        assert PriceRate.objects.count() == before + 1
        assert LogEntry.objects.count() == 1

    def test_a_price_shows_without_the_zeros_of_its_column(self, admin_client: Client) -> None:
        save_price(admin_client)
        rate = PriceRate.objects.latest("id")

        page = admin_client.get(reverse("admin:costs_pricerate_change", args=[rate.pk])).content.decode()

        assert 'value="2.5"' in page

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"per": "1"}, "That is $2,500,000 for a million tokens."),
            ({"effective_to_0": "2026-01-01", "effective_to_1": "00:00:00"}, "The end must lie after the start."),
            ({"unit_price": "-1"}, "The price must be at least $0"),
            ({"unit_price": "1000000"}, "below $1,000,000"),
            ({"per": "0"}, "at least 1 unit"),
            ({"unit_price": "NaN"}, "Enter a number."),
            ({"bucket": "inptu_tokens"}, "inptu_tokens"),
            ({"effective_from_0": ""}, "required"),
        ],
    )
    def test_a_slip_is_refused_with_a_sentence(
        self, admin_client: Client, changes: dict[str, str], sentence: str
    ) -> None:
        before = PriceRate.objects.count()

        answer = save_price(admin_client, **changes)

        assert sentence in read(answer)
        assert PriceRate.objects.count() == before

    def test_two_prices_for_the_same_at_the_same_time_are_refused(self, admin_client: Client) -> None:
        save_price(admin_client)

        answer = save_price(admin_client, effective_from_0="2026-06-01")

        assert "Overlaps with" in read(answer)

    def test_a_price_may_begin_the_moment_another_ends(self, admin_client: Client) -> None:
        before = PriceRate.objects.count()
        save_price(admin_client, effective_to_0="2026-06-01", effective_to_1="00:00:00")

        save_price(admin_client, effective_from_0="2026-06-01")

        assert PriceRate.objects.count() == before + 2

    def test_a_sheet_shows_what_lines_were_priced_with_and_cannot_be_changed(
        self, admin_client: Client, ledger: Ledger
    ) -> None:
        ledger.record([usage_event()])
        sheet = CostEvent.objects.get().price_sheet
        assert sheet is not None
        address = reverse("admin:costs_pricesheet_change", args=[sheet.pk])

        assert "input_tokens $2.5 per 1,000,000 standard genai-prices" in read(admin_client.get(address))
        assert admin_client.post(address, {"content": "{}"}).status_code == 403


class TestApiKeys:
    def test_the_secret_is_shown_once_and_stored_nowhere(self, admin_client: Client) -> None:
        answer = make_key(admin_client, personas="ai_jesus\nstoic")

        (secret,) = re.findall(r'value="(fin_[^"]+)"', answer.content.decode())
        key = ApiKey.objects.find(secret)
        assert key is not None
        assert key.personas == ["ai_jesus", "stoic"]
        assert "no-store" in answer["Cache-Control"]
        kept = [str(vars(key)), *(str(vars(entry)) for entry in LogEntry.objects.all())]
        kept += [str(session.get_decoded()) for session in Session.objects.all()]
        kept += [str(admin_client.cookies), admin_client.get(reverse("admin:costs_apikey_changelist")).content.decode()]
        assert not any(secret in text for text in kept)
        assert LogEntry.objects.get().is_addition()

    def test_a_key_without_a_scope_is_refused(self, admin_client: Client) -> None:
        assert "This field is required." in read(make_key(admin_client, scopes=[]))
        assert not ApiKey.objects.exists()

    def test_name_scopes_and_limit_change_but_the_secret_and_the_source_stay(self, admin_client: Client) -> None:
        key, secret = ApiKey.issue(name="writer", source="blog", scopes=["costs:read"])
        fields = {"name": "reader", "scopes": ["events:write"], "source": "other", "digest": "0", "rate_limit": "60"}

        admin_client.post(reverse("admin:costs_apikey_change", args=[key.pk]), fields)

        found = ApiKey.objects.find(secret)
        assert found is not None
        assert (found.name, found.scopes, found.rate_limit) == ("reader", ["events:write"], 60)
        assert found.source == "blog"

    def test_revoking_ends_a_key_for_ever_and_is_logged(self, admin_client: Client) -> None:
        key, secret = ApiKey.issue(name="writer", scopes=["events:write"])

        text = read(act(admin_client, "apikey", "revoke", key.pk))

        assert ApiKey.objects.find(secret) is None
        assert "revoked" in text
        assert LogEntry.objects.get().change_message == "Revoked."
        assert admin_client.post(reverse("admin:costs_apikey_change", args=[key.pk]), {"name": "x"}).status_code == 403

    def test_keys_cannot_be_deleted(self, admin_client: Client) -> None:
        key, _ = ApiKey.issue(name="writer", scopes=["events:write"])

        answer = admin_client.post(reverse("admin:costs_apikey_delete", args=[key.pk]), {"post": "yes"})

        assert answer.status_code == 403


class TestAccess:
    PAGES = ("costs_costevent_changelist", "costs_post_changelist", "costs_post", "costs_deadletter_changelist")

    @pytest.mark.parametrize("name", PAGES)
    def test_strangers_are_sent_to_the_login(self, client: Client, name: str) -> None:
        answer = client.get(reverse(f"admin:{name}"))

        assert answer.status_code == 302
        assert "/login/" in answer["Location"]

    @pytest.mark.parametrize("name", PAGES)
    def test_staff_without_the_right_see_nothing(self, name: str) -> None:
        assert clerk().get(reverse(f"admin:{name}")).status_code == 403

    def test_an_auditor_sees_lines_and_posts_but_no_keys(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", post_id="p")])
        auditor = clerk("view_costevent")

        assert "$1" in read(find(auditor))
        assert "$1" in read(auditor.get(post_url("p")))
        assert auditor.get(reverse("admin:costs_apikey_changelist")).status_code == 403
        assert "API keys" not in read(auditor.get(reverse("admin:index")))

    def test_the_first_page_says_what_needs_a_person(self, admin_client: Client, ledger: Ledger) -> None:
        dead_letter(ledger)
        ledger.record([usage_event(model="gpt-99-imaginary"), amount_event("2.5")])

        text = read(admin_client.get(reverse("admin:index")))

        assert "Today (UTC) $2.5" in text
        assert "Charges without a price 1" in text
        assert "Open dead letters 1" in text


class TestOnALargeLedger:
    """200,000 lines of 20,000 posts, over 20 days."""

    @pytest.fixture
    def large(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1")])
        with connection.cursor() as cursor:
            cursor.execute(LARGE_LEDGER)
            cursor.execute(LARGE_COUNTERS)
            cursor.execute("ANALYZE cost_events, costs_postcost, costs_dailycost")

    QUESTIONS: tuple[dict[str, str], ...] = (
        {},
        {"persona_id": "persona_7"},
        {"cost_type": "openai_api"},
        {"model": "model_3", "persona_id": "persona_3"},
        {"post": "post_77"},
        {"q": "post_777"},
        {"q": "event_4242"},
        {"state": "unpriced"},
        {"older_than": "2026-11-20T00:00:00+00:00~100000", "start": "2026-01-01"},
    )

    def test_pages_are_read_by_index_and_nothing_is_counted(self, admin_client: Client, large: None) -> None:
        assert sequential_scans("SELECT sum(cost_amount) FROM cost_events"), "or the check below would see nothing"
        for asked in self.QUESTIONS:
            with CaptureQueriesContext(connection) as captured:
                response = find(admin_client, **asked)

            assert response.context["totals"] is not None, asked
            statements = [query["sql"] for query in captured.captured_queries]
            assert not [sql for sql in statements if "COUNT(*)" in sql.upper()], asked
            assert len(statements) < 20, asked
            pages = [sql for sql in statements if 'FROM "cost_events"' in sql and "LIMIT 51" in sql]
            assert len(pages) == 1, asked
            assert sequential_scans(pages[0]) == [], asked

    def test_posts_are_read_by_index_and_totals_that_take_too_long_are_a_sentence(
        self, admin_client: Client, large: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(post_url("post_77")).status_code == 200
            assert admin_client.get(POSTS).status_code == 200
        for sql in (query["sql"] for query in captured.captured_queries):
            if "cost_events" in sql or "costs_postcost" in sql:
                assert sequential_scans(sql) == [], sql

        monkeypatch.setattr(search, "TOTALS_MILLISECONDS", 1)
        response = find(admin_client, operation="operation_1", start="2026-01-01")

        assert "Narrow the filter" in read(response)
        assert len(events_on(response)) == search.PAGE_SIZE


class TestWords:
    @pytest.mark.parametrize(
        ("amount", "words"),
        [
            (Decimal("0"), "$0"),
            (Decimal("0E-12"), "$0"),
            (Decimal("100.000000000000"), "$100"),
            (Decimal("0.000000000001"), "$0.000000000001"),
            (Decimal("1234567.890000000000"), "$1,234,567.89"),
            (Decimal("-0.5"), "-$0.5"),
            (None, ""),
        ],
    )
    def test_money_has_all_its_digits_and_no_more(self, amount: Decimal | None, words: str) -> None:
        assert money(amount) == words

    def test_adjustments_have_a_sign(self) -> None:
        assert [change(Decimal(text)) for text in ("0.5", "-0.5", "0")] == ["+$0.5", "-$0.5", "+$0"]

    def test_numbers_have_groups_of_three(self) -> None:
        assert [number(value) for value in (1_000_000, Decimal("1200.50"), None)] == ["1,000,000", "1,200.5", ""]

    def test_times_are_utc(self) -> None:
        assert instant(datetime.fromisoformat("2026-11-23T01:00:00.5+02:00")) == "2026-11-22 23:00:00.500000"

    @pytest.mark.parametrize("origin", ["genai-prices 0.2.3", "rate default:x", "rate", "", "contract x:1/1"])
    def test_only_rows_of_the_price_table_are_linked(self, origin: str) -> None:
        assert rate_url(origin) == ""

    def test_what_is_not_json_is_shown_as_it_is(self) -> None:
        assert pretty_text("{broken") == "{broken"
        assert pretty_text("[0.10]") == "[\n  0.10\n]"


def give_a_price(model: str) -> None:
    """That of gpt-4o, under contract."""
    for bucket, price in (("input_tokens", "2.5"), ("output_tokens", "10")):
        PriceRate.objects.create(
            kind="contract",
            provider="openai",
            model=model,
            bucket=bucket,
            unit_price=Decimal(price),
            per=1_000_000,
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        )


def dead_letter(ledger: Ledger) -> DeadLetter:
    ledger.record([usage_event(event_id="broken", usage=CONTRADICTION)])
    return DeadLetter.objects.get()


def act(client: Client, model: str, action: str, *ids: int) -> Any:
    fields = {"action": action, "_selected_action": [str(number) for number in ids], "index": "0"}
    return client.post(reverse(f"admin:costs_{model}_changelist"), fields, follow=True)


def replay(client: Client, letter: DeadLetter) -> Any:
    return act_on(client, letter, "replay")


def act_on(client: Client, letter: DeadLetter, action: str, **said: str) -> Any:
    # From the list of all: there a replayed one can still be chosen.
    address = reverse("admin:costs_deadletter_changelist") + "?state=all"
    chosen = {"action": action, "_selected_action": str(letter.pk), "index": "0"}
    return client.post(address, chosen | said, follow=True)


def save_price(client: Client, **changes: str) -> Any:
    fields = {
        "kind": "contract",
        "bucket": "input_tokens",
        "provider": "openai",
        "model": "house-model",
        "unit_price": "2.5",
        "per": "1000000",
        "effective_from_0": "2026-02-01",
        "effective_from_1": "00:00:00",
    }
    return client.post(reverse("admin:costs_pricerate_add"), fields | changes, follow=True)


def make_key(client: Client, **changes: Any) -> Any:
    fields = {"name": "writer", "source": "blog", "scopes": ["events:write", "costs:read"], "personas": ""}
    return client.post(reverse("admin:costs_apikey_add"), fields | changes)


def sequential_scans(sql: str) -> list[str]:
    """Partitions with lines in them, and counters, that Postgres would read from end to end."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        (plan,) = cursor.fetchone()
        cursor.execute("SELECT relname FROM pg_class WHERE reltuples > 1000")
        large = {row[0] for row in cursor.fetchall()}
    steps = json.dumps(plan if isinstance(plan, list) else json.loads(plan))
    return [
        name for name in re.findall(r'"Node Type": "Seq Scan"[^{}]*"Relation Name": "(\w+)"', steps) if name in large
    ]


LARGE_LEDGER = """
INSERT INTO cost_events (event_id, source, post_id, cost_type, cost_amount, cost_metadata, persona_id, operation,
    provider, model, timestamp, created_at, entry_type, evidence, unpriced, deviating)
SELECT 'event_' || n, 'default', 'post_' || n % 20000, (ARRAY['openai_api', 'kubernetes', 'vector_db'])[1 + n % 3],
    CASE WHEN n % 5000 = 0 THEN NULL ELSE 0.001 END, '{}', 'persona_' || n % 20, 'operation_' || n % 50,
    'openai', 'model_' || n % 10, now() - n * interval '8.64 seconds', now(), 'charge', 'computed',
    (n % 5000 = 0)::int, 0
FROM generate_series(1, 200000) AS n
"""
LARGE_COUNTERS = """
INSERT INTO costs_postcost (post_id, persona_id, cost_type, amount, adjustments, events, unpriced, deviating, last_at)
SELECT post_id, persona_id, cost_type, sum(COALESCE(cost_amount, 0)), 0, count(*), sum(unpriced), 0, max(timestamp)
FROM cost_events WHERE post_id IS NOT NULL GROUP BY 1, 2, 3
"""
