"""What posts brought: told once, kept for ever, counted exactly, by HTTP, task and engine alike."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import DataError, IntegrityError, InternalError, connection, connections, transaction
from django.test import Client
from django.urls import reverse

from costs import documentation, examples, outcomes, signals, threads
from costs.engine import ViralFinOpsEngine
from costs.events import InvalidEvent, encode
from costs.ingest import Receipt
from costs.models import HourlyOutcome, Outcome, OutcomeKind, OutcomeSums, PostOutcome, Scope
from costs.tasks import track_outcome
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller
from tests.servers import Server

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATH = "/outcomes"
committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


def follow(quantity: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"kind": "follow", "quantity": quantity, "post_id": "p", "persona_id": "a"} | fields


def revenue(amount: Any, **fields: Any) -> dict[str, Any]:
    return {"kind": "revenue", "amount": amount, "post_id": "p", "persona_id": "a"} | fields


def tell(*told: dict[str, Any], at: datetime = NOW, source: str = "default", **options: Any) -> list[Receipt]:
    """On the test's own connection."""
    return outcomes.accept([encode(each) for each in told], source=source, at=at, using="default", **options)


def statuses(receipts: list[Receipt]) -> list[str]:
    return [receipt.status for receipt in receipts]


def hourly(start: datetime = NOW - HOUR, end: datetime = NOW + HOUR) -> dict[tuple[str, OutcomeKind], OutcomeSums]:
    return HourlyOutcome.objects.sums(["a", "b"], start, end)


@pytest.fixture
def caller() -> Caller:
    return Caller.with_key()


@pytest.fixture(autouse=True)
def _threads_end_with_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("django_db"):
        # Their connections must be gone before the tables are emptied.
        request.getfixturevalue("db")
    yield
    threads.close_shared()


@pytest.mark.django_db
class TestCounting:
    def test_sums_are_kept_by_hour_and_by_post(self) -> None:
        tell(follow(2), follow(-1), follow(5, timestamp=NOW - HOUR), revenue("1.25"), revenue("-0.000000000001"))

        assert hourly(NOW.replace(minute=0)) == {
            ("a", OutcomeKind.FOLLOW): OutcomeSums(Decimal(1), Decimal(0), 2),
            ("a", OutcomeKind.REVENUE): OutcomeSums(Decimal(0), Decimal("1.249999999999"), 2),
        }
        assert PostOutcome.objects.get(kind="follow").quantity == 6
        assert not verify().drifts

    def test_a_repeat_counts_nothing_and_the_first_body_stands(self) -> None:
        tell(follow(1, event_id="a"))

        receipts = tell(follow(1, event_id="a"), follow(2, event_id="a"), follow(4, event_id="b"))

        assert statuses(receipts) == ["duplicate", "conflict", "accepted"]
        assert hourly()["a", OutcomeKind.FOLLOW] == OutcomeSums(Decimal(5), Decimal(0), 2)

    def test_repeats_within_one_request_are_judged_like_repeats_after_it(self) -> None:
        receipts = tell(*(follow(quantity, event_id="a") for quantity in (1, 1, 2)))

        assert statuses(receipts) == ["accepted", "duplicate", "conflict"]
        assert hourly()["a", OutcomeKind.FOLLOW].quantity == 1

    def test_the_same_id_of_two_sources_is_two_outcomes(self) -> None:
        tell(follow(1, event_id="a"), source="one")

        assert statuses(tell(follow(2, event_id="a"), source="two")) == ["accepted"]
        assert Outcome.objects.count() == 2

    def test_hours_are_half_open_and_those_of_utc(self) -> None:
        tell(follow(1, timestamp="2026-11-24T12:59:59+01:00"), follow(2, timestamp="2026-11-24T12:00:00Z"))

        noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
        assert hourly(noon - HOUR, noon)["a", OutcomeKind.FOLLOW].quantity == 1
        assert hourly(noon, noon + HOUR)["a", OutcomeKind.FOLLOW].quantity == 2

    def test_an_outcome_without_a_post_counts_for_its_persona_only(self) -> None:
        tell(follow(1, post_id=None))

        assert hourly()["a", OutcomeKind.FOLLOW].quantity == 1
        assert not PostOutcome.objects.exists()
        assert not verify().drifts


