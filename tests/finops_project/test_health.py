"""/health, /ready and /metrics: what is told to whom."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from costs.models import InboxRow, ScheduledRun
from finops_project import health
from tests.costs.conftest import Ledger, amount_event
from tests.costs.http import Caller

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def test_the_process_lives() -> None:
    assert Caller().get("/health") == (200, {"status": "ok"})


def migrated(at: datetime) -> None:
    MigrationRecorder.Migration.objects.update(applied=at)


@contextmanager
def without_the_inbox() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE costs_inboxrow RENAME TO elsewhere")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO costs_inboxrow")


class TestReadiness:
    def test_a_stranger_learns_the_status_and_a_key_the_details(self) -> None:
        migrated(datetime.now(UTC))

        assert Caller().get("/ready") == (200, {"status": "ok"})

        _, body = Caller.with_key().get("/ready")
        assert set(body["checks"]) == {"database", "migrations", "partitions", "inbox", "beat", "redis"}
        assert all(check["status"] == "ok" for check in body["checks"].values())

    def test_events_that_wait_too_long_are_degraded_and_not_down(self) -> None:
        Ledger().accept([amount_event("1")])
        InboxRow.objects.update(received_at=datetime.now(UTC) - timedelta(minutes=5))

        status, body = Caller.with_key().get("/ready")

        assert (status, body["status"]) == (200, "degraded")
        assert "are workers running" in body["checks"]["inbox"]["detail"]

    def test_a_beat_that_stopped_is_degraded_and_says_since_when(self) -> None:
        migrated(datetime.now(UTC))
        long_ago = datetime.now(UTC) - timedelta(minutes=5)
        run = {"started_at": long_ago, "ended_at": long_ago, "seconds": 0.1, "runs": 1}
        ScheduledRun.objects.create(entry="inbox-sweep", **run)
        ScheduledRun.objects.create(entry="verify-ledger", **run | {"ended_at": long_ago - timedelta(days=2)})

        status, body = Caller.with_key().get("/ready")

        assert (status, body["status"]) == (200, "degraded")
        assert body["checks"]["beat"]["detail"].startswith("inbox-sweep should have run 4 min 59 s ago")

    def test_a_beat_that_never_ran_is_degraded_some_minutes_after_the_migrations(self) -> None:
        migrated(datetime.now(UTC) - timedelta(minutes=4))
        assert Caller().get("/ready") == (200, {"status": "ok"})

        migrated(datetime.now(UTC) - timedelta(minutes=6))
        status, body = Caller.with_key().get("/ready")

        assert (status, body["status"]) == (200, "degraded")
        assert body["checks"]["beat"]["detail"].endswith("are beat and the workers running?")

    def test_a_missing_migration_is_down(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)")

        assert Caller().get("/ready") == (503, {"status": "down"})

    def test_what_a_missing_migration_would_have_made_is_not_looked_for(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)")
            cursor.execute("ALTER TABLE costs_inboxrow RENAME TO not_yet")

        assert Caller.with_key().get("/ready") == (503, {"status": "down"})

    @pytest.mark.django_db(transaction=True)
    def test_a_part_that_cannot_be_read_is_degraded(self) -> None:
        with without_the_inbox():
            migrated(datetime.now(UTC))
            status, body = Caller.with_key().get("/ready")

        assert (status, body["status"]) == (200, "degraded")
        assert body["checks"]["inbox"]["detail"].startswith("It could not be read: relation")
        assert body["checks"]["beat"]["status"] == "ok"

    def test_a_redis_that_never_answers_is_degraded_within_a_second_or_two(self, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            started = time.monotonic()

            status, body = Caller.with_key().get("/ready")

        assert time.monotonic() - started < 10
        assert (status, body["status"], body["checks"]["redis"]["status"]) == (200, "degraded", "degraded")

    def test_partitions_that_run_out_are_told(self) -> None:
        with pytest.raises(health.Unwell, match="is beat running"):
            health._check_partitions(NOW + timedelta(days=400))


class TestMetrics:
    @pytest.mark.parametrize("token", [None, "wrong"])
    def test_the_numbers_are_for_those_who_know_the_token(self, token: str | None, settings: Settings) -> None:
        settings.FINOPS_METRICS_TOKEN = "right"

        assert Caller(token).get("/metrics")[0] == 401

    def test_without_a_configured_token_nobody_gets_in(self, settings: Settings) -> None:
        settings.FINOPS_METRICS_TOKEN = ""

        assert Caller().get("/metrics")[0] == 401

    def test_prometheus_gets_its_text(self, settings: Settings, client: Client) -> None:
        settings.FINOPS_METRICS_TOKEN = "right"

        response = client.get("/metrics", headers={"Authorization": "Bearer right"})

        assert response.status_code == 200
        assert b"django_http_requests" in response.content
