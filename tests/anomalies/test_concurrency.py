"""Several watchers at once, and watchers that die: an incident is opened once and no note is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections

from alerts.models import Alert, AlertGroup, Delivery
from anomalies import budget_check, detect
from anomalies.models import Anomaly, Touch
from costs.signals import lines_recorded
from tests.anomalies.conftest import NOON, Ledger, Posts

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
WATCHERS = 4


def at_once(work: Callable[[], Any]) -> None:
    """Each on a connection of its own."""
    start = Barrier(WATCHERS)

    def watch() -> None:
        try:
            start.wait()
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WATCHERS) as pool:
        for done in [pool.submit(watch) for _ in range(WATCHERS)]:
            done.result()


@pytest.fixture
def posts() -> Posts:
    return Posts(Ledger())


def test_watchers_that_look_at_once_open_one_incident_and_say_it_once(posts: Posts) -> None:
    for _ in range(20):
        posts.write("0.50")

    at_once(lambda: detect.check_touched(NOON))

    assert Anomaly.objects.filter(rule="cost_spike").count() == 1
    assert not Touch.objects.exists()
    assert Alert.objects.filter(rule="cost_spike").count() == 1
    group = AlertGroup.objects.get(rule="cost_spike")
    said = Delivery.objects.filter(group=group)
    assert said.count() == said.values("channel", "sequence").distinct().count()


def test_two_beats_change_nothing(posts: Posts) -> None:
    posts.write("0.50")

    at_once(lambda: detect.sweep(NOON))
    at_once(lambda: budget_check.check(NOON + timedelta(minutes=1)))

    assert Anomaly.objects.filter(rule="cost_spike").count() == 1


def test_a_look_that_fails_leaves_its_note(posts: Posts, monkeypatch: pytest.MonkeyPatch) -> None:
    posts.write("0.50")

    def dies(*_: Any, **__: Any) -> None:
        raise RuntimeError("the watcher died")

    with monkeypatch.context() as broken:
        broken.setattr("anomalies.incidents.fire", dies)
        with pytest.raises(RuntimeError):
            detect.check_touched(NOON)
    is_kept = Touch.objects.count() == 1 and not Anomaly.objects.exists()
    detect.check_touched(NOON)

    assert is_kept
    assert Anomaly.objects.filter(rule="cost_spike").exists()


def test_a_batch_that_is_rolled_back_leaves_no_note(posts: Posts) -> None:
    def dies(**_: Any) -> None:
        raise RuntimeError("somebody after us refuses the batch")

    lines_recorded.connect(dies)
    try:
        posts.write("0.50")
    finally:
        lines_recorded.disconnect(dies)

    assert not Touch.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cost_events")
        assert cursor.fetchone() == (0,)
