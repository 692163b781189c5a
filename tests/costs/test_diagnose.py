"""`diagnose` tells what is wrong first, and all figures behind it."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections
from pytest_django import Settings

from costs import diagnosis
from costs.diagnosis import machine
from costs.models import DeadLetter, InboxRow
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.servers import Server

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _lines_that_other_tests_rolled_back_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("costs.diagnosis.database.MANY_DEAD", 10**9)


def diagnose(*arguments: str) -> str:
    said = StringIO()
    call_command("diagnose", *arguments, stdout=said)
    return said.getvalue()


def figures(*arguments: str) -> dict[str, list[dict[str, object]]]:
    told: dict[str, list[dict[str, object]]] = json.loads(diagnose("--json", *arguments))
    return told


class TestWhatLooksWrong:
    def test_a_quiet_ledger_has_nothing(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.01", post_id="p")])

        assert diagnose().splitlines()[0] == "Nothing looks wrong."

    def test_each_trouble_is_a_sentence(self, ledger: Ledger) -> None:
        ledger.record([usage_event(model="no-such-model")])
        ledger.accept([amount_event("1")])
        InboxRow.objects.update(received_at=datetime.now(UTC) - timedelta(seconds=305), errors=2)
        DeadLetter.objects.create(source="default", event_id="e", payload="{}", reason="so")

        first, *sentences = diagnose().splitlines()

        assert first == "4 things look wrong:"
        assert [sentence.split(":")[0] for sentence in sentences[:4]] == [
            sentences[0].split(":")[0],
            "- 1 inbox rows have failed before; their last error stands in the admin, under Inbox.",
            "- 1 dead letters are open. See",
            "- 1 charges have no price, so their cost is missing from every total.",
        ]
        assert sentences[0].startswith("- The oldest of 1 accepted events waits for 3")

    @pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
    def test_who_idles_in_a_transaction_and_who_waits_for_a_lock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("costs.diagnosis.database.IDLE_SECONDS", -1)
        with connections["inbox"].cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                told = figures()
            finally:
                cursor.execute("ROLLBACK")

        assert any("idle within a transaction" in str(sentence) for sentence in told["wrong"])
        assert "idle in transaction" in {row["state"] for row in told["connections"]}

    @pytest.mark.django_db(transaction=True)
    def test_a_query_that_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("costs.diagnosis.database.SLOW_SECONDS", 0)
        asleep = threading.Thread(target=_sleep)
        asleep.start()
        try:
            while not (rows := figures()["slow_queries"]):
                assert asleep.is_alive()
        finally:
            asleep.join()

        assert "pg_sleep" in str(rows[0]["query"])


def _sleep() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(2)")
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_without_postgres_the_rest_is_still_told(running_postgres: Server) -> None:
    running_postgres.stop()
    try:
        told = diagnose().splitlines()
    finally:
        running_postgres.start()
        connection.close()

    assert told[:2][0] == "One thing looks wrong:"
    assert told[1].startswith("- PostgreSQL does not answer: ")
    assert "Processes" in told


@pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
def test_what_cannot_be_read_in_time_says_so_and_the_rest_is_still_told() -> None:
    Ledger().record([amount_event("0.01", post_id="p")])
    with connections["inbox"].cursor() as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
        other.execute("BEGIN; LOCK TABLE cost_events IN ACCESS EXCLUSIVE MODE")
        try:
            told = diagnosis.read(NOW)
        finally:
            other.execute("ROLLBACK")
            cursor.execute("RESET lock_timeout")

    notes = {section.name: section.note for section in told.sections}
    assert notes["post"].startswith("Could not be read: canceling statement due to lock timeout")
    assert {"connections", "processes", "broker"} <= notes.keys()


class TestFigures:
    def test_sizes_partitions_and_settings(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.01", post_id="p")])

        told = figures()

        assert f"cost_events_y{NOW:%Y}m{NOW:%m}" in {row["month"] for row in told["partitions"]}
        assert {"table_mb", "indexes_mb", "dead_rows"} <= told["tables"][0].keys()
        assert {"setting": "FINOPS_PGBOUNCER", "value": "False"} in told["pool"]
        assert {row["queue"] for row in told["broker"]} == {"celery", "watch", "tell"}

    def test_how_the_post_is_read(self, ledger: Ledger) -> None:
        ledger.record([amount_event("0.01", post_id="p"), amount_event("0.01", post_id="q")])

        said = diagnose("--post", "q")

        assert "EXPLAIN (ANALYZE, BUFFERS) of the lines of q." in said
        assert "Execution Time" in said
        assert "Buffers: " in said

    @pytest.mark.django_db
    def test_an_empty_ledger_says_so(self) -> None:
        assert "The ledger has no post yet." in diagnose()

    @pytest.mark.django_db
    def test_statements_say_why_there_are_none(self) -> None:
        assert "pg_stat_statements is not installed" in diagnose()

    @pytest.mark.django_db
    def test_columns_stand_beneath_each_other(self) -> None:
        lines = diagnose().splitlines()
        begins = lines.index("Inbox, dead letters, prices")

        assert len({len(line) for line in lines[begins + 1 : begins + 7]}) == 1


class TestTheMachine:
    def test_our_processes_and_what_they_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _process(tmp_path, 10, 1, 500_000, "/usr/bin/python", "-m", "celery", "--app", "finops_project")
        _process(tmp_path, 11, 10, 30_000, "ForkPoolWorker-1")
        _process(tmp_path, 12, 1, 90_000, "/usr/bin/python", "-m", "pytest", "tests/finops_project/test_x.py")
        _process(tmp_path, 13, 1, None, "kthreadd")
        monkeypatch.setattr(machine, "PROC", tmp_path)

        section, wrong = machine.processes()

        assert [row[:3] for row in section.rows] == [(10, 1, 488.3), (11, 10, 29.3)]
        assert wrong == [
            "Process 10 holds 488 MB, more than FINOPS_MEMORY_THRESHOLD_MB: "
            "/usr/bin/python -m celery --app finops_project"
        ]

    def test_where_no_metrics_are_shared_it_says_where_the_caches_stand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)

        assert "/metrics has the figures" in machine.caches().note

    def test_redis_away_is_told_and_the_rest_still_shown(self, ledger: Ledger, settings: Settings) -> None:
        settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"

        told = diagnosis.read(NOW)

        assert told.wrong[0].startswith("Redis does not answer: ")
        assert {"tables", "processes"} <= {section.name for section in told.sections}

    def test_this_process_is_not_shown(self) -> None:
        section, _ = machine.processes()

        assert os.getpid() not in {row[0] for row in section.rows}


def _process(proc: Path, pid: int, parent: int, resident: int | None, *command: str) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    memory = f"VmRSS:\t{resident} kB\n" if resident else ""
    (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n{memory}")
    (folder / "cmdline").write_text("\0".join(command) + "\0")
