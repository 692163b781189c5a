"""Accepting: keys and one inbox row in one statement, and an answer for every event."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction

from costs import ingest
from costs.events import InvalidEvent, encode
from costs.models import CostEvent, EventKey, InboxRow
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


class TestReceipts:
    def test_a_request_becomes_one_inbox_row_with_its_fresh_events(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", event_id="known", post_id="p")])

        receipts = ledger.accept([amount_event("1", event_id=name, post_id="p") for name in ("known", "a", "b")])

        assert [receipt.status for receipt in receipts] == ["duplicate", "accepted", "accepted"]
        row = InboxRow.objects.latest("id")
        assert (row.event_count, row.post_ids) == (2, ["p"])

    def test_events_of_a_request_are_booked_in_the_order_they_were_sent(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", event_id="known")])
        ledger.record([amount_event("1", event_id=name) for name in ("z", "a", "known", "m")])

        booked = CostEvent.objects.order_by("id").values_list("event_id", flat=True)
        assert list(booked) == ["known", "z", "a", "m"]

    def test_a_request_of_duplicates_leaves_no_row(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", event_id="a")])
        ledger.accept([amount_event("1", event_id="a")])

        assert InboxRow.objects.count() == 1

    def test_the_first_body_under_an_id_stands(self, ledger: Ledger) -> None:
        ledger.accept([amount_event("1", event_id="a")])

        (receipt,) = ledger.accept([amount_event("2", event_id="a")])

        assert receipt.status == "conflict"
        assert "another body" in receipt.detail

    def test_repeats_within_one_request_are_judged_like_repeats_after_it(self, ledger: Ledger) -> None:
        receipts = ledger.accept([amount_event(amount, event_id="a") for amount in ("1", "1", "2")])

        assert [receipt.status for receipt in receipts] == ["accepted", "duplicate", "conflict"]

    def test_bad_events_are_refused_one_by_one_and_the_others_are_kept(self, ledger: Ledger) -> None:
        receipts = ledger.accept([amount_event("1"), amount_event("-1", event_id="bad"), usage_event()])

        assert [receipt.status for receipt in receipts] == ["accepted", "rejected", "accepted"]
        assert receipts[1] == ingest.Receipt("bad", "rejected", "amount: must not be negative")
        assert EventKey.objects.count() == 2

    def test_the_same_id_of_two_sources_is_two_events(self, ledger: Ledger) -> None:
        (one,) = ledger.accept([amount_event("1", event_id="a")], source="one")
        (two,) = ledger.accept([amount_event("2", event_id="a")], source="two")

        assert (one.status, two.status) == ("accepted", "accepted")

    @pytest.mark.parametrize(("persona", "status"), [("mine", "accepted"), ("yours", "rejected"), (None, "rejected")])
    def test_a_bound_key_writes_only_for_its_personas(self, ledger: Ledger, persona: str | None, status: str) -> None:
        (receipt,) = ledger.accept([amount_event("1", persona_id=persona)], personas=["mine"])

        assert receipt.status == status

    @pytest.mark.django_db
    def test_old_events_are_refused_unless_history_is_imported(self) -> None:
        body = encode(amount_event("1", timestamp=NOW - timedelta(days=91)))

        (live,) = ingest.accept([body], source="s", at=NOW, using="default")
        (imported,) = ingest.accept([body], source="s", at=NOW, oldest=None, using="default")

        assert (live.status, imported.status) == ("rejected", "accepted")
        assert "import_usage" in live.detail


class TestDurability:
    @committed
    def test_a_cost_is_kept_when_the_callers_transaction_rolls_back(self) -> None:
        with transaction.atomic():
            ingest.track(amount_event("1", event_id="a"), at=NOW)
            transaction.set_rollback(True)

        assert EventKey.objects.filter(event_id="a").exists()
        assert InboxRow.objects.count() == 1

    @committed
    def test_tracking_returns_the_id_and_raises_for_what_is_refused(self) -> None:
        assert ingest.track(amount_event("1", event_id="a"), at=NOW) == "a"
        assert ingest.track(amount_event("1", event_id="a"), at=NOW) == "a"

        with pytest.raises(InvalidEvent, match="another body"):
            ingest.track(amount_event("2", event_id="a"), at=NOW)
        with pytest.raises(InvalidEvent, match="usage or amount"):
            ingest.track({"cost_type": "cdn"}, at=NOW)

    @committed
    def test_the_inbox_connection_is_not_the_callers(self) -> None:
        ingest.track(amount_event("1"), at=NOW)

        assert connections["inbox"].connection is not connections["default"].connection
