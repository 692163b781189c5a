"""What a post cost, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costs import attribution
from costs.attribution import Target, accuracy_of, confidence_of, explain, post_breakdown, post_summary, rating_of
from costs.models import CostEvent, PriceRate
from costs.periods import InvalidQuery
from costs.reprice import reprice_unpriced
from tests.costs.conftest import Ledger, amount_event, usage_event

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def example_events() -> list[dict[str, Any]]:
    """The four events behind the specification's example response."""
    post = {"post_id": "demo_post_001", "timestamp": "2025-08-03T12:30:45Z"}
    hook = usage_event(amount="0.0125", operation="hook_generation", provider=None, **post)
    second = amount_event(
        "0.0050", cost_type="openai_api", model="gpt-4o", correlation_id="c-1", request_id="r-1", **post
    )
    compute = amount_event("0.0045", cost_type="kubernetes", operation="render", correlation_id="c-1", **post)
    search = amount_event("0.0014", cost_type="vector_db", operation="search", correlation_id="c-1", **post)
    return [hook, second, compute, search]


def found(post_id: str, personas: list[str] | None = None, cursor: str | None = None) -> dict[str, Any]:
    answer = post_breakdown(post_id, personas=personas, cursor=cursor)
    assert answer is not None
    return answer


def book_without_a_price(ledger: Ledger, event_id: str = "call-1") -> None:
    ledger.record([usage_event(event_id=event_id, post_id="p1", provider="acme", model="acme-1", timestamp=NOON)])


def give_acme_a_price() -> None:
    for bucket, dollars in (("input_tokens", 2), ("output_tokens", 4)):
        PriceRate.objects.create(
            kind="contract",
            model="acme-1",
            bucket=bucket,
            unit_price=Decimal(dollars),
            per=1_000_000,
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        )


def test_the_specified_example_comes_out_as_specified(ledger: Ledger) -> None:
    ledger.record(example_events())

    answer = found("demo_post_001")

    assert answer["total_cost"] == Decimal("0.0234")
    assert list(answer["cost_breakdown"].items()) == [
        ("openai_api", Decimal("0.0175")),
        ("kubernetes", Decimal("0.0045")),
        ("vector_db", Decimal("0.0014")),
    ]
    assert answer["accuracy_score"] == Decimal("0.97")
    assert answer["accuracy_details"]["total_events"] == 4
    assert answer["accuracy_details"]["high_confidence_events"] == 4
    assert {
        "event_timestamp": datetime(2025, 8, 3, 12, 30, 45, tzinfo=UTC),
        "factors": ["correlation_id", "request_id", "model_specified"],
        "confidence": Decimal("0.98"),
    } in answer["accuracy_details"]["confidence_factors"]
    assert {
        "timestamp": datetime(2025, 8, 3, 12, 30, 45, tzinfo=UTC),
        "cost_type": "openai_api",
        "cost_amount": Decimal("0.0125"),
        "metadata": {"model": "gpt-4o", "operation": "hook_generation", "input_tokens": 1000, "output_tokens": 500},
    } in answer["audit_trail"]


def test_the_specified_summary_comes_out_as_specified(ledger: Ledger) -> None:
    ledger.record(example_events())

    assert post_summary("demo_post_001") == {
        "post_id": "demo_post_001",
        "total_cost": Decimal("0.0234"),
        "primary_cost_type": "openai_api",
        "cost_efficiency_rating": "poor",
        "over_alert_threshold": False,
    }


@pytest.mark.parametrize(("factors", "confidence"), [(0, "0.95"), (2, "0.97"), (4, "0.99")])
def test_every_factor_adds_a_hundredth_of_confidence(factors: int, confidence: str) -> None:
    assert confidence_of(factors) == Decimal(confidence)


@pytest.mark.parametrize(
    ("events", "factors", "score"), [(0, 0, "0.95"), (1, 2, "0.97"), (2, 5, "0.97"), (3, 8, "0.97"), (3, 9, "0.98")]
)
def test_the_score_is_the_mean_cut_to_two_decimals(events: int, factors: int, score: str) -> None:
    assert accuracy_of(events, factors) == Decimal(score)


@pytest.mark.parametrize(
    ("total", "rating"),
    [("0", "excellent"), ("0.01", "excellent"), ("0.010000000001", "good"), ("0.02", "good"), ("0.0234", "poor")],
)
def test_the_rating_compares_with_half_the_target_and_the_target(total: str, rating: str) -> None:
    assert rating_of(Decimal(total), Decimal("0.02")) == rating


@pytest.mark.parametrize(("total", "is_over"), [("0.04", False), ("0.040000000001", True)])
def test_the_alert_begins_above_twice_the_target(ledger: Ledger, total: str, is_over: bool) -> None:
    ledger.record([amount_event(total, post_id="p1")])

    summary = post_summary("p1", target=Target(Decimal("0.02"), Decimal(2)))

    assert summary is not None
    assert summary["over_alert_threshold"] is is_over


