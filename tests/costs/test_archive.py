"""A month leaves the ledger for a file that equals it, every sum stays, and it can come back."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from costs import archive, attribution, parquet, partitions
from costs.archived import Archived
from costs.breakdown import breakdown
from costs.models import ApiKey, ArchivedPartition, ArchivedSum, CostEvent, PriceRate, PriceSheet, Scope
from costs.models.archives import table_of
from costs.periods import InvalidQuery
from costs.reprice import reprice
from costs.verify import verify
from finops_project.local.home import SOURCE
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.costs.test_backup import empty, lose
from tests.processes import environment

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = datetime(2025, 2, 10, 12, 30, tzinfo=UTC)
OLDER = datetime(2025, 1, 20, 8, 15, 30, 123456, tzinfo=UTC)
FEBRUARY, JANUARY = date(2025, 2, 1), date(2025, 1, 1)
FILE = "cost_events_y2025m02.parquet"
committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


def run(name: str, *arguments: str) -> str:
    said = StringIO()
    call_command(name, *arguments, stdout=said, stderr=said)
    return said.getvalue()


def sql(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def lines() -> list[tuple[Any, ...]]:
    return sql("SELECT * FROM cost_events ORDER BY id")


@pytest.fixture(autouse=True)
def _partitions_as_they_were(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tables that were detached outlive the test's own cleaning."""
    yield
    if request.node.get_closest_marker("django_db"):
        with request.getfixturevalue("django_db_blocker").unblock():
            for month in (JANUARY, FEBRUARY):
                sql(f"DROP TABLE IF EXISTS {table_of(month)}")
        partitions._known.clear()


def fill() -> None:
    """Two old months with charges, a corrected price and awkward text, and one line of today."""
    ledger = Ledger()
    text = 'a "quoted", text\nwith a new line \\ and € ☃'
    events = [
        usage_event(event_id="call", post_id="p", persona_id="ada", operation="draft", correlation_id="c"),
        amount_event("0.000000000001", event_id="tiny", post_id="p", metadata={"say": text, "n": 1.10}),
        amount_event("999999999.999999999999", event_id="huge", post_id=text),
    ]
    ledger.record([event | {"timestamp": OLDER.isoformat()} for event in events], at=OLDER)
    ledger.record([amount_event("0.5", event_id="later", post_id="p", timestamp=OLD.isoformat())], at=OLD)
    ledger.record([amount_event("0.25", event_id="today", post_id="p")], at=NOW)
    PriceRate.objects.create(
        kind="contract",
        provider="openai",
        model="gpt-4o",
        bucket="input_tokens",
        unit_price=Decimal(2),
        per=1_000_000,
        effective_from=OLDER - timedelta(days=1),
    )
    reprice(OLDER - timedelta(days=1), OLDER + timedelta(days=1), at=OLD)


def archived(folder: Path, *arguments: str) -> str:
    return run("archive", "--output", str(folder), *arguments)