@pytest.mark.django_db
class TestThePersonaOfAPost:
    @pytest.mark.parametrize(
        ("personas", "found"),
        [(["a"], "a"), (["a", None], "a"), (["a", "b"], ""), ([None], ""), ([], "")],
        ids=str,
    )
    def test_is_taken_from_its_costs_where_they_name_exactly_one(
        self, ledger: Ledger, personas: list[str | None], found: str
    ) -> None:
        ledger.record(
            [
                amount_event("1", post_id="p", persona_id=name, cost_type=cost_type)
                for name in personas
                for cost_type in ("cdn", "storage")
            ]
        )

        tell(follow(1, persona_id=None))

        assert Outcome.objects.get().persona_id == found
        assert PostOutcome.objects.get().persona_id == found

    def test_a_retry_after_it_became_known_is_still_a_duplicate(self, ledger: Ledger) -> None:
        tell(follow(1, event_id="f", persona_id=None))
        ledger.record([amount_event("1", post_id="p", persona_id="a")])

        assert statuses(tell(follow(1, event_id="f", persona_id=None))) == ["duplicate"]

    def test_what_the_caller_says_comes_first(self, ledger: Ledger) -> None:
        ledger.record([amount_event("1", post_id="p", persona_id="a")])

        tell(follow(1, persona_id="b"))

        assert Outcome.objects.get().persona_id == "b"


