"""POST /costs/events: what is accepted is durable, what is refused gets a sentence, nothing is half stored."""

import json
from typing import Any

import pytest

from costs.models import EventKey, InboxRow, Scope
from tests.costs.conftest import amount_event, usage_event
from tests.costs.http import Caller

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
PATH = "/costs/events"


@pytest.fixture
def caller() -> Caller:
    return Caller.with_key()


class TestBatches:
    def test_every_event_has_its_own_result_in_order(self, caller: Caller) -> None:
        good, bad = amount_event("1", event_id="a"), amount_event("-1", event_id="b")

        status, body = caller.post(PATH, {"events": [good, bad, good, amount_event("2", event_id="a"), 7]})

        assert status == 202
        assert [result["status"] for result in body["results"]] == [
            *("accepted", "rejected", "duplicate", "conflict", "rejected")
        ]
        assert body["results"][1] == {"event_id": "b", "status": "rejected", "detail": "amount: must not be negative"}
        assert InboxRow.objects.get().event_count == 1

    def test_an_empty_batch_is_fine(self, caller: Caller) -> None:
        assert caller.post(PATH, {"events": []}) == (202, {"results": []})

    @pytest.mark.parametrize(("size", "status"), [(1000, 202), (1001, 413)])
    def test_a_request_holds_at_most_a_thousand_events(self, caller: Caller, size: int, status: int) -> None:
        got, _ = caller.post(PATH, {"events": [amount_event("1", event_id=str(number)) for number in range(size)]})

        assert got == status
        assert EventKey.objects.count() == (1000 if status == 202 else 0)

    def test_a_batch_that_holds_more_than_events_is_refused_whole(self, caller: Caller) -> None:
        status, body = caller.post(PATH, {"events": [amount_event("1")], "dry_run": True})

        assert (status, body["errors"]) == (422, [{"path": "dry_run", "detail": "is no field beside events"}])
        assert not EventKey.objects.exists()


class TestOneEvent:
    @pytest.mark.parametrize(
        ("event", "status"),
        [
            (amount_event("1", event_id="new"), 202),
            (amount_event("1", event_id="known"), 200),
            (amount_event("2", event_id="known"), 409),
            (amount_event("-1"), 422),
        ],
    )
    def test_its_fate_is_the_status(self, caller: Caller, event: dict[str, Any], status: int) -> None:
        caller.post(PATH, amount_event("1", event_id="known"))

        assert caller.post(PATH, event)[0] == status

    def test_a_refusal_names_path_and_reason(self, caller: Caller) -> None:
        status, body = caller.post(PATH, usage_event(usage={"input_tokens": -5}))

        assert status == 422
        assert body["title"] == "Unprocessable Entity"
        assert body["errors"][0]["path"] == "usage.input_tokens"
        assert caller.headers["Content-Type"] == "application/problem+json"


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b" ", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'"\xff"', 400),
            (b'{"events": 1}', 422),
            (b'{"events": null}', 422),
            (b'{"events": [{"cost_type": "cdn", "amount": NaN}]}', 400),
            (b'{"cost_type": "cdn", "amount": NaN}', 400),
            (b'{"cost_type": "cdn", "amount": 1e400}', 422),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "\\u0000"}', 422),
            (b'{"cost_type": "cdn", "amount": 1, "post_id": "\\ud800"}', 400),
            (b'{"events": [{"cost_type": "cdn", "amount": 1, "post_id": "\\ud800"}]}', 400),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": "2026-11-24T12:00:00"}', 422),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": "0001-01-01T00:00:00Z"}', 422),
            (b'{"cost_type": "cdn", "amount": 1, "timestamp": "9999-12-31T23:59:59Z"}', 422),
            (b'{"cost_type": "cdn", "metadata": ' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}", 400),
            (b"[" * 100_000, 400),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_is_answered_with_a_sentence_and_never_stored(self, caller: Caller, body: bytes, status: int) -> None:
        got, problem = caller.post(PATH, body)

        assert got == status
        assert problem["detail"]
        assert not EventKey.objects.exists()

    def test_another_media_type_is_refused(self, caller: Caller) -> None:
        assert caller.post(PATH, b"a=1", content_type="application/x-www-form-urlencoded")[0] == 415

    def test_a_body_of_ten_megabytes_is_refused(self, caller: Caller) -> None:
        status, problem = caller.post(PATH, b'{"events": [' + b" " * 10_000_000 + b"]}")

        assert status == 413
        assert "larger than the limit" in problem["detail"]

    def test_text_of_four_bytes_survives(self, caller: Caller) -> None:
        event = json.dumps(amount_event("1", event_id="💸"), ensure_ascii=False).encode()

        assert caller.post(PATH, event)[1]["event_id"] == "💸"

    @pytest.mark.parametrize("field", [b"event_id", b"post_id"])
    def test_bytes_that_are_no_text_refuse_their_own_event_only(self, caller: Caller, field: bytes) -> None:
        bad = b'{"cost_type": "cdn", "amount": 1, "' + field + b'": "\xff"}'

        status, body = caller.post(PATH, b'{"events": [{"cost_type": "cdn", "amount": 1}, ' + bad + b"]}")

        assert (status, [result["status"] for result in body["results"]]) == (202, ["accepted", "rejected"])
        assert caller.post(PATH, bad)[0] == 422


class TestKeys:
    def test_the_keys_source_is_the_namespace_of_the_ids(self) -> None:
        one, two = Caller.with_key(source="one"), Caller.with_key(source="two")

        assert one.post(PATH, amount_event("1", event_id="a"))[0] == 202
        assert two.post(PATH, amount_event("2", event_id="a"))[0] == 202

    def test_a_bound_key_writes_only_for_its_personas(self) -> None:
        bound = Caller.with_key(personas=["mine"])

        assert bound.post(PATH, amount_event("1", persona_id="mine"))[0] == 202
        assert bound.post(PATH, amount_event("1", persona_id="yours"))[0] == 422

    def test_reading_does_not_allow_writing(self) -> None:
        status, problem = Caller.with_key(scopes=[Scope.COSTS_READ]).post(PATH, amount_event("1"))

        assert status == 403
        assert "events:write" in problem["detail"]
