"""Closed windows are fed to the learned rule once, in order, also after a stop."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from anomalies import detect, series
from anomalies.models import Anomaly, SeriesState, Watermark
from tests.anomalies.conftest import Ledger, Posts

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def posts(ledger: Ledger) -> Posts:
    return Posts(ledger)


def usual(at: datetime) -> float:
    """A day's rhythm between $1 and $3 an hour, with a little noise that depends on the hour alone."""
    wobble = (hash_of(at) - 0.5) * 0.2
    return (2 + math.sin(at.hour / 24 * 2 * math.pi)) * (1 + wobble)


def hash_of(at: datetime) -> float:
    return int(at.timestamp() / 3600) * 2_654_435_761 % 1_000 / 1_000


def spend(first: datetime, last: datetime, *, times: float = 1.0, persona: str = "ai_jesus") -> None:
    """One amount in each hour from first to last, straight into the counters that the rule reads."""
    hours = int((last - first) / HOUR) + 1
    rows = [
        (first + HOUR * number, persona, Decimal(str(round(usual(first + HOUR * number) * times, 6))))
        for number in range(hours)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO costs_hourlycost"
            " (hour, persona_id, provider, cost_type, model, amount, adjustments, events, unpriced, deviating)"
            " VALUES (%s, %s, '', 'cdn', '', %s, 0, 1, 0, 0)",
            rows,
        )


def sweep_hourly(first: datetime, last: datetime) -> None:
    at = first
    while at <= last:
        series.catch_up(at + timedelta(minutes=3))
        at += HOUR


def learned() -> list[Anomaly]:
    return list(Anomaly.objects.filter(rule="learned").order_by("opened_at"))


@pytest.mark.django_db
class TestRounds:
    def test_an_hour_unlike_all_others_is_found_when_it_is_over(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON - HOUR)
        spend(NOON, NOON, times=6)
        series.catch_up(NOON + timedelta(minutes=3))

        series.catch_up(NOON + HOUR + timedelta(minutes=3))

        (unusual,) = learned()
        assert unusual.scope == {"persona_id": "ai_jesus", "grain": "hour"}
        assert unusual.multiplier is not None
        assert 4 < unusual.multiplier < 8
        assert unusual.evidence["window"]["start"] == "2026-11-24T12:00:00Z"

    def test_it_lasts_until_the_hours_are_as_expected_again(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON - HOUR)
        spend(NOON, NOON + 3 * HOUR, times=6)
        spend(NOON + 4 * HOUR, NOON + 6 * HOUR)

        sweep_hourly(NOON, NOON + 6 * HOUR)

        (unusual,) = learned()
        assert (unusual.opened_at, unusual.resolved_at) == (NOON + HOUR, NOON + 5 * HOUR)

    def test_a_usual_hour_is_not(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON + 5 * HOUR)

        sweep_hourly(NOON, NOON + 6 * HOUR)

        assert not learned()

    def test_after_a_stop_every_missed_window_is_looked_at(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON - HOUR)
        series.catch_up(NOON + timedelta(minutes=3))
        spend(NOON, NOON, times=6)
        spend(NOON + HOUR, NOON + 7 * HOUR)

        series.catch_up(NOON + 8 * HOUR + timedelta(minutes=3))

        assert [anomaly.opened_at for anomaly in learned()] == [NOON + HOUR]
        assert Watermark.objects.get(name="learned hour").through == NOON + 8 * HOUR

    def test_a_window_is_never_fed_twice(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON)
        series.catch_up(NOON + timedelta(minutes=3))
        series.catch_up(NOON + HOUR + timedelta(minutes=3))
        before = bytes(SeriesState.objects.get(persona_id="ai_jesus", grain="hour").state)

        series.catch_up(NOON + HOUR + timedelta(minutes=3))
        series.catch_up(NOON + HOUR + timedelta(minutes=33))

        assert bytes(SeriesState.objects.get(persona_id="ai_jesus", grain="hour").state) == before

    def test_a_state_of_another_version_learns_anew(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON - HOUR)
        series.catch_up(NOON + timedelta(minutes=3))
        spend(NOON, NOON)
        series.catch_up(NOON + HOUR + timedelta(minutes=3))
        SeriesState.objects.update(state=b"{}\n")
        spend(NOON + HOUR, NOON + HOUR, times=6)

        series.catch_up(NOON + 2 * HOUR + timedelta(minutes=3))

        assert len(learned()) == 1

    def test_a_persona_that_is_gone_is_forgotten(self) -> None:
        spend(NOON - 21 * 24 * HOUR, NOON)
        series.catch_up(NOON + timedelta(minutes=3))
        series.catch_up(NOON + HOUR + timedelta(minutes=3))

        later = NOON + timedelta(days=31)
        series.catch_up(later)
        series.catch_up(later + HOUR)

        assert not SeriesState.objects.exists()


def test_five_minutes_of_a_loop_are_found_by_the_sweep(posts: Posts) -> None:
    five = timedelta(minutes=5)
    posts.write(*["0.08", "0.10", "0.09"] * 400, at=NOON - five, every=five)
    detect.sweep(NOON + timedelta(minutes=3))
    posts.write(*["0.10"] * 40, at=NOON + timedelta(minutes=6))

    detect.sweep(NOON + timedelta(minutes=13))

    assert Anomaly.objects.filter(rule="learned", scope__grain="five minutes").exists()
