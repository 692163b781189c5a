"""Who reads the gauges of posts and personas, when, and under which labels."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from pytest_django import Settings

from costs import metric_gauges, metric_totals, outcomes, verify
from costs.events import encode
from costs.metric_gauges import DEAREST, PER_FOLLOW, Row
from costs.metric_totals import OTHER
from costs.models import MetricGauge
from tests.alerts.conftest import together
from tests.costs.conftest import Ledger, amount_event

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def of(metric: str) -> dict[tuple[str, ...], Decimal]:
    return {tuple(row.labels): row.value for row in MetricGauge.objects.filter(metric=metric)}


class Unreadable(Exception):
    """Whatever ends a reading before it is done."""


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    def read(at: datetime, shown: frozenset[str]) -> dict[str, list[Row]]:
        raise Unreadable

    settings.CELERY_TASK_SOFT_TIME_LIMIT = 30
    monkeypatch.setattr(metric_gauges, "READ", (read,))


class TestAReading:
    @pytest.mark.django_db(transaction=True)
    def test_is_one_process_s_at_a_time(self) -> None:
        read: list[bool] = []

        together(lambda number: read.append(metric_gauges.refresh(NOW)))

        assert sorted(read) == [False, False, False, True]

    @pytest.mark.django_db
    def test_that_came_to_no_end_rests_like_one_that_took_all_its_time(self, unreadable: None) -> None:
        with pytest.raises(Unreadable):
            metric_gauges.refresh(NOW)

        assert not metric_gauges.refresh(NOW + 20 * 30 * SECOND - SECOND)
        with pytest.raises(Unreadable):
            metric_gauges.refresh(NOW + 20 * 30 * SECOND)

    @pytest.mark.django_db
    def test_that_came_to_no_end_leaves_the_figures_as_old_as_they_are(self, unreadable: None) -> None:
        metric_gauges.store(metric_gauges.SECONDS, [((), Decimal(1))], NOW - HOUR)

        with pytest.raises(Unreadable):
            metric_gauges.refresh(NOW)

        assert MetricGauge.objects.get(metric=metric_gauges.SECONDS).read_at == NOW - HOUR


@pytest.mark.django_db
class TestTheVerification:
    @pytest.mark.parametrize(
        ("seconds", "hours", "is_due"), [(36, 1, True), (37, 1, False), (2_900, 23.9, False), (2_900, 24, True)]
    )
    def test_rests_a_hundred_times_as_long_as_it_took_but_no_longer_than_a_day(
        self, seconds: int, hours: float, is_due: bool
    ) -> None:
        metric_gauges.store(metric_gauges.VERIFY_SECONDS, [((), Decimal(seconds))], NOW)

        assert (verify.publish(NOW + hours * HOUR) is not None) == is_due

    @pytest.mark.django_db(transaction=True)
    def test_one_whose_time_was_up_rests_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def too_long() -> None:
            raise SoftTimeLimitExceeded

        metric_gauges.store(metric_gauges.VERIFY_SECONDS, [((), Decimal(1))], NOW - HOUR)
        monkeypatch.setattr(verify, "verify", too_long)

        with pytest.raises(SoftTimeLimitExceeded):
            verify.publish(NOW)

        assert MetricGauge.objects.get(metric=metric_gauges.VERIFY_SECONDS).read_at == NOW


@pytest.mark.django_db
class TestPersonasWithoutALabel:
    @pytest.fixture
    def ledger(self, settings: Settings) -> Ledger:
        settings.FINOPS_METRICS_PERSONAS = 1
        ledger = Ledger()
        for persona in ("p", "q", "r"):
            event = amount_event("0.5", persona_id=persona, post_id="a", timestamp=NOW.isoformat())
            ledger.record([event], at=NOW)
            metric_totals.roll_up()
        return ledger

    def test_their_dear_posts_are_those_of_others(self, ledger: Ledger) -> None:
        metric_gauges.refresh(NOW)

        assert of(DEAREST) == {("p", "a"): Decimal("0.5"), (OTHER, "a"): Decimal("0.5")}

    def test_their_follows_are_those_of_others_together(self, ledger: Ledger) -> None:
        follows = [
            {"event_id": f"{persona}-{kind}", "persona_id": persona, "post_id": "a", "kind": kind, "quantity": quantity}
            for persona, kind, quantity in (("p", "follow", 25), ("q", "follow", 30), ("r", "follow", 10))
        ]
        said = [encode(follow | {"timestamp": NOW.isoformat()}) for follow in follows]
        outcomes.accept(said, source="test", at=NOW, using="default")

        metric_gauges.refresh(NOW)

        assert of(PER_FOLLOW) == {("p",): Decimal("0.02"), (OTHER,): Decimal("0.025")}
