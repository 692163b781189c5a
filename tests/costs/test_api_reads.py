"""Reading over HTTP: exact numbers, half-open periods, and nothing of anybody else."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from costs.rendering import encode
from finops_project.express import ExpressLane
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.http import Caller

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller.with_key()


class TestRendering:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Decimal("0.023400000000"), b"0.0234"),
            (Decimal("0.000000450000"), b"0.00000045"),
            (Decimal("1E+3"), b"1000"),
            (Decimal("0E-12"), b"0"),
            (Decimal("-0.5"), b"-0.5"),
            (Decimal("123456789012345678901234567890.12345"), b"123456789012345678901234567890.12345"),
            (Decimal("123456789.123456789012"), b"123456789.123456789012"),
            (datetime(2026, 11, 24, 13, tzinfo=UTC), b'"2026-11-24T13:00:00Z"'),
            ([{"a": (Decimal("1.10"),)}], b'[{"a":[1.1]}]'),
        ],
    )
    def test_numbers_are_plain_and_times_end_in_z(self, value: object, text: bytes) -> None:
        assert encode(value) == text


class TestPosts:
    def test_a_post_is_read_back_to_the_last_digit(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record([amount_event("0.000000000001", post_id="a/b c"), usage_event(post_id="a/b c")])

        status, body = caller.get("/costs/post/a/b%20c")

        assert (status, body["total_cost"]) == (200, Decimal("0.007500000001"))
        assert caller.get("/costs/post/a/b%20c/summary")[1]["primary_cost_type"] == "openai_api"

    @pytest.mark.parametrize("path", ["/costs/post/nobody", "/costs/post/nobody/summary", "/costs/post/%00"])
    def test_an_unknown_post_is_a_404_with_a_sentence(self, caller: Caller, path: str) -> None:
        status, problem = caller.get(path)

        assert status == 404
        assert problem["detail"]

    # The lane looks after connections itself, and would end the one of a test's transaction.
    @pytest.mark.django_db(transaction=True)
    def test_a_summary_is_the_same_on_the_express_lane(self, caller: Caller, ledger: Ledger) -> None:
        known = ["a/b c", "ü", "%"]
        ledger.record([amount_event("0.5", post_id=post_id) for post_id in known])
        paths = [f"/costs/post/{quote(post_id)}/summary" for post_id in [*known, "nobody", "bro\0ken"]]
        asked = [(path, Caller(secret)) for path in paths for secret in (caller.secret, "nobody's", None)]

        answers = [on_the_express_lane(path, each.secret) for path, each in asked]

        assert answers == [each.get(path) for path, each in asked]
        assert [status for status, _ in answers] == [200, 401, 401] * len(known) + [404, 401, 401] * 2

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(("sent", "is_answered"), [("http", False), ("https", True)])
    def test_plain_http_is_left_to_django_where_it_is_sent_on_to_https(
        self, settings: Settings, sent: str, is_answered: bool
    ) -> None:
        settings.SECURE_SSL_REDIRECT, settings.SECURE_PROXY_SSL_HEADER = True, ("HTTP_X_FORWARDED_PROTO", "https")
        request, left = RequestFactory().get("/costs/post/p/summary", headers={"X-Forwarded-Proto": sent}), list[str]()
        lane = ExpressLane(lambda environ, start: [left.append(environ["PATH_INFO"]) or b""])  # type: ignore[func-returns-value]

        lane(request.environ, lambda status, *_: None)  # type: ignore[arg-type]

        assert left == ([] if is_answered else ["/costs/post/p/summary"])

    def test_a_cursor_that_no_answer_gave_is_refused(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record([amount_event("1", post_id="p")])

        assert caller.get("/costs/post/p", cursor="soon")[0] == 422

    def test_an_event_is_explained_with_its_formula(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record([usage_event(event_id="call/1")])

        status, body = caller.get("/costs/events/call/1/explain")

        assert status == 200
        assert body["price"]["formula"] == "1000 x $2.5/M + 500 x $10/M"
        assert body["amount"] == Decimal("0.0075")


class TestBreakdown:
    def test_groups_add_up_to_the_total(self, caller: Caller, ledger: Ledger) -> None:
        ledger.record(
            [
                amount_event("1", persona_id="a", timestamp=NOW),
                amount_event("2", persona_id="b", timestamp=NOW),
                amount_event("4", timestamp=NOW - timedelta(days=1)),
            ]
        )

        status, body = caller.get(
            "/costs/breakdown", start_date="2026-11-24", end_date="2026-11-24", group_by="persona_id"
        )

        assert (status, body["total_cost"]) == (200, 3)
        assert body["groups"] == [
            {"key": {"persona_id": "b"}, "cost": 2, "events": 1},
            {"key": {"persona_id": "a"}, "cost": 1, "events": 1},
        ]

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({"end_date": "2026-11-24"}, "start_date"),
            ({"start_date": "2026-11-24"}, "end_date"),
            ({"start_date": "soon", "end_date": "2026-11-24"}, "start_date"),
            ({"start_date": "2026-11-24T00:00:00", "end_date": "2026-11-24"}, "start_date"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-23"}, "end_date"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-24", "group_by": "colour"}, "group_by"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-24", "timezone": "Mars"}, "timezone"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-24", "persona": "a"}, "persona"),
        ],
    )
    def test_a_question_without_an_answer_is_refused(
        self, caller: Caller, parameters: dict[str, str], field: str
    ) -> None:
        status, problem = caller.get("/costs/breakdown", **parameters)

        assert status == 422
        assert problem["errors"][0]["path"] == field


class TestForeignPersonas:
    @pytest.fixture(autouse=True)
    def _lines(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", persona_id="yours", post_id="theirs", event_id="call-1", timestamp=NOW)])

    @pytest.mark.parametrize(
        ("present", "absent"),
        [
            ("/costs/post/theirs", "/costs/post/nobodys"),
            ("/costs/post/theirs/summary", "/costs/post/nobodys/summary"),
            ("/costs/events/call-1/explain", "/costs/events/call-2/explain"),
        ],
    )
    def test_what_belongs_to_others_is_answered_as_if_it_were_absent(self, present: str, absent: str) -> None:
        mine, yours = Caller.with_key(personas=["mine"]), Caller.with_key(personas=["yours"])

        assert yours.get(present)[0] == 200
        status, problem = mine.get(present)
        other, same = mine.get(absent)
        assert (status, other) == (404, 404)
        assert problem | {"detail": ""} == same | {"detail": ""}

    def test_a_breakdown_covers_only_the_keys_personas(self) -> None:
        mine = Caller.with_key(personas=["mine"])

        _, body = mine.get("/costs/breakdown", start_date="2026-11-24", end_date="2026-11-24")
        _, asked = mine.get("/costs/breakdown", start_date="2026-11-24", end_date="2026-11-24", persona_id="yours")

        assert (body["total_cost"], body["groups"], asked["total_cost"]) == (0, [], 0)


def on_the_express_lane(path: str, secret: str | None) -> tuple[int, Any]:
    """What is answered before Django's handler sees the request."""
    lane, statuses = ExpressLane(lambda environ, start: pytest.fail("it went on to Django")), list[str]()
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    # As a web server says it, and Django's own request no more.
    environ = RequestFactory().get(path, headers=headers).environ | {"PATH_INFO": unquote(path, "latin-1")}
    body = b"".join(lane(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type]
    return int(statuses[0].split()[0]), json.loads(body, parse_float=Decimal)