def test_the_dearest_type_is_the_primary_one_and_ties_go_by_name(ledger: Ledger) -> None:
    ledger.record([amount_event("1", cost_type=name, post_id="p1") for name in ("storage", "cdn")])

    summary = post_summary("p1")

    assert summary is not None
    assert summary["primary_cost_type"] == "cdn"


@pytest.mark.parametrize("post_id", ["unknown", "", "with\0nul", "x" * 256])
def test_an_unknown_post_is_none(db: None, post_id: str) -> None:
    assert post_breakdown(post_id) is None
    assert post_summary(post_id) is None
    assert attribution.post_total(post_id) == 0


def test_a_post_whose_events_all_wait_costs_nothing_yet_and_says_how_many_wait(ledger: Ledger) -> None:
    ledger.accept([amount_event("1", post_id="p1"), amount_event("2", post_id="p1"), amount_event("4", post_id="p2")])

    answer = found("p1")

    assert (answer["total_cost"], answer["pending_events"], answer["audit_trail"]) == (0, 2, [])
    assert answer["accuracy_score"] == Decimal("0.95")


def test_nothing_is_pending_once_it_is_booked(ledger: Ledger) -> None:
    ledger.record([amount_event("1", post_id="p1")])

    assert found("p1")["pending_events"] == 0


def test_an_unpriced_event_is_null_in_the_trail_and_counted(ledger: Ledger) -> None:
    book_without_a_price(ledger)

    answer = found("p1")

    assert answer["audit_trail"][0]["cost_amount"] is None
    assert (answer["total_cost"], answer["unpriced_events"]) == (0, 1)


def test_a_first_price_changes_the_money_and_no_count(ledger: Ledger) -> None:
    book_without_a_price(ledger)
    before = found("p1")
    give_acme_a_price()

    reprice_unpriced(at=datetime.now(UTC))

    after = found("p1")
    assert (after["total_cost"], after["unpriced_events"]) == (Decimal("0.004"), 0)
    assert after["accuracy_details"] == before["accuracy_details"]
    assert [entry.get("entry_type") for entry in after["audit_trail"]] == ["adjustment", None]
    assert after["evidence"]["computed"] == {"amount": Decimal("0.004"), "events": 1}
    assert "input_tokens" not in after["audit_trail"][0]["metadata"], "an adjustment must not count usage again"


