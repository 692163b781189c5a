"""What the metrics count equals the ledger, falls nowhere, and has few labels."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from costs import metric_totals, reprice
from costs.metric_totals import ADJUSTMENTS, BY_NAME, EVENTS, GENERIC, KUBERNETES, OPENAI, OTHER, VECTOR_DB
from costs.models import MetricNote, MetricTotal, PriceRate
from costs.verify import verify
from tests.costs.conftest import Ledger, amount_event, usage_event

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def totals() -> dict[tuple[str, tuple[str, ...]], Decimal]:
    return {(metric, tuple(labels)): value for metric, labels, value in metric_totals.totals()}


def of(metric: str) -> dict[tuple[str, ...], Decimal]:
    return {labels: value for (name, labels), value in totals().items() if name == metric}


def record(ledger: Ledger, events: Sequence[Mapping[str, Any]]) -> None:
    ledger.record([{"timestamp": NOW.isoformat(), **event} for event in events], at=NOW)


class TestWhatIsCounted:
    def test_a_call_of_openai_counts_by_model_persona_and_operation(self, ledger: Ledger) -> None:
        record(ledger, [usage_event(persona_id="p", operation="draft")] * 2)

        assert of(OPENAI) == {("gpt-4o", "p", "draft"): Decimal("0.015")}

    def test_what_is_absent_is_an_empty_label(self, ledger: Ledger) -> None:
        record(ledger, [amount_event("0.5", cost_type="openai_api")])

        assert of(OPENAI) == {("", "", ""): Decimal("0.5")}

    def test_kubernetes_counts_by_service_and_resource(self, ledger: Ledger) -> None:
        said = {"service": "orchestrator", "resource_type": "pod"}
        record(ledger, [amount_event("1", cost_type="kubernetes", operation="run", metadata=said)])

        assert of(KUBERNETES) == {("orchestrator", "pod", "run"): Decimal(1)}

    def test_vector_databases_count_by_collection(self, ledger: Ledger) -> None:
        found = amount_event("1", cost_type="vector_db", persona_id="p", operation="search", metadata={"collection": 7})
        record(ledger, [found, {**found, "metadata": {"collection": "posts"}}])

        assert of(VECTOR_DB) == {("", "p", "search"): Decimal(1), ("posts", "p", "search"): Decimal(1)}

    def test_everything_else_counts_by_type(self, ledger: Ledger) -> None:
        record(ledger, [amount_event("1", persona_id="p"), amount_event("2", cost_type="anthropic_api")])

        assert of(GENERIC) == {("cdn", "p"): Decimal(1), ("anthropic_api", ""): Decimal(2)}

    def test_events_count_priced_or_not(self, ledger: Ledger) -> None:
        record(ledger, [usage_event(model="nobody-knows-it"), amount_event("1"), amount_event("1")])

        assert of(EVENTS) == {("openai_api",): Decimal(1), ("cdn",): Decimal(2)}
        assert of(OPENAI) == {}

    def test_a_price_that_comes_later_is_an_adjustment_and_no_charge(self, ledger: Ledger) -> None:
        record(ledger, [usage_event(model="nobody-knows-it")])
        for bucket, price in (("input_tokens", 2), ("output_tokens", 4)):
            PriceRate.objects.create(
                kind=PriceRate.Kind.CORRECTION,
                model="nobody-knows-it",
                bucket=bucket,
                unit_price=Decimal(price),
                per=1_000_000,
                effective_from=NOW - timedelta(days=1),
            )

        reprice.reprice_unpriced(at=NOW)

        assert of(OPENAI) == {}
        assert of(ADJUSTMENTS) == {("openai_api",): Decimal("0.004")}
        assert of(EVENTS) == {("openai_api",): Decimal(1)}


class TestTheLabels:
    def test_the_first_personas_have_one_for_ever_and_later_ones_share(
        self, ledger: Ledger, settings: Settings
    ) -> None:
        settings.FINOPS_METRICS_PERSONAS = 2
        for persona in ("b", "c", "a", "b", "d"):
            record(ledger, [amount_event("1", persona_id=persona)])
            metric_totals.roll_up()

        assert of(GENERIC) == {("cdn", "b"): 2, ("cdn", "c"): 1, ("cdn", OTHER): 2}
        assert metric_totals.personas() == {"", "b", "c"}

    def test_nobody_has_one_and_takes_no_place(self, ledger: Ledger, settings: Settings) -> None:
        settings.FINOPS_METRICS_PERSONAS = 1
        for persona in ("", "p", "q", ""):
            record(ledger, [amount_event("1", persona_id=persona)])
            metric_totals.roll_up()

        assert of(GENERIC) == {("cdn", ""): 2, ("cdn", "p"): 1, ("cdn", OTHER): 1}

    def test_a_persona_has_its_name_in_every_metric(self, ledger: Ledger, settings: Settings) -> None:
        settings.FINOPS_METRICS_PERSONAS = 1
        record(ledger, [amount_event("1", persona_id="p")])
        metric_totals.roll_up()

        record(ledger, [usage_event(persona_id="p"), usage_event(persona_id="q")])

        assert set(of(OPENAI)) == {("gpt-4o", "p", ""), ("gpt-4o", OTHER, "")}

    def test_operations_are_the_first_to_share_and_models_the_next(self, ledger: Ledger) -> None:
        metric, (full, _), (half, _) = OPENAI, *BY_NAME[OPENAI].rooms[:2]
        assert full
        assert half
        call = {"cost_type": "openai_api", "persona_id": "p"}
        record(ledger, [amount_event("1", model="m", operation=f"o{n}", **call) for n in range(full)])
        record(ledger, [amount_event("1", model=f"m{n}", operation="x", **call) for n in range(half)])

        found = of(metric)

        assert len(found) == half + 1
        assert len([key for key in found if key[2] != OTHER]) == full
        assert found["other", "p", OTHER] == full
        assert sum(found.values()) == full + half

    def test_a_million_combinations_are_few_series(self, settings: Settings) -> None:
        rooms = metric_totals._Rooms([])
        for number in range(60_000):
            persona, model, operation = f"p{number % 300}", f"m{number // 300 % 40}", f"o{number % 17}"
            for metric in metric_totals.METRICS:
                labels = {"persona_id": persona, "model": model, "operation": operation}
                rooms.place(metric.name, tuple(labels.get(label, model) for label in metric.labels))

        assert len(rooms._known) < 1_700


class TestTheNotes:
    def test_each_is_added_once(self, ledger: Ledger) -> None:
        record(ledger, [amount_event("1")])
        record(ledger, [amount_event("2")])
        assert MetricNote.objects.count() == 2

        assert of(GENERIC) == of(GENERIC) == {("cdn", ""): Decimal(3)}
        assert not MetricNote.objects.exists()

    def test_the_ledger_proves_them_before_and_after(self, ledger: Ledger) -> None:
        record(ledger, [usage_event(persona_id="p"), amount_event("1")])
        assert not verify().drifts

        metric_totals.roll_up()

        assert not verify().drifts

    def test_a_total_that_is_wrong_is_found(self, ledger: Ledger) -> None:
        record(ledger, [amount_event("1")])
        metric_totals.roll_up()
        MetricTotal.objects.filter(metric=GENERIC).update(value=2)

        (drift,) = verify().drifts

        assert (drift.table, drift.key, drift.counted, drift.added_up) == ("costs_metrictotal", (GENERIC,), (2,), (1,))

    def test_the_migration_notes_what_was_booked_before(self, ledger: Ledger) -> None:
        said = {"service": "s", "resource_type": "r", "collection": "c"}
        events = [
            usage_event(persona_id="p", operation="draft"),
            usage_event(model="nobody-knows-it"),
            amount_event("3", cost_type="kubernetes", metadata=said),
            amount_event("3", cost_type="vector_db", persona_id="p", metadata=said),
            amount_event("3"),
        ]
        record(ledger, events)
        before = totals()
        MetricTotal.objects.all().delete()
        migration = __import__("costs.migrations.0011_metrics", fromlist=["NOTE"])

        with connection.cursor() as cursor:
            cursor.execute(migration.NOTE)

        assert totals() == before


def test_names_are_those_of_prometheus() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", metric.name) for metric in metric_totals.METRICS)


pytestmark = pytest.mark.django_db
