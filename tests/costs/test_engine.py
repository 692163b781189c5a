"""The engine as producers use it, on real connections: its writes are durable, its reads see them."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import override_settings

from costs import threads
from costs.drain import drain
from costs.engine import EngineConfig, PostCostAttributor, ViralFinOpsEngine
from costs.events import InvalidEvent
from costs.models import CostEvent, InboxRow
from tests.costs.conftest import Ledger, amount_event

committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


class Who(TypedDict):
    persona_id: str
    post_id: str


WHO: Who = {"persona_id": "ai_jesus", "post_id": "post_001"}


@pytest.fixture(autouse=True)
def _threads_end_with_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("django_db"):
        # Their connections must be gone before the tables are emptied.
        request.getfixturevalue("db")
    yield
    threads.close_shared()


def booked(event_id: str) -> CostEvent:
    drain(at=datetime.now(UTC))
    return CostEvent.objects.get(event_id=event_id)


def open_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def a_check(persona_id: str, *, at: datetime, config: EngineConfig) -> dict[str, Any]:
    """Stands where detection will."""
    multiple = config.alert_threshold_multiplier
    return {"anomalies_detected": [{"anomaly_type": persona_id, "multiple": multiple}], "checked_at": at}


@committed
def test_the_specified_session_runs_as_written() -> None:
    async def session() -> Decimal:
        engine = ViralFinOpsEngine({"cost_threshold_per_post": 0.02, "alert_threshold_multiplier": 2.0})
        await engine.track_openai_cost(
            model="gpt-4o",
            input_tokens=1000,
            output_tokens=500,
            operation="hook_generation",
            persona_id="ai_jesus",
            post_id="post_001",
        )
        return await engine.calculate_total_post_cost("post_001")

    assert asyncio.run(session()) == Decimal("0.0075")


@committed
def test_a_tracked_call_answers_with_what_it_will_be_booked_with() -> None:
    answer = ViralFinOpsEngine().track_openai_cost_sync("gpt-4o", 1000, 500, "hook", event_id="call-1", **WHO)

    assert answer == {
        "event_id": "call-1",
        "post_id": "post_001",
        "cost_type": "openai_api",
        "cost_amount": Decimal("0.0075"),
    }
    assert InboxRow.objects.count() == 1
    assert booked("call-1").cost_amount == answer["cost_amount"]


@committed
def test_a_call_without_a_known_price_answers_none() -> None:
    assert ViralFinOpsEngine().track_openai_cost_sync("no-such-model", 1, 1, **WHO)["cost_amount"] is None


@committed
def test_infrastructure_is_counted_in_hours_of_cores_and_gigabytes() -> None:
    answer = ViralFinOpsEngine().track_infrastructure_cost_sync(
        resource_type="kubernetes",
        service="persona_runtime",
        cpu_cores=0.5,
        memory_gb=Decimal("1.5"),
        duration_minutes=1.5,
        operation="draft",
        **WHO,
    )

    line = booked(answer["event_id"])
    assert line.quantities == {"cpu_core_hours": Decimal("0.0125"), "memory_gb_hours": Decimal("0.0375")}
    assert (line.cost_type, line.cost_metadata) == ("kubernetes", {"service": "persona_runtime"})
    assert line.cost_amount == answer["cost_amount"] == Decimal("0.0006726875")


@committed
def test_minutes_that_a_clock_measured_are_taken_with_all_their_digits() -> None:
    answer = ViralFinOpsEngine().track_infrastructure_cost_sync(
        "kubernetes", "runtime", 0.3333333333333333, 1, 1.2345678901234567e-05, **WHO
    )

    assert booked(answer["event_id"]).cost_amount == answer["cost_amount"] == Decimal("0.000000003691")


@committed
def test_vector_queries_are_counted_as_reads() -> None:
    answer = ViralFinOpsEngine().track_vector_db_cost_sync("search", 250, "hooks", **WHO)

    line = booked(answer["event_id"])
    assert (line.quantities, line.cost_metadata) == ({"vector_reads": 250}, {"collection": "hooks"})
    assert line.cost_amount == Decimal("0.004")


@committed
def test_an_attributor_alone_takes_amounts_with_what_their_metadata_describes() -> None:
    metadata = {"model": "gpt-4o", "operation": "hook", "persona_id": "ai_jesus", "correlation_id": "c-1", "shard": 7}

    answer = PostCostAttributor().track_cost_for_post_sync(
        "post_001", "openai_api", 0.1 + 0.2, metadata, event_id="bill-1", request_id="r-1", hold_id="h-1"
    )

    line = booked("bill-1")
    assert line.cost_amount == answer["cost_amount"] == Decimal("0.3")
    assert (line.persona_id, line.model, line.operation) == ("ai_jesus", "gpt-4o", "hook")
    assert (line.correlation_id, line.request_id, line.hold_id) == ("c-1", "r-1", "h-1")
    assert line.cost_metadata == metadata


@committed
def test_a_repeated_call_with_the_same_id_counts_once_and_another_body_is_refused() -> None:
    attributor = PostCostAttributor()
    for _ in range(2):
        attributor.track_cost_for_post_sync("p1", "cdn", "1.5", event_id="bill-1")

    with pytest.raises(InvalidEvent, match="accepted before with another body"):
        attributor.track_cost_for_post_sync("p1", "cdn", "2.5", event_id="bill-1")
    assert attributor.calculate_total_post_cost_sync("p1") == Decimal("1.5")


@committed
@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("much", "must be a number"),
        ("-1", "negative"),
        ("0.0000000000001", "12 decimals"),
        (float("nan"), "amount|JSON"),
    ],
)
def test_an_amount_that_is_none_is_refused_with_a_sentence(amount: str | float, sentence: str) -> None:
    with pytest.raises(InvalidEvent, match=sentence):
        PostCostAttributor().track_cost_for_post_sync("p1", "cdn", amount)
    assert InboxRow.objects.count() == 0


@committed
def test_a_naive_timestamp_and_an_unknown_argument_are_refused() -> None:
    engine = ViralFinOpsEngine()

    with pytest.raises(InvalidEvent, match="timestamp"):
        engine.track_openai_cost_sync("gpt-4o", 1, 1, timestamp=datetime(2026, 1, 1), **WHO)
    with pytest.raises(InvalidEvent, match="colour"):
        engine.track_openai_cost_sync("gpt-4o", 1, 1, colour="red", **WHO)  # type: ignore[call-arg]


@committed
def test_a_cost_is_kept_when_the_callers_transaction_breaks_and_rolls_back() -> None:
    engine = ViralFinOpsEngine()

    with transaction.atomic():
        transaction.set_rollback(True)
        answer = engine.track_openai_cost_sync("gpt-4o", 1000, 500, **WHO)

    assert answer["cost_amount"] is None, "the broken connection cannot tell prices"
    assert engine.calculate_total_post_cost_sync("post_001") == Decimal("0.0075")


@committed
def test_a_breakdown_sees_what_was_tracked_a_line_before() -> None:
    async def session() -> dict[str, Any]:
        attributor = PostCostAttributor()
        await attributor.track_cost_for_post("p1", "cdn", Decimal("0.5"), {"operation": "serve"})
        return await attributor.get_post_cost_breakdown("p1")

    answer = asyncio.run(session())

    assert (answer["total_cost"], answer["pending_events"]) == (Decimal("0.5"), 0)
    assert answer["audit_trail"][0]["metadata"] == {"operation": "serve"}


@committed
def test_an_unknown_post_costs_nothing_and_has_an_empty_breakdown() -> None:
    engine = ViralFinOpsEngine()

    assert engine.calculate_total_post_cost_sync("unknown") == 0
    assert engine.get_post_cost_breakdown_sync("unknown")["audit_trail"] == []
    assert engine.get_post_cost_summary_sync("unknown") is None


@committed
def test_an_engine_judges_posts_by_its_own_thresholds(ledger: Ledger) -> None:
    ledger.record([amount_event("0.05", post_id="p1")])

    strict = ViralFinOpsEngine().get_post_cost_summary_sync("p1")
    generous = ViralFinOpsEngine({"cost_threshold_per_post": 0.1}).get_post_cost_summary_sync("p1")

    assert strict is not None
    assert generous is not None
    assert (strict["cost_efficiency_rating"], strict["over_alert_threshold"]) == ("poor", True)
    assert (generous["cost_efficiency_rating"], generous["over_alert_threshold"]) == ("excellent", False)


@committed
def test_any_number_of_engines_and_calls_shares_as_many_connections_as_the_pool_has_threads() -> None:
    before = open_connections()

    async def many() -> Decimal:
        calls = [
            ViralFinOpsEngine().post_cost_attributor.track_cost_for_post("p1", "cdn", "0.01", event_id=f"call-{number}")
            for number in range(60)
        ]
        await asyncio.gather(*calls)
        return await ViralFinOpsEngine().calculate_total_post_cost("p1")

    with override_settings(FINOPS_WORKER_POOL_SIZE=3, FINOPS_MAX_CONCURRENT_TASKS=5):
        totals = [asyncio.run(many()) for _ in range(2)]

    assert totals == [Decimal("0.6")] * 2
    assert open_connections() - before == 3


@committed
def test_a_connection_that_postgres_ended_is_replaced_at_the_next_call() -> None:
    engine = ViralFinOpsEngine()

    with override_settings(FINOPS_WORKER_POOL_SIZE=1):
        asyncio.run(engine.track_cost_for_post("p1", "cdn", "1"))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        asyncio.run(engine.track_cost_for_post("p1", "cdn", "2"))

        assert asyncio.run(engine.calculate_total_post_cost("p1")) == 3


def test_defaults_of_the_config_are_the_settings() -> None:
    assert ViralFinOpsEngine().config.cost_threshold_per_post == settings.FINOPS_COST_THRESHOLD_PER_POST


def test_the_specified_config_is_understood() -> None:
    config = ViralFinOpsEngine(
        {
            "cost_threshold_per_post": 0.03,
            "alert_threshold_multiplier": 2.5,
            "storage_latency_target_ms": 400,
            "anomaly_detection_enabled": False,
            "anomaly_check_interval_seconds": 10,
        }
    ).config

    assert config == EngineConfig(Decimal("0.03"), Decimal("2.5"), 400, False, 10)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"cost_treshold_per_post": 1}, "is no key of the engine's config; it knows cost_threshold_per_post"),
        ({"worker_pool_size": 5}, "set FINOPS_WORKER_POOL_SIZE instead"),
        ({"cost_threshold_per_post": "cheap"}, "must be a number"),
        ({"cost_threshold_per_post": -1}, "must be at least 0"),
        ({"cost_threshold_per_post": float("nan")}, "must be at least 0"),
        ({"cost_threshold_per_post": True}, "must be a number"),
        ({"anomaly_detection_enabled": "no"}, "must be true or false"),
    ],
)
def test_a_config_that_is_none_is_refused_with_a_sentence(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        ViralFinOpsEngine(config)


@override_settings(FINOPS_ANOMALY_CHECK=f"{__name__}.a_check")
def test_anomalies_are_checked_by_what_the_setting_names_with_this_engines_config() -> None:
    found = ViralFinOpsEngine({"alert_threshold_multiplier": 3}).check_for_anomalies_sync("ai_jesus")

    assert found["anomalies_detected"] == [{"anomaly_type": "ai_jesus", "multiple": 3}]


@override_settings(FINOPS_ANOMALY_CHECK="anomalies.nowhere.check")
def test_detection_that_is_missing_is_an_error_unless_it_is_switched_off() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"anomalies\.nowhere\.check, which cannot be imported"):
        ViralFinOpsEngine().check_for_anomalies_sync("ai_jesus")
    assert (
        ViralFinOpsEngine({"anomaly_detection_enabled": False}).check_for_anomalies_sync("a")["anomalies_detected"]
        == []
    )
