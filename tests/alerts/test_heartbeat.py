"""Somebody outside hears from us while detection makes progress, and only then."""

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pytest_django import Settings

from alerts import heartbeat
from tests.alerts.conftest import NOON, SECOND
from tests.alerts.vendors import Reply, Vendor, webhook

pytestmark = pytest.mark.django_db


@pytest.fixture
def watcher(settings: Settings) -> Iterator[Vendor]:
    with webhook() as server:
        settings.ALERT_TEST_ENDPOINTS = [server.origin]
        settings.FINOPS_HEARTBEAT_URL = f"{server.origin}/ping/finops"
        yield server


@pytest.mark.parametrize(("age", "told"), [(0, True), (90, True), (91, False), (3600, False)])
def test_it_beats_within_three_sweeps_of_the_last_progress(watcher: Vendor, age: int, told: bool) -> None:
    heartbeat.progressed(at=NOON - timedelta(hours=1))
    heartbeat.progressed(at=NOON - age * SECOND)

    assert heartbeat.send(at=NOON) is told
    assert [(request.method, request.path) for request in watcher.got] == [("GET", "/ping/finops")] * told


def test_an_engine_that_never_looked_says_so_in_the_log(watcher: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    assert heartbeat.send(at=NOON) is False
    assert "detection has made no progress since the beginning" in caplog.text


def test_nobody_to_tell_is_no_fault(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.FINOPS_HEARTBEAT_URL = ""

    assert heartbeat.send(at=NOON) is False
    assert caplog.records == []


@pytest.mark.parametrize("reply", [Reply(404, "who?"), Reply(429, "slow down", retry_after=9)])
def test_a_watcher_that_does_not_listen_disturbs_nobody(
    watcher: Vendor, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "alerts")
    watcher.answers.append(reply)
    heartbeat.progressed(at=NOON)

    assert heartbeat.send(at=NOON) is False
    assert "heartbeat" in caplog.text