@committed
class TestTheFile:
    def test_it_has_every_value_of_every_line(self, tmp_path: Path) -> None:
        fill()
        before = sql(f"SELECT {parquet.SELECT} FROM cost_events_y2025m01 ORDER BY id")

        archived(tmp_path)

        path = tmp_path / "cost_events_y2025m01.parquet"
        assert [tuple(row) for row in parquet.rows_of(path)] == before
        assert len(before) == 3
        schema = pq.read_schema(path)
        assert str(schema.field("cost_amount").type) == "decimal128(21, 12)"
        assert str(schema.field("timestamp").type) == "timestamp[us, tz=UTC]"

    def test_it_says_what_it_holds(self, tmp_path: Path) -> None:
        fill()
        said = archived(tmp_path)

        told = parquet.told_by(tmp_path / FILE)
        assert (told["month"], told["rows"], told["sum"]) == ("2025-02", "2", "0.499500000000")
        month = ArchivedPartition.objects.get(month=FEBRUARY)
        assert f"2025-02: 2 lines, $0.4995, in {tmp_path / FILE}" in said
        assert month.file_sha256 in said

    def test_a_file_that_differs_keeps_the_month_in_the_ledger(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill()
        written = parquet._table

        def forged(rows: list[Any]) -> Any:
            return written([(*row[:5], Decimal("0.000000000002"), *row[6:]) for row in rows])

        original = parquet.write

        def write_forged(month: date, folder: Path) -> Path:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(parquet, "_table", forged)
                return original(month, folder)

        monkeypatch.setattr(parquet, "write", write_forged)

        with pytest.raises(CommandError, match=r"2025-01 stays: .* differs from the ledger"):
            archived(tmp_path)

        assert not ArchivedPartition.objects.exists()
        assert CostEvent.objects.count() == 6

    def test_a_file_with_other_lines_is_never_overwritten(self, tmp_path: Path) -> None:
        """Of a month that was restored in part, it may be the only copy."""
        fill()
        archived(tmp_path)
        path = tmp_path / FILE
        run("restore_archive", str(path))
        whole = path.read_bytes()
        lose("event_id = 'later'")

        with pytest.raises(CommandError, match=rf"2025-02 stays: .*{FILE} is there already, with other lines \(2, "):
            archived(tmp_path)

        assert path.read_bytes() == whole
        assert [child.name for child in tmp_path.iterdir() if "unfinished" in child.name] == []

    def test_a_file_that_is_none_of_ours_is_never_overwritten(self, tmp_path: Path) -> None:
        fill()
        (tmp_path / FILE).write_text("notes")

        with pytest.raises(CommandError, match=r"2025-02 stays: .* is no Parquet file"):
            archived(tmp_path)

        assert (tmp_path / FILE).read_text() == "notes"


@committed
class TestWhatStays:
    def test_every_sum_and_the_proof_of_it(self, tmp_path: Path) -> None:
        fill()
        whole = {"start_date": "2025-01-01", "end_date": f"{NOW:%Y-%m-%d}", "group_by": "persona_id,cost_type,model"}
        before, total = breakdown(**whole), verify().total

        archived(tmp_path, "--drop")

        assert [line.event_id for line in CostEvent.objects.all()] == ["today"]
        assert breakdown(**whole) == before
        verdict = verify()
        assert (verdict.drifts, verdict.total, verdict.lines, verdict.archived) == ([], total, 6, 5)
        assert "5 of these lines are archived" in run("verify_ledger")

    def test_all_that_is_known_of_a_post_but_its_lines(self, tmp_path: Path) -> None:
        fill()
        before = attribution.post_breakdown("p")

        archived(tmp_path)

        after = attribution.post_breakdown("p")
        assert before is not None
        assert after is not None
        gone = ("audit_trail", "archived_events")
        assert {k: v for k, v in after.items() if k not in (*gone, "accuracy_details")} == {
            k: v for k, v in before.items() if k not in (*gone, "accuracy_details")
        }
        for name in ("total_events", "high_confidence_events"):
            assert after["accuracy_details"][name] == before["accuracy_details"][name]
        assert (len(before["audit_trail"]), len(after["audit_trail"]), after["archived_events"]) == (5, 1, 4)

    def test_only_those_of_visible_personas(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)

        seen = attribution.post_breakdown("p", personas=["ada"])

        assert seen is not None
        assert (seen["archived_events"], seen["total_cost"]) == (2, Decimal("0.007"))

    def test_a_sum_that_somebody_changed_is_found(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)
        ArchivedSum.objects.filter(counter="costs_dailycost", amount=Decimal("0.5")).update(amount=1)

        assert {drift.table for drift in verify().drifts} == {"costs_archivedsum", "costs_dailycost"}

    @pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
    def test_budgets_are_still_proved(self, tmp_path: Path, zone: str) -> None:
        for fields in ({}, {"cost_type": "cdn"}, {"persona_id": "ada"}):
            make_budget(at=OLDER - timedelta(days=40), period="monthly", timezone=zone, **fields)
        fill()
        run("verify_budgets")

        archived(tmp_path, "--drop")

        assert "the budgets equal the ledger" in run("verify_budgets")

    def test_the_keys_so_no_event_is_ever_booked_twice(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path, "--drop")

        event = amount_event("0.5", event_id="later", post_id="p", timestamp=OLD.isoformat())
        same, other = Ledger().record([event, event | {"amount": "1"}], at=NOW)

        assert (same.status, other.status) == ("duplicate", "conflict")

    def test_a_part_of_an_hour_is_refused_since_only_its_lines_knew(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)

        with pytest.raises(InvalidQuery, match="the lines of 2025-02-10 12:00 UTC are archived"):
            breakdown(start_date="2025-02-10T12:15:00Z", end_date="2025-02-11T00:00:00Z")

        assert breakdown(start_date="2025-02-10T12:00:00Z", end_date="2025-02-10T13:00:00Z")["total_cost"] == 0.5

    def test_a_part_of_an_hour_is_refused_also_while_its_lines_leave(self, tmp_path: Path) -> None:
        """A breakdown that finds no archive and then waits for the ledger's lock finds no lines either."""
        fill()
        file = parquet.compare(FEBRUARY, parquet.write(FEBRUARY, tmp_path))
        left, may_commit = threading.Event(), threading.Event()
        leaving = threading.Thread(target=_leave, args=(file, left, may_commit))
        leaving.start()
        assert left.wait(10)
        commit = threading.Thread(target=_when_somebody_waits, args=(may_commit,))
        commit.start()

        try:
            with pytest.raises(InvalidQuery, match="the lines of 2025-02-10 12:00 UTC are archived"):
                breakdown(start_date="2025-02-10T12:15:00Z", end_date="2025-02-11T00:00:00Z")
        finally:
            may_commit.set()
            leaving.join()
            commit.join()


@committed
class TestAnArchivedEvent:
    def test_its_explanation_is_in_the_file(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)

        with pytest.raises(Archived, match=r"manage\.py restore_archive"):
            attribution.explain("later")

        assert attribution.explain("never seen") is None
        assert attribution.explain("later", personas=["ada"]) is None
        assert (attribution.explain("today") or {})["amount"] == Decimal("0.25")

    def test_a_run_of_reprice_says_that_it_was_left_out(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)

        said = run("reprice", "--from", "2025-01-01", "--to", "2025-03-01")

        assert "Lines that were booked in 2025-01 to 2025-02 are archived" in said

    def test_a_backup_that_has_it_brings_nothing_twice(self, tmp_path: Path) -> None:
        fill()
        run("backup", "--output", str(tmp_path / "all.tar.gz"))
        archived(tmp_path)

        said = run("restore", str(tmp_path / "all.tar.gz"))

        assert "5 lines belong to months that are archived here" in said
        assert not verify().drifts

    def test_a_backup_cannot_add_lines_to_an_archived_month(self, tmp_path: Path) -> None:
        fill()
        run("backup", "--output", str(tmp_path / "all.tar.gz"))
        archived(tmp_path)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM costs_eventkey WHERE event_id = 'later'")

        with pytest.raises(CommandError, match="of months that are archived: restore_archive first"):
            run("restore", str(tmp_path / "all.tar.gz"))

    def test_what_a_backup_brought_before_that_is_told(self, tmp_path: Path) -> None:
        fill()
        run("backup", "--output", str(tmp_path / "all.tar.gz"))
        archived(tmp_path)
        sql("DELETE FROM costs_eventkey WHERE event_id = 'later'")
        empty("costs_pricesheet")
        said = StringIO()

        with pytest.raises(CommandError, match="Only what is told above was read and restored"):
            call_command("restore", str(tmp_path / "all.tar.gz"), stdout=said)

        assert f"{PriceSheet.objects.count():>12,}  sheets\n" in said.getvalue()
        assert PriceSheet.objects.exists()

    @pytest.mark.parametrize("statement", ["UPDATE {} SET cost_amount = 0", "DELETE FROM {}", "TRUNCATE {}"])
    def test_its_line_cannot_be_changed_while_its_table_stands(self, tmp_path: Path, statement: str) -> None:
        fill()
        archived(tmp_path)

        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            sql(statement.format("cost_events_y2025m02"))


@committed
class TestWhichMonths:
    def test_a_dry_run_names_them_and_does_nothing(self, tmp_path: Path) -> None:
        fill()

        said = archived(tmp_path / "none", "--dry-run")

        assert said == "2025-01 would be archived.\n2025-02 would be archived.\n"
        assert not (tmp_path / "none").exists()

    def test_recent_ones_always_stay(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="at least 4 months stay"):
            archived(tmp_path, "--older-than", "3")

    def test_so_many_whole_months_are_kept(self) -> None:
        fill()

        assert archive.closed_months(datetime(2025, 6, 30, tzinfo=UTC), 4) == [JANUARY]
        assert archive.closed_months(datetime(2025, 7, 1, tzinfo=UTC), 4) == [JANUARY, FEBRUARY]

    def test_a_charge_without_a_price_keeps_its_month_and_all_later_ones(self, tmp_path: Path) -> None:
        Ledger().record([usage_event(model="no-such-model", timestamp=OLDER.isoformat())], at=OLDER)
        Ledger().record([amount_event("1", timestamp=OLD.isoformat())], at=OLD)

        with pytest.raises(CommandError, match="2025-01 stays: 1 of its charges have no price yet"):
            archived(tmp_path)

        assert not ArchivedPartition.objects.exists()


@committed
class TestOverHTTP:
    def test_an_archived_event_is_gone_for_whoever_sees_all(self, tmp_path: Path, client: Client) -> None:
        fill()
        archived(tmp_path)
        _, every = ApiKey.issue(name="all", scopes=[Scope.COSTS_READ], source="reports")
        _, bound = ApiKey.issue(name="one", scopes=[Scope.COSTS_READ], source="one", personas=["ada"])

        gone = client.get("/costs/events/later/explain", headers={"Authorization": f"Bearer {every}"})
        absent = client.get("/costs/events/later/explain", headers={"Authorization": f"Bearer {bound}"})
        post = client.get("/costs/post/p", headers={"Authorization": f"Bearer {every}"})

        assert (gone.status_code, absent.status_code) == (410, 404)
        assert "manage.py restore_archive brings it back" in gone.json()["detail"]
        assert post.json()["archived_events"] == 4

    def test_what_waits_is_not_archived(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)
        Ledger().accept([amount_event("1", event_id="waits")], at=NOW)

        assert attribution.explain("waits") is None


@committed
class TestTheAdmin:
    def test_it_lists_the_months_and_the_post_says_what_it_lacks(self, tmp_path: Path, admin_client: Client) -> None:
        fill()
        archived(tmp_path, "--drop")

        months = admin_client.get("/admin/costs/archivedpartition/").content.decode()
        month = admin_client.get("/admin/costs/archivedpartition/2025-02-01/change/").content.decode()
        post = admin_client.get(reverse("admin:costs_post"), {"id": "p"}).content.decode()

        assert "2025-01" in months
        assert "the file is the only copy" in months
        assert ArchivedPartition.objects.get(month=FEBRUARY).file_sha256 in month
        assert "4 older lines are archived" in post


@committed
class TestDropping:
    def test_the_table_stays_until_it_is_said(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)
        assert sql("SELECT count(*) FROM cost_events_y2025m02") == [(2,)]

        said = archived(tmp_path, "--drop")

        assert "2025-02: the table is dropped." in said
        assert sql("SELECT to_regclass('cost_events_y2025m02')") == [(None,)]

    def test_not_without_the_file(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)
        (tmp_path / "cost_events_y2025m01.parquet").unlink()

        with pytest.raises(CommandError, match="The table of 2025-01 stays: there is no file"):
            archived(tmp_path, "--drop")

        assert sql("SELECT count(*) FROM cost_events_y2025m01") == [(3,)]

    def test_not_with_a_file_of_other_lines(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)
        path = tmp_path / "cost_events_y2025m01.parquet"
        path.write_bytes((tmp_path / FILE).read_bytes())

        with pytest.raises(CommandError, match="differs from the ledger"):
            archived(tmp_path, "--drop")


@committed
class TestComingBack:
    @pytest.mark.parametrize("arguments", [[], ["--drop"]], ids=["detached", "dropped"])
    def test_every_line_is_as_it_was(self, tmp_path: Path, arguments: list[str]) -> None:
        fill()
        before, explained = lines(), attribution.explain("call")
        archived(tmp_path, *arguments)

        said = run("restore_archive", str(tmp_path / FILE))
        run("restore_archive", str(tmp_path / "cost_events_y2025m01.parquet"))

        assert said == "2025-02: 2 lines are part of the ledger again.\n"
        assert lines() == before
        assert attribution.explain("call") == explained
        assert not verify().drifts
        assert not ArchivedSum.objects.exists()
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            sql("DELETE FROM cost_events_y2025m02")

    def test_it_can_be_corrected_and_leave_again(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path, "--drop")
        for month in ("02", "01"):
            run("restore_archive", str(tmp_path / f"cost_events_y2025m{month}.parquet"))
        PriceRate.objects.update(unit_price=3)

        corrected = reprice(OLDER - timedelta(days=1), OLDER + timedelta(days=1), at=NOW)
        archived(tmp_path)

        assert corrected.corrected == 1
        assert ArchivedPartition.objects.count() == 2
        assert CostEvent.objects.filter(adjusts__isnull=False).count() == 1
        assert not verify().drifts

    def test_the_newest_first(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path)

        with pytest.raises(CommandError, match="2025-02 is archived"):
            run("restore_archive", str(tmp_path / "cost_events_y2025m01.parquet"))

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path, "--drop")
        path = tmp_path / FILE
        path.write_bytes(path.read_bytes()[:-20])

        with pytest.raises(CommandError, match="Nothing was restored"):
            run("restore_archive", str(path))


