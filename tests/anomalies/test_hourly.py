"""What is looked at once an hour: silence, usage without a price, dead letters, and whether the counters hold."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from alerts.signal import Severity
from anomalies import detect
from anomalies.models import Anomaly
from costs import reprice
from costs.models import DeadLetter, InboxRow, PriceRate
from tests.anomalies.conftest import NOON, Ledger, Posts, minutes
from tests.costs.conftest import amount_event, usage_event

HOUR = timedelta(hours=1)


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def found(rule: str) -> Anomaly | None:
    return Anomaly.objects.open().filter(rule=rule).first()


class TestSilence:
    def test_a_persona_that_always_spent_and_stopped_is_missed(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 160, at=NOON - 3 * HOUR, every=HOUR)

        detect.sweep(NOON)

        silent = found("no_data")
        assert silent is not None
        assert (silent.persona_id, silent.severity) == ("ai_jesus", Severity.LOW)

    def test_it_is_over_as_soon_as_something_comes(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 160, at=NOON - 3 * HOUR, every=HOUR)
        detect.sweep(NOON)

        posts.write("0.02", at=NOON + minutes(5))
        detect.sweep(NOON + minutes(5))

        assert found("no_data") is None

    def test_an_hour_without_costs_is_no_silence(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 160, at=NOON - minutes(61), every=HOUR)

        detect.sweep(NOON)

        assert found("no_data") is None

    def test_who_only_spends_now_and_then_is_not_missed(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 80, at=NOON - 3 * HOUR, every=2 * HOUR)

        detect.sweep(NOON)

        assert found("no_data") is None

    def test_what_waits_in_the_inbox_is_no_silence(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 160, at=NOON - 3 * HOUR, every=HOUR)
        late = amount_event("0.02", persona_id="ai_jesus", timestamp=(NOON - HOUR).isoformat())
        posts.ledger.accept([late], at=NOON)
        InboxRow.objects.update(received_at=NOON - HOUR)

        detect.sweep(NOON)

        assert found("no_data") is None

    def test_a_long_silence_stays_one(self, posts: Posts) -> None:
        posts.write(*["0.02"] * 160, at=NOON - 3 * HOUR, every=HOUR)
        detect.sweep(NOON)

        for hours in (10, 20, 40, 60):
            detect.sweep(NOON + hours * HOUR)

        assert found("no_data") is not None


class TestUnpriced:
    def test_it_is_over_when_a_price_arrives(self, ledger: Ledger) -> None:
        ledger.record(
            [usage_event(event_id="odd", persona_id="p", model="no-such-model", timestamp=NOON.isoformat())], at=NOON
        )
        detect.check_touched(NOON)
        was_found = found("unpriced") is not None

        for bucket in ("input_tokens", "output_tokens"):
            PriceRate.objects.create(
                kind=PriceRate.Kind.CORRECTION,
                provider="openai",
                model="no-such-model",
                bucket=bucket,
                unit_price=Decimal(1),
                per=1_000_000,
                effective_from=NOON - HOUR,
            )
        reprice.reprice_unpriced(at=NOON + minutes(5))
        detect.sweep(NOON + minutes(5))

        assert was_found
        assert found("unpriced") is None


class TestDeadLetters:
    def test_an_event_that_could_not_be_booked_is_found_until_it_is_replayed(self, db: None) -> None:
        letter = DeadLetter.objects.create(source="studio", event_id="x", payload="{}", reason="broken", attempts=5)

        detect.sweep(NOON)
        lost = found("dead_letters")
        DeadLetter.objects.filter(pk=letter.pk).update(replayed_at=NOON, replayed_by="ann")
        detect.sweep(NOON + minutes(1))

        assert lost is not None
        assert (lost.severity, lost.scope) == (Severity.MEDIUM, {"source": "studio"})
        assert found("dead_letters") is None


class TestDrift:
    def test_counters_that_differ_from_the_lines_are_critical(self, posts: Posts) -> None:
        posts.write("0.02", at=NOON - minutes(30))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE costs_hourlycost SET amount = amount + 0.000000000001")

        detect.sweep(NOON)

        drift = found("ledger_drift")
        assert drift is not None
        assert drift.severity == Severity.CRITICAL

    def test_a_sound_ledger_does_not_drift(self, posts: Posts) -> None:
        posts.write("0.02", at=NOON - minutes(30))

        detect.sweep(NOON)

        assert found("ledger_drift") is None
