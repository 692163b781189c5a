"""What the gauges of the ledger say of controls, deliveries and beat's entries is what is the case."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from django.conf import settings
from django.db import Error, OperationalError, ProgrammingError
from django.db.migrations.recorder import MigrationRecorder

from alerts.channels.base import Event
from alerts.models import Channel, Delivery, State
from alerts.models.deliveries import GIVE_UP_AFTER
from controls import overrides
from controls.models import Override
from costs.models import ScheduledRun
from finops_project.local.ports import LOOPBACK, free_port
from tests.alerts.notices import notice
from tests.controls.conftest import close_decisions
from tests.controls.rows import make_control
from tests.costs.conftest import Ledger, amount_event
from tests.finops_project.test_metrics import Labels, Scrape, get, scrape
from tests.processes import web

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Kind = Override.Kind

pytestmark = pytest.mark.django_db


def now() -> datetime:
    return datetime.now(UTC)


def override(kind: str, persona: str) -> None:
    overrides.begin(kind, persona, reason="a test", actor="ann", for_=HOUR, at=now() - MINUTE)


def held_back() -> dict[Labels, float]:
    """By level and persona."""
    return scrape().all("finops_breaker_level")


def at_level(level: str, persona: str) -> dict[Labels, float]:
    return {(("level", level), ("persona_id", persona)): 1}


@pytest.fixture
def personas() -> None:
    """Whose names are labels."""
    Ledger().record([amount_event("0.5", persona_id=name) for name in ("p", "q")])


@pytest.mark.usefixtures("personas")
class TestWhoIsHeldBack:
    def test_a_person_who_pauses_somebody_is_seen(self) -> None:
        override(Kind.FORCE_OPEN, "p")

        assert held_back() == at_level("pause", "p")

    def test_a_dry_run_holds_nobody_back(self) -> None:
        make_control("p", "pause", is_observing=True)

        assert held_back() == {}

    @pytest.mark.parametrize("kind", [Kind.FORCE_CLOSED, Kind.DISABLED])
    @pytest.mark.parametrize("whose", ["p", ""])
    def test_a_person_who_lets_everything_through_is_obeyed(self, kind: str, whose: str) -> None:
        make_control("p", "pause")
        override(kind, whose)

        assert held_back() == {}

    def test_a_pause_of_everybody_has_no_name_and_is_above_every_level(self) -> None:
        make_control("p", "throttle")
        override(Kind.FORCE_OPEN, "")

        assert held_back() == at_level("pause", "") | at_level("pause", "p")

    def test_a_pause_that_ran_out_is_a_trial(self) -> None:
        make_control("p", "pause", since=now() - HOUR, expires_at=now() - MINUTE)

        assert held_back() == at_level("half_open", "p")


def dead(created_at: datetime, event: Event = Event.OPENED) -> None:
    channel = Channel.objects.first() or Channel.objects.create(name="slack", kind="slack")
    Delivery.of(notice(event), channel.pk, created_at, state=State.DEAD).save()


class TestMessagesThatWereGivenUp:
    def test_one_whose_day_of_tries_is_over_has_failed_for_another_day(self) -> None:
        tried_in_vain = now() - GIVE_UP_AFTER

        dead(tried_in_vain - 23 * HOUR)
        dead(tried_in_vain - 25 * HOUR)

        assert scrape().of("finops_alert_deliveries", status="failed") == 1

    def test_one_that_was_refused_for_good_has_failed_at_once(self) -> None:
        dead(now())

        assert scrape().of("finops_alert_deliveries", status="failed") == 1

    def test_a_test_of_a_channel_is_nobodys_message(self) -> None:
        dead(now(), Event.TEST)

        assert scrape().of("finops_alert_deliveries", status="failed") == 0


def ended(entry: str, at: datetime, *, error: str = "") -> None:
    failed_at = at if error else None
    ScheduledRun.objects.note(
        ScheduledRun(entry=entry, started_at=at, ended_at=at, seconds=0, runs=1, error=error, failed_at=failed_at)
    )


class TestBeatsEntries:
    def test_one_that_never_ran_is_as_old_as_the_newest_migration(self) -> None:
        MigrationRecorder.Migration.objects.update(applied=now() - HOUR)
        ended("inbox-sweep", now() - MINUTE)

        found = scrape()

        assert 60 <= (found.of("finops_beat_age_seconds", entry="inbox-sweep") or 0) < 120
        assert 3_600 <= (found.of("finops_beat_age_seconds", entry="verify-ledger") or 0) < 3_660
        assert len(found.all("finops_beat_age_seconds")) == len(settings.CELERY_BEAT_SCHEDULE)

    def test_one_whose_last_run_failed_is_told_until_a_run_goes_well(self) -> None:
        ended("verify-ledger", now() - HOUR, error="ValueError: broken")
        ended("partitions", now() - HOUR)

        found = scrape()
        assert found.of("finops_beat_failed", entry="verify-ledger") == 1
        assert found.of("finops_beat_failed", entry="partitions") == 0

        ended("verify-ledger", now())
        assert scrape().of("finops_beat_failed", entry="verify-ledger") == 0


class TestWithoutTheLedger:
    @pytest.fixture
    def asking(self) -> Iterator[None]:
        """Whether Postgres answers is asked on the connections of decisions."""
        yield
        close_decisions()

    @pytest.mark.usefixtures("asking")
    @pytest.mark.django_db(databases=["default", "decisions"])
    @pytest.mark.parametrize("error", [ProgrammingError("no such table"), OperationalError("lock timeout")])
    def test_what_cannot_be_read_does_not_say_that_postgres_is_away(
        self, error: Error, caplog: pytest.LogCaptureFixture
    ) -> None:
        with mock.patch("costs.metric_totals.roll_up", side_effect=error):
            found = scrape()

        assert found.of("finops_database_up") == 1
        assert not found.all("finops_inbox_events")
        assert f"metrics without the ledger: {type(error).__name__}" in caplog.text

    @pytest.mark.slow
    @pytest.mark.django_db(transaction=True)
    def test_where_postgres_does_not_answer_it_says_so_and_nothing_else_of_the_ledger(self) -> None:
        port, nowhere = free_port(), f"postgresql://finops@{LOOPBACK}:{free_port()}/finops"
        with web(1, DATABASE_URL=nowhere, FINOPS_METRICS_PORT=str(port)):
            found = Scrape(get(port))

        assert found.of("finops_database_up") == 0
        assert not found.all("finops_inbox_events")