@committed
def test_whoever_uses_the_ledger_for_long_is_waited_for_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    monkeypatch.setattr(archive, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(archive, "PAUSE_SECONDS", 0.05)
    holds, may_end = threading.Event(), threading.Event()
    reader = threading.Thread(target=_read_for_long, args=(holds, may_end))
    reader.start()
    assert holds.wait(10)

    try:
        monkeypatch.setattr(archive, "TRIES", 2)
        with pytest.raises(CommandError, match="long transactions use the ledger"):
            archived(tmp_path)
    finally:
        may_end.set()
        reader.join()
    archived(tmp_path)

    assert ArchivedPartition.objects.count() == 2


def _leave(file: archive.File, left: threading.Event, may_commit: threading.Event) -> None:
    try:
        with transaction.atomic():
            archive.detach(FEBRUARY, file, at=NOW)
            left.set()
            may_commit.wait(10)
    finally:
        connection.close()


def _when_somebody_waits(may_commit: threading.Event) -> None:
    try:
        while not may_commit.is_set() and not sql("SELECT pid FROM pg_locks WHERE NOT granted"):
            time.sleep(0.02)
        may_commit.set()
    finally:
        connection.close()


def _read_for_long(holds: threading.Event, may_end: threading.Event) -> None:
    try:
        with transaction.atomic():
            sql("SELECT count(*) FROM cost_events")
            holds.set()
            may_end.wait(10)
    finally:
        connection.close()


def test_no_process_of_the_service_loads_the_library() -> None:
    script = (
        "import django, sys; django.setup(); import finops_project.urls, finops_project.celery;"
        "finops_project.celery.app.loader.import_default_modules(); print('pyarrow' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=SOURCE,
        env=environment("worker"),
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.strip() == "False"


def test_without_the_library_the_command_says_what_it_needs() -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None; from django.core.management import execute_from_command_line;"
        " execute_from_command_line(['manage.py', 'archive'])"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=SOURCE,
        env=environment("command"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (said.returncode, said.stderr) == (
        1,
        "This needs pyarrow: pip install --requirement requirements-archive.txt\n",
    )