def test_the_metadata_of_the_trail_is_the_callers_and_the_lines_which_wins(ledger: Ledger) -> None:
    own = {"model": "my alias", "shard": Decimal("7.50"), "nested": {"a": [1]}}
    usage = {"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 500}
    ledger.record([usage_event(post_id="p1", metadata=own, usage=usage, correlation_id="c", request_id="")])

    assert found("p1")["audit_trail"][0]["metadata"] == {
        "model": "gpt-4o",
        "provider": "openai",
        "shard": Decimal("7.50"),
        "nested": {"a": [1]},
        "input_tokens": 1000,
        "cache_read_tokens": 200,
        "output_tokens": 500,
        "correlation_id": "c",
    }


def test_evidence_tells_reported_from_computed_money_and_adds_up(ledger: Ledger) -> None:
    ledger.record([amount_event("1", post_id="p1"), usage_event(post_id="p1"), usage_event(post_id="p1")])

    answer = found("p1")

    assert answer["evidence"] == {
        "reported": {"amount": Decimal(1), "events": 1},
        "computed": {"amount": Decimal("0.015"), "events": 2},
        "estimated": {"amount": 0, "events": 0},
        "allocated": {"amount": 0, "events": 0},
    }
    assert sum(kind["amount"] for kind in answer["evidence"].values()) == answer["total_cost"]


def test_a_bound_caller_sees_only_the_part_of_its_personas(ledger: Ledger) -> None:
    ledger.record([amount_event("1", post_id="p1", persona_id="a"), amount_event("2", post_id="p1", persona_id="b")])
    ledger.accept([amount_event("4", post_id="p1", persona_id="b"), amount_event("8", post_id="p2", persona_id="b")])

    answer = found("p1", personas=["a"])

    assert (answer["total_cost"], answer["pending_events"], len(answer["audit_trail"])) == (1, 0, 1)
    assert found("p1", personas=["b"])["pending_events"] == 1
    assert post_breakdown("p2", personas=["a"]) is None
    assert post_breakdown("p1", personas=[]) is None
    assert post_summary("p1", personas=["c"]) is None


def test_the_trail_is_paged_newest_first_and_the_rest_covers_the_whole_post(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "PAGE", 2)
    times = [NOON, NOON + timedelta(hours=1), NOON, NOON + timedelta(hours=2), NOON]
    ledger.record([amount_event(str(n), post_id="p1", timestamp=at) for n, at in enumerate(times, start=1)])

    first = found("p1")
    second = found("p1", cursor=first["cursor"])
    third = found("p1", cursor=second["cursor"])

    shown = [entry for page in (first, second, third) for entry in page["audit_trail"]]
    assert sorted(entry["cost_amount"] for entry in shown) == [1, 2, 3, 4, 5]
    assert [entry["timestamp"] for entry in shown] == sorted(times, reverse=True)
    assert [page["truncated"] for page in (first, second, third)] == [True, True, False]
    assert third["cursor"] is None
    assert {page["accuracy_details"]["total_events"] for page in (first, second, third)} == {5}


@pytest.mark.parametrize("cursor", ["", "x", "2026-05-04_1", "2026-05-04T12:00:00Z_x", "2026-05-04T12:00:00Z_-1"])
def test_a_cursor_that_no_answer_gave_is_refused(ledger: Ledger, cursor: str) -> None:
    ledger.record([amount_event("1", post_id="p1")])

    with pytest.raises(InvalidQuery, match="cursor"):
        post_breakdown("p1", cursor=cursor)


def explained(event_id: str, source: str | None = None, personas: list[str] | None = None) -> dict[str, Any]:
    answer = explain(event_id, source=source, personas=personas)
    assert answer is not None
    return answer


def buckets(price: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
    return [(part["bucket"], part["quantity"], part["unit_price"], part["per"]) for part in price["components"]]


def test_a_computed_line_is_explained_down_to_bucket_price_and_formula(ledger: Ledger) -> None:
    ledger.record([usage_event(event_id="call-1", post_id="p1")])

    answer = explained("call-1")

    assert answer["amount"] == Decimal("0.0075")
    assert buckets(answer["price"]) == [
        ("input_tokens", 1000, Decimal("2.5"), 1_000_000),
        ("output_tokens", 500, Decimal(10), 1_000_000),
    ]
    assert answer["price"]["formula"] == "1000 x $2.5/M + 500 x $10/M"
    assert sum(part["amount"] for part in answer["price"]["components"]) == answer["amount"]
    assert answer["price"]["price_lists"][0].startswith("genai-prices ")
    assert answer["price"]["resolution"]["model"] == "gpt-4o"
    assert answer["explanation"].startswith("Computed from the counted usage")


def test_a_reported_line_says_so_and_shows_the_computed_price_beside_it(ledger: Ledger) -> None:
    ledger.record([usage_event(event_id="call-1", amount="0.0125"), amount_event("3", event_id="bill-1")])

    deviating, plain = explained("call-1"), explained("bill-1")

    assert (deviating["amount"], deviating["computed_amount"]) == (Decimal("0.0125"), Decimal("0.0075"))
    assert deviating["deviating"] is True
    assert deviating["price"]["amount"] == Decimal("0.0075")
    assert plain["explanation"] == "The caller reported this amount; it was taken as given."
    assert plain["price"] is None


def test_an_unpriced_line_gives_the_reason(ledger: Ledger) -> None:
    book_without_a_price(ledger)

    answer = explained("call-1")

    assert answer["amount"] is None
    assert answer["explanation"].startswith("Unpriced: no price for input_tokens")


def test_an_adjustment_is_explained_by_its_own_price(ledger: Ledger) -> None:
    book_without_a_price(ledger)
    give_acme_a_price()
    reprice_unpriced(at=datetime.now(UTC))

    answer = explained("call-1")

    (adjustment,) = answer["adjustments"]
    assert (answer["amount"], answer["booked_amount"]) == (Decimal("0.004"), None)
    assert (adjustment["amount"], adjustment["is_first_price"]) == (Decimal("0.004"), True)
    assert adjustment["price"]["formula"] == "1000 x $2/M + 500 x $4/M"
    assert answer["explanation"].startswith("Priced since, by an adjustment")


def test_what_is_unknown_waiting_or_of_another_persona_is_not_explained(ledger: Ledger) -> None:
    ledger.record([amount_event("1", event_id="theirs", persona_id="b")])
    ledger.accept([amount_event("1", event_id="waiting")])

    assert explain("unknown") is None
    assert explain("with\0nul") is None
    assert explain("waiting") is None
    assert explain("theirs", personas=["a"]) is None
    assert explain("theirs", personas=["b"]) is not None


def test_an_id_that_two_sources_used_needs_the_source(ledger: Ledger) -> None:
    ledger.record([amount_event("1", event_id="call-1")], source="web")
    ledger.record([amount_event("2", event_id="call-1")], source="batch")

    with pytest.raises(InvalidQuery, match="batch, web"):
        explain("call-1")
    assert explained("call-1", source="batch")["amount"] == 2
    assert explain("call-1", source="other") is None


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
def test_a_read_outside_of_a_transaction_sees_one_snapshot(ledger: Ledger) -> None:
    ledger.record([amount_event("1", post_id="p1")])

    answer = found("p1")

    assert answer["total_cost"] == CostEvent.objects.for_post("p1").total() == 1
