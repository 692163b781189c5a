"""Beat's schedule: when an entry is late, what a run leaves behind, and what the page says of it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import crontab
from celery.schedules import schedule as every
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from costs import schedule
from costs.models import ScheduledRun
from costs.schedule import FIRST_GRACE, GRACE, Entry, span
from tests.costs.test_admin import clerk, read

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAGE = reverse("admin:costs_scheduledrun_changelist")


def entry(runs_at: Any) -> Entry:
    return Entry("sweep", "costs.tasks.sweep_inbox", runs_at)


def run(name: str = "sweep", *, ended_at: datetime = NOW, error: str = "", runs: int = 1) -> ScheduledRun:
    failed_at, failures = (ended_at, 1) if error else (None, 0)
    started_at = ended_at - timedelta(seconds=0.25)
    times: dict[str, Any] = {"started_at": started_at, "ended_at": ended_at, "seconds": 0.25, "failed_at": failed_at}
    return ScheduledRun(entry=name, runs=runs, failures=failures, error=error, **times)


class TestWhenAnEntryIsLate:
    @pytest.mark.parametrize("period", [1.0, timedelta(seconds=1), every(1.0)])
    def test_a_period_may_be_written_in_three_ways(self, period: Any) -> None:
        assert entry(period).due_after(NOW) == NOW + timedelta(seconds=1)

    def test_after_its_period_it_has_a_minute_to_be_run(self) -> None:
        due = NOW + timedelta(seconds=30)

        assert entry(30.0).overdue(run(), due + GRACE) is None
        assert entry(30.0).overdue(run(), due + GRACE + timedelta(seconds=1)) == GRACE + timedelta(seconds=1)

    @pytest.mark.parametrize(("hour", "due"), [(8, 8 + 24), (13, 13), (12, 12 + 24)])
    def test_what_runs_at_an_hour_is_due_when_that_hour_comes_again(self, hour: int, due: int) -> None:
        daily = entry(crontab(hour=str(hour), minute="0"))

        assert daily.due_after(NOW) == datetime(2026, 11, 28, tzinfo=UTC) + timedelta(hours=due)

    def test_all_entries_of_the_settings_are_understood(self) -> None:
        words = {each.name: each.words for each in schedule.entries()}

        assert words["inbox-sweep"] == "every 1 s"
        assert words["daily-digest"] == "at 08:00"
        assert all(each.due_after(NOW) > NOW for each in schedule.entries())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0.4 s"),
        (30, "30 s"),
        (59.6, "59 s"),
        (72, "1 min 12 s"),
        (300, "5 min"),
        (3600, "1 h"),
        (90_000, "1 day 1 h"),
        (2 * 86_400 + 59, "2 days"),
    ],
)
def test_a_length_of_time_has_at_most_two_units(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def migrated(at: datetime) -> None:
    MigrationRecorder.Migration.objects.update(applied=at)


@pytest.mark.django_db
class TestWhatARunLeavesBehind:
    def test_counts_add_up_and_times_are_the_newest(self) -> None:
        ScheduledRun.objects.note(run(runs=3))
        ScheduledRun.objects.note(run(ended_at=NOW + timedelta(seconds=1)))

        kept = ScheduledRun.objects.get()
        assert (kept.runs, kept.ended_at) == (4, NOW + timedelta(seconds=1))
        assert (kept.error, kept.failed_at, kept.has_failed) == ("", None, False)

    def test_an_error_stays_after_the_next_run_went_well(self) -> None:
        ScheduledRun.objects.note(run(error="ValueError: broken"))
        assert ScheduledRun.objects.get().has_failed

        ScheduledRun.objects.note(run(ended_at=NOW + timedelta(seconds=1)))

        kept = ScheduledRun.objects.get()
        assert (kept.error, kept.failures, kept.failed_at, kept.has_failed) == ("ValueError: broken", 1, NOW, False)

    def test_only_late_entries_are_overdue(self) -> None:
        migrated(NOW)
        ScheduledRun.objects.note(run("inbox-sweep", ended_at=NOW - timedelta(minutes=5)))
        ScheduledRun.objects.note(run("partitions", ended_at=NOW - timedelta(minutes=5)))

        assert schedule.overdue(NOW) == {"inbox-sweep": timedelta(minutes=4, seconds=59)}

    def test_what_never_ran_is_overdue_some_minutes_after_it_could_have(self) -> None:
        migrated(NOW)
        due = NOW + timedelta(seconds=1)
        often = [each for each in schedule.entries() if each.name == "inbox-sweep"]

        assert schedule.overdue(due + FIRST_GRACE, often) == {}
        late = FIRST_GRACE + timedelta(seconds=1)
        assert schedule.overdue(due + late, often) == {"inbox-sweep": late}

    def test_what_never_ran_and_is_due_once_a_day_is_not_missed_before(self) -> None:
        migrated(NOW)

        assert "daily-digest" not in schedule.overdue(NOW + timedelta(hours=19))
        assert "daily-digest" in schedule.overdue(NOW + timedelta(hours=21))


@pytest.mark.django_db
class TestThePage:
    def test_every_entry_is_listed_also_those_that_never_ran(self, admin_client: Client) -> None:
        text = read(admin_client.get(PAGE))

        assert all(each.name in text and each.task in text for each in schedule.entries())
        assert text.count("has not run yet") == len(schedule.entries())

    def test_state_is_told_in_words(self, admin_client: Client) -> None:
        at = timezone.now()
        ScheduledRun.objects.note(run("inbox-sweep", ended_at=at))
        ScheduledRun.objects.note(run("alert-sweep", ended_at=at, error="ValueError: <b>broken</b>"))
        ScheduledRun.objects.note(run("controls-sweep", ended_at=at - timedelta(seconds=200)))

        text = read(admin_client.get(PAGE))

        assert "on time" in text
        assert "the last run failed" in text
        assert "ValueError: <b>broken</b>" in text
        assert re.search(r"overdue by 3 min (19|2\d|3\d) s", text)
        assert f"1 of {len(schedule.entries())} is overdue" in text
        assert "250 ms" in text

    def test_that_nothing_runs_at_all_is_said_first(self, admin_client: Client) -> None:
        for each in schedule.entries():
            ScheduledRun.objects.note(run(each.name, ended_at=timezone.now() - timedelta(hours=3)))

        assert "is beat running, and are workers?" in read(admin_client.get(PAGE))

    def test_it_needs_the_permission_and_so_does_its_link(self) -> None:
        stranger = clerk("view_deadletter")
        assert stranger.get(PAGE).status_code == 403
        assert PAGE not in stranger.get(reverse("admin:index")).content.decode()

    def test_who_may_look_has_the_link(self) -> None:
        page = clerk("view_scheduledrun").get(PAGE)

        assert f'href="{PAGE}"' in page.content.decode()

    def test_nothing_can_be_changed(self, admin_client: Client) -> None:
        ScheduledRun.objects.note(run())

        assert admin_client.post(f"{PAGE}sweep/delete/", {"post": "yes"}).status_code == 404
        assert admin_client.get(f"{PAGE}add/").status_code == 404