class TestDigest:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (revenue("1.50"), revenue(Decimal("1.5"))),
            (revenue("1e2"), revenue(100)),
            (follow(0), follow("-0.000")),
            (follow(3), follow(3, event_id="an id is not part of it")),
            (follow(3, timestamp="2026-11-24T12:00:00Z"), follow(3, timestamp="2026-11-24T13:00:00+01:00")),
            (follow(3), follow(3, amount=None)),
        ],
    )
    def test_an_honest_retry_is_the_same_however_it_is_spelled(
        self, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        assert outcomes.digest(outcomes.parse(encode(one))) == outcomes.digest(outcomes.parse(encode(other)))

    @pytest.mark.parametrize(
        "other",
        [
            follow(2),
            follow(1, persona_id="b"),
            follow(1, post_id="q"),
            follow(1, kind="engagement"),
            follow(1, amount=0),
        ],
    )
    def test_another_body_has_another_digest(self, other: dict[str, Any]) -> None:
        assert outcomes.digest(outcomes.parse(encode(other))) != outcomes.digest(outcomes.parse(encode(follow(1))))


@pytest.mark.django_db
class TestRefusal:
    @pytest.mark.parametrize(
        ("told", "sentence"),
        [
            (follow(kind="like"), "kind: must be one of follow, engagement, revenue"),
            ({"post_id": "p"}, "kind: is required"),
            (follow(None), "quantity: is required for follow"),
            (follow(None, kind="engagement", amount=1), "quantity: is required for engagement"),
            (revenue(None, quantity=1), "amount: is required for revenue"),
            (follow(True), "quantity: must be a decimal number, or a string that holds one"),
            (follow("many"), "quantity: must be a decimal number, or a string that holds one"),
            (follow("NaN"), "quantity: must be a decimal number, or a string that holds one"),
            (revenue("Infinity"), "amount: must be a decimal number, or a string that holds one"),
            (revenue({"usd": 1}), "amount: must be a decimal number, or a string that holds one"),
            (follow(10**12), "quantity: must lie between -1000000000000 and 1000000000000, both excluded"),
            (revenue(-(10**9)), "amount: must lie between -1000000000 and 1000000000, both excluded"),
            (revenue("1e999"), "amount: must lie between -1000000000 and 1000000000, both excluded"),
            (revenue("0.0000000000001"), "amount: at most 12 decimals"),
            (follow(post_id="a\x00b"), "text must not contain the NUL character"),
            (follow(post_id="x/summary"), "post_id: must not end in /summary, which is the path of a post's summary"),
            (follow(post_id=None, persona_id=""), "post_id or persona_id: one of them is required"),
            (follow(color="red"), "color: is no field of an outcome"),
            (follow(post_id="x" * 256), "post_id: Expected `str` of length <= 255"),
            (follow(persona_id="x" * 101), "persona_id: Expected `str` of length <= 100"),
            (follow(timestamp=NOW + timedelta(minutes=11)), "timestamp: lies more than 10 minutes in the future"),
            (follow(timestamp=NOW - timedelta(days=91)), "timestamp: lies more than 90 days back"),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_says_where_and_why(self, told: dict[str, Any], sentence: str) -> None:
        receipts = tell(told | {"event_id": "bad"}, follow(event_id="good"))

        assert receipts == [Receipt("bad", "rejected", sentence), Receipt("good", "accepted")]
        assert Outcome.objects.get().event_id == "good"

    @pytest.mark.parametrize(
        "told",
        [
            follow("999999999999.999999999999"),
            follow("-999999999999.999999999999", kind="engagement"),
            revenue("999999999.999999999999"),
            revenue("-999999999.999999999999"),
            follow(0),
            follow(timestamp=NOW + timedelta(minutes=10)),
            follow(timestamp=NOW - timedelta(days=90)),
            follow(post_id="p" * 255, persona_id="💸" * 100, event_id="e" * 255),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_what_just_fits_is_taken_digit_by_digit(self, told: dict[str, Any]) -> None:
        assert statuses(tell(told)) == ["accepted"]

        kept = Outcome.objects.get()
        number = kept.amount if told["kind"] == "revenue" else kept.quantity
        assert number == Decimal(str(told.get("amount", told.get("quantity"))))
        assert not verify().drifts

    @pytest.mark.parametrize(("persona", "status"), [("mine", "accepted"), ("yours", "rejected"), (None, "rejected")])
    def test_a_bound_key_writes_only_for_its_personas(self, ledger: Ledger, persona: str | None, status: str) -> None:
        ledger.record([amount_event("1", post_id="p", persona_id="mine")])

        assert statuses(tell(follow(persona_id=persona), personas=["mine"])) == [status]


@pytest.mark.django_db
class TestTheTable:
    @pytest.mark.parametrize(
        "statement",
        ["UPDATE costs_outcome SET quantity = 0", "DELETE FROM costs_outcome", "TRUNCATE costs_outcome"],
    )
    def test_is_append_only(self, statement: str) -> None:
        tell(follow(1))

        with pytest.raises((IntegrityError, InternalError), match="append-only"), transaction.atomic():
            run(statement)

        assert Outcome.objects.get().quantity == 1

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("quantity", "'NaN'"),
            ("quantity", "'Infinity'"),
            ("quantity", "NULL"),
            ("amount", "'NaN'"),
            ("kind", "'like'"),
        ],
    )
    def test_refuses_what_the_parser_would(self, column: str, value: str) -> None:
        tell(follow(1))
        names = ("source", "digest", "timestamp", "created_at", "post_id", "persona_id", "kind", "quantity", "amount")
        copied = ", ".join(value if name == column else name for name in names)

        with pytest.raises((IntegrityError, DataError)), transaction.atomic():
            run(f"INSERT INTO costs_outcome (event_id, {', '.join(names)}) SELECT 'other', {copied} FROM costs_outcome")

    @pytest.mark.parametrize(
        ("statement", "told"),
        [
            ("UPDATE costs_postoutcome SET quantity = quantity + 1", "costs_postoutcome p/a/follow: quantity 2"),
            (
                "DELETE FROM costs_hourlyoutcome",
                "costs_hourlyoutcome a/2026-11-24 12:00:00+00:00/follow: quantity None",
            ),
        ],
    )
    def test_verify_ledger_names_a_sum_that_drifted(
        self, statement: str, told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tell(follow(1))
        run(statement)

        with pytest.raises(CommandError, match="differ from the ledger"):
            call_command("verify_ledger")

        printed = capsys.readouterr().err
        assert told in printed
        assert "the outcomes say 1" in printed


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


class TestDurability:
    @committed
    def test_an_outcome_is_kept_when_the_callers_transaction_rolls_back(self) -> None:
        with transaction.atomic():
            outcomes.track(follow(1, event_id="f"), at=NOW)
            transaction.set_rollback(True)

        assert Outcome.objects.filter(event_id="f").exists()

    @committed
    def test_a_python_caller_waits_while_postgres_is_away_for_a_moment(self, running_postgres: Server) -> None:
        connections.close_all()
        running_postgres.stop()
        back = threading.Timer(1.5, running_postgres.start)
        back.start()

        try:
            tracked = outcomes.track(follow(1), at=NOW)
        finally:
            back.join()

        assert Outcome.objects.get().event_id == tracked

    @committed
    def test_four_clients_that_send_the_same_outcomes_are_counted_once(self) -> None:
        told = [
            follow(2, event_id=f"f-{number}", persona_id="ab"[number % 2], post_id=f"p-{number % 7}")
            for number in range(200)
        ]
        start = threading.Barrier(4)

        def send(number: int) -> list[str]:
            bodies = [encode(each) for each in (told if number % 2 else told[::-1])]
            try:
                start.wait(timeout=10)
                return statuses(outcomes.accept(bodies, source="s", at=NOW))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            answers = [answer for sent in pool.map(send, range(4)) for answer in sent]

        assert (answers.count("accepted"), answers.count("duplicate")) == (200, 600)
        assert {sums.quantity for sums in hourly().values()} == {Decimal(200)}
        assert not verify().drifts

    @committed
    def test_clients_that_share_hours_and_posts_never_deadlock(self) -> None:
        start = threading.Barrier(4)

        def send(number: int) -> list[str]:
            found = []
            try:
                start.wait(timeout=10)
                for turn in range(20):
                    told = [
                        follow(
                            1,
                            persona_id="ab"[(each + number) % 2],
                            post_id=f"p-{(each * 3 + number) % 10}",
                            timestamp=NOW - HOUR * ((each + turn) % 5),
                        )
                        for each in range(20)
                    ]
                    found += statuses(outcomes.accept([encode(each) for each in told], source=f"s{number}", at=NOW))
            finally:
                connections.close_all()
            return found

        with ThreadPoolExecutor(4) as pool:
            answers = [answer for sent in pool.map(send, range(4)) for answer in sent]

        assert answers == ["accepted"] * 1600
        assert sum(sums.outcomes for sums in hourly(NOW - 6 * HOUR).values()) == 1600
        assert not verify().drifts


class TestWhoIsTold:
    @committed
    def test_each_touched_hour_of_a_persona_is_told_once_after_the_commit(self, told: list[dict[str, Any]]) -> None:
        outcomes.track(follow(1), at=NOW)
        outcomes.accept(
            [
                encode(each)
                for each in (follow(1, event_id="b", persona_id="b"), follow(1), follow(2, timestamp=NOW - HOUR))
            ],
            source="s",
            at=NOW,
        )

        noon = NOW.replace(minute=0)
        assert [each["touched"] for each in told] == [
            [("a", noon)],
            [("a", noon - HOUR), ("a", noon), ("b", noon)],
        ]
        assert {each["at"] for each in told} == {NOW}
        assert told[1]["seen"] == 4

    @committed
    def test_duplicates_and_refusals_wake_nobody(self, told: list[dict[str, Any]]) -> None:
        for each in (follow(1, event_id="f"), follow(1, event_id="f"), follow(2, event_id="f"), follow(None)):
            outcomes.accept([encode(each)], source="s", at=NOW)

        assert len(told) == 1

    @committed
    def test_a_receiver_that_fails_does_not_undo_what_was_accepted(self) -> None:
        def broken(**_: Any) -> None:
            raise RuntimeError

        signals.outcomes_recorded.connect(broken)
        try:
            assert outcomes.track(follow(1, event_id="f"), at=NOW) == "f"
        finally:
            signals.outcomes_recorded.disconnect(broken)

        assert Outcome.objects.exists()

    @pytest.fixture
    def told(self) -> Iterator[list[dict[str, Any]]]:
        heard: list[dict[str, Any]] = []

        def listen(*, touched: object, at: datetime, **_: Any) -> None:
            heard.append({"touched": touched, "at": at, "seen": Outcome.objects.count()})

        signals.outcomes_recorded.connect(listen)
        yield heard
        signals.outcomes_recorded.disconnect(listen)


@committed
class TestHttp:
    def test_every_outcome_of_a_batch_has_its_own_result_in_order(self, caller: Caller) -> None:
        good, bad = follow(1, event_id="a"), revenue(None, event_id="b")

        status, body = caller.post(PATH, {"outcomes": [good, bad, good, follow(2, event_id="a"), 7]})

        assert status == 202
        assert [result["status"] for result in body["results"]] == [
            *("accepted", "rejected", "duplicate", "conflict", "rejected")
        ]
        assert body["results"][1]["detail"] == "amount: is required for revenue"
        assert Outcome.objects.get().source == "default"

    @pytest.mark.parametrize(
        ("told", "status"),
        [
            (follow(1, event_id="new"), 202),
            (follow(1, event_id="known"), 200),
            (follow(2, event_id="known"), 409),
            (follow(None), 422),
        ],
    )
    def test_a_single_outcome_is_answered_by_its_own_status(
        self, caller: Caller, told: dict[str, Any], status: int
    ) -> None:
        caller.post(PATH, follow(1, event_id="known"))

        assert caller.post(PATH, told)[0] == status

    def test_an_outcome_without_id_gets_one(self, caller: Caller) -> None:
        status, body = caller.post(PATH, follow(1))

        assert status == 202
        assert body["event_id"] == Outcome.objects.get().event_id

    @pytest.mark.parametrize(("size", "status"), [(0, 202), (1000, 202), (1001, 413)])
    def test_a_request_holds_at_most_a_thousand(self, caller: Caller, size: int, status: int) -> None:
        assert caller.post(PATH, {"outcomes": [follow(1)] * size})[0] == status
        assert Outcome.objects.count() == (size if status == 202 else 0)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b" ", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'"\xff"', 400),
            (b'{"outcomes": 1}', 422),
            (b'{"outcomes": null}', 422),
            (b'{"outcomes": [], "dry_run": true}', 422),
            (b'{"events": []}', 422),
            (b'{"outcomes": [{"kind": "follow", "post_id": "p", "quantity": NaN}]}', 400),
            (b'{"kind": "revenue", "post_id": "p", "amount": NaN}', 400),
            (b'{"kind": "revenue", "post_id": "p", "amount": Infinity}', 400),
            (b'{"kind": "revenue", "post_id": "p", "amount": 1e400}', 422),
            (b'{"kind": "follow", "quantity": ' + b"9" * 5000 + b', "post_id": "p"}', 422),
            (b'{"kind": "follow", "quantity": 1, "post_id": "\\u0000"}', 422),
            (b'{"kind": "follow", "quantity": 1, "post_id": "\\ud800"}', 400),
            (b'{"kind": "follow", "quantity": 1, "post_id": "\xff"}', 422),
            (b'{"kind": "follow", "quantity": 1, "post_id": "p", "timestamp": "2026-11-24T12:00:00"}', 422),
            (b'{"kind": "follow", "quantity": 1, "post_id": "p", "timestamp": "0001-01-01T00:00:00Z"}', 422),
            (b'{"kind": "follow", "quantity": 1, "post_id": "p", "timestamp": "9999-12-31T23:59:59Z"}', 422),
            (b'{"kind": "follow", "quantity": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_bad_input_is_answered_with_a_sentence_and_never_stored(
        self, caller: Caller, body: bytes, status: int
    ) -> None:
        got, problem = caller.post(PATH, body)

        assert got == status
        assert problem["detail"]
        assert not Outcome.objects.exists()

    def test_another_media_type_is_refused(self, caller: Caller) -> None:
        assert caller.post(PATH, b"a=1", content_type="application/x-www-form-urlencoded")[0] == 415

    def test_the_keys_source_is_the_namespace_of_the_ids(self) -> None:
        one, two = Caller.with_key(source="one"), Caller.with_key(source="two")

        assert one.post(PATH, follow(1, event_id="a"))[0] == 202
        assert two.post(PATH, follow(2, event_id="a"))[0] == 202

    def test_a_bound_key_writes_only_for_its_personas(self) -> None:
        bound = Caller.with_key(personas=["mine"])

        assert bound.post(PATH, follow(1, persona_id="mine"))[0] == 202
        assert bound.post(PATH, follow(1, persona_id="yours"))[0] == 422

    def test_reading_does_not_allow_writing(self) -> None:
        status, problem = Caller.with_key(scopes=[Scope.COSTS_READ]).post(PATH, follow(1))

        assert status == 403
        assert "events:write" in problem["detail"]

    @pytest.mark.parametrize("example", [examples.OUTCOME, examples.REVENUE])
    def test_the_documented_examples_are_accepted(self, caller: Caller, example: dict[str, Any]) -> None:
        moment = datetime.now(UTC)

        assert caller.post(PATH, example | {"timestamp": moment})[0] == 202
        assert set(example) <= set(documentation.OUTCOME["properties"])


class TestPython:
    @committed
    def test_the_task_is_durable_when_delay_returns(self) -> None:
        result = track_outcome.delay(**follow(1, event_id="f"))

        assert result.id == "f"
        assert Outcome.objects.get().event_id == "f"

    @committed
    def test_the_task_raises_for_what_is_refused(self) -> None:
        track_outcome.delay(**follow(1, event_id="f"))

        with pytest.raises(InvalidEvent, match="another body"):
            track_outcome.delay(**follow(2, event_id="f"))
        with pytest.raises(InvalidEvent, match="quantity: is required"):
            track_outcome.delay(kind="follow", post_id="p")
        with pytest.raises(ValueError, match="track_outcome takes no eta"):
            track_outcome.apply_async(kwargs=follow(1), countdown=5)
        with pytest.raises(TypeError, match="keyword arguments only"):
            track_outcome.delay("follow")

    @committed
    def test_a_message_that_is_delivered_twice_counts_once(self) -> None:
        for _ in range(2):
            track_outcome.apply(kwargs=follow(1), task_id="the-message")

        assert Outcome.objects.get().event_id == "the-message"

    @committed
    def test_the_engine_tells_them_too(self) -> None:
        engine = ViralFinOpsEngine()

        tracked = asyncio.run(engine.track_outcome("revenue", amount=0.1, post_id="p", event_id="r"))
        engine.track_outcome_sync("follow", quantity=3, post_id="p", persona_id="a")

        assert tracked == {"event_id": "r", "kind": "revenue"}
        assert Outcome.objects.get(event_id="r").amount == Decimal("0.1")
        assert PostOutcome.objects.get(kind="follow").quantity == 3

    @committed
    def test_the_engine_says_what_is_no_number(self) -> None:
        with pytest.raises(InvalidEvent, match="quantity: must be a number, not 'many'"):
            ViralFinOpsEngine().track_outcome_sync("follow", quantity="many", post_id="p")


@pytest.mark.skipif(not admin.site.is_registered(Outcome), reason="costs.admin does not import its outcomes yet.")
@pytest.mark.django_db
class TestAdmin:
    LISTING = "admin:costs_outcome_changelist"

    def test_lists_filters_and_finds(self, admin_client: Client) -> None:
        tell(follow(3, event_id="three"), revenue("-1.5", event_id="refund", post_id="q"))

        page = admin_client.get(reverse(self.LISTING)).content.decode()
        assert "three" in page
        assert "-$1.5" in page
        for asked, found in (({"kind": "follow"}, 1), ({"q": "q"}, 1), ({"q": "a"}, 2), ({"q": "refund"}, 1)):
            assert admin_client.get(reverse(self.LISTING), asked).context["cl"].result_count == found

    def test_nobody_changes_an_outcome(self, admin_client: Client) -> None:
        tell(follow(3))
        pk = Outcome.objects.get().pk

        assert admin_client.get(reverse("admin:costs_outcome_change", args=[pk])).status_code == 200
        for action in ("change", "delete"):
            assert (
                admin_client.post(reverse(f"admin:costs_outcome_{action}", args=[pk]), {"post": "yes"}).status_code
                == 403
            )
        assert admin_client.get(reverse("admin:costs_outcome_add")).status_code == 403
