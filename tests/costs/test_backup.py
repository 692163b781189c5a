"""A backup brings the ledger back exactly, into an empty database and into one that has a part of it."""

import io
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from costs import backup, counters, drain, outcomes
from costs.events import encode
from costs.models import AdjustmentKey, CostEvent, DeadLetter, EventKey, InboxRow, Outcome, PriceRate, PriceSheet
from costs.reprice import reprice
from costs.verify import verify
from finops_project.local.home import SOURCE
from tests.controls.conftest import make_budget
from tests.costs.conftest import Ledger, amount_event, usage_event
from tests.processes import environment

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=40)
TABLES = (
    *("cost_events", "costs_eventkey", "costs_pricesheet", "costs_adjustmentkey", "costs_inboxrow"),
    *("costs_deadletter", "costs_outcome", "costs_hourlyoutcome", "costs_postoutcome", "costs_knownoperation"),
    *("costs_metrictotal", "costs_metricnote", *(table.name for table in counters.TABLES)),
)
committed = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])
AWKWARD = 'a "quoted", comma\nand a new line \\N'


def run(name: str, *arguments: str) -> str:
    said = StringIO()
    call_command(name, *arguments, stdout=said)
    return said.getvalue()


def content(table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")
        return list(cursor.fetchall())


def everything() -> dict[str, list[tuple[Any, ...]]]:
    tables = {table: content(table) for table in ("cost_events", "costs_eventkey", *(t.name for t in counters.TABLES))}
    return tables | {
        "sheets": content("costs_pricesheet", "id, content::text, created_at"),
        "adjustment keys": content("costs_adjustmentkey", "line_id, number, 1"),
        "outcomes": content("costs_outcome", "source, event_id, quantity, amount, digest"),
        "post outcomes": content("costs_postoutcome"),
    }


def empty(*tables: str) -> None:
    """As in a database that was just made; the ledger's own triggers refuse this."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"TRUNCATE {', '.join(tables or TABLES)} RESTART IDENTITY")
        cursor.execute("RESET session_replication_role")


def lose(condition: str) -> None:
    """Lines of the ledger that are gone, with nothing else changed."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f"DELETE FROM cost_events WHERE {condition}")
        cursor.execute("RESET session_replication_role")


def fill() -> None:
    """Charges of two months, given and computed, a corrected price, a dead letter, an outcome, and one that waits."""
    ledger = Ledger()
    ledger.record([usage_event(event_id="old", post_id="p1", persona_id="ada")], at=EARLIER)
    events = [
        usage_event(event_id="call", post_id="p1", persona_id="ada", operation="draft", hold_id="h1"),
        amount_event("0.000000000001", event_id="tiny", post_id=AWKWARD, metadata={"say": AWKWARD, "n": 1.10}),
        usage_event(event_id="strange", model="no-such-model", persona_id="bob"),
        amount_event("999999999.999999999999", event_id="huge"),
    ]
    ledger.record(events, at=NOW)
    ledger.record([amount_event("0.5", event_id="call", post_id="p9")], source="other", at=NOW)
    PriceRate.objects.create(
        kind="contract",
        provider="openai",
        model="gpt-4o",
        bucket="input_tokens",
        unit_price=Decimal(2),
        per=1_000_000,
        effective_from=EARLIER - timedelta(days=1),
    )
    reprice(EARLIER - timedelta(days=1), NOW + timedelta(days=1), at=NOW + timedelta(hours=1))
    told = {"event_id": "o1", "kind": "follow", "quantity": "2.5", "post_id": "p1", "persona_id": "ada"}
    outcomes.accept([encode(told)], source="default", at=NOW, using="default")


def wait(event_id: str = "later") -> None:
    Ledger().accept([amount_event("3", event_id=event_id, post_id="p1", hold_id="h2")], at=NOW)


@committed
class TestIntoAnEmptyDatabase:
    def test_every_row_and_every_sum_is_as_it_was(self, tmp_path: Path) -> None:
        fill()
        before, path = everything(), str(tmp_path / "all.tar.gz")
        said = run("backup", "--output", path)

        empty()
        restored = run("restore", path)

        assert f"{CostEvent.objects.count():>12,}  lines\n" in said
        assert f"{len(before['cost_events']):>12,}  {len(before['cost_events']):>12,}  lines\n" in restored
        assert everything() == before
        assert not verify().drifts

    def test_the_next_line_takes_no_id_that_came_back(self, tmp_path: Path) -> None:
        fill()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        run("restore", path)
        newest = max(CostEvent.objects.values_list("pk", flat=True))

        Ledger().record([amount_event("1", event_id="new")], at=NOW)

        assert CostEvent.objects.get(event_id="new").pk > newest

    def test_an_event_that_came_back_is_a_duplicate_for_ever(self, tmp_path: Path) -> None:
        fill()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        run("restore", path)

        event = amount_event("999999999.999999999999", event_id="huge")
        again, changed = Ledger().record([event, event | {"amount": "1"}], at=NOW)

        assert (again.status, changed.status) == ("duplicate", "conflict")

    def test_what_waited_waits_again_and_is_booked_once(self, tmp_path: Path) -> None:
        wait()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        run("restore", path)

        (row,) = InboxRow.objects.all()
        assert (row.post_ids, row.hold_ids) == (["p1"], ["h2"])
        drain.drain(at=NOW)
        assert CostEvent.objects.get(event_id="later").cost_amount == 3

    def test_a_dead_letter_stays_one(self, tmp_path: Path) -> None:
        letter = {"source": "default", "event_id": "later", "payload": '{"cost_type":"cdn"}', "reason": "so"}
        wait()
        InboxRow.objects.all().delete()
        DeadLetter.objects.create(**letter)
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        run("restore", path)

        assert list(DeadLetter.objects.values(*letter)) == [letter]
        assert EventKey.objects.count() == 1

    def test_a_day_brings_the_charges_along_that_it_corrects(self, tmp_path: Path) -> None:
        fill()
        path = str(tmp_path / "day.tar.gz")
        run("backup", "--since", f"{NOW:%Y-%m-%d}", "--output", path)
        empty()
        run("restore", path)

        assert CostEvent.objects.filter(event_id="old").count() == 2
        assert AdjustmentKey.objects.count() == 2
        assert not verify().drifts


@committed
class TestIntoADatabaseThatHasAPartOfIt:
    def test_a_second_restore_changes_nothing(self, tmp_path: Path) -> None:
        fill()
        wait()
        before, path = everything(), str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)

        restored = run("restore", path)

        assert f"{len(before['cost_events']):>12,}  {0:>12,}  lines\n" in restored
        assert everything() == before
        assert InboxRow.objects.count() == 1

    def test_only_what_is_missing_comes(self, tmp_path: Path) -> None:
        fill()
        before, path = everything(), str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        Ledger().record([amount_event("999999999.999999999999", event_id="huge")], at=NOW)
        Ledger().record([amount_event("7", event_id="only here")])

        run("restore", path)

        amounts = CostEvent.objects.exclude(event_id="only here").total()
        assert amounts == sum(row[5] for row in before["cost_events"] if row[5] is not None)
        assert CostEvent.objects.count() == len(before["cost_events"]) + 1
        assert not verify().drifts

    def test_a_charge_that_was_booked_anew_at_its_own_price_is_not_corrected_again(self, tmp_path: Path) -> None:
        fill()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        call = usage_event(event_id="call", post_id="p1", persona_id="ada", operation="draft", hold_id="h1")
        Ledger().record([call], at=NOW + timedelta(hours=2))

        said = run("restore", path)

        assert "1 lines adjust charges that are not here" in said
        assert CostEvent.objects.filter(event_id="call", source="default").total() == Decimal("0.007")
        assert not verify().drifts

    def test_an_adjustment_points_to_its_charge_under_the_id_that_it_has_here(self, tmp_path: Path) -> None:
        fill()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        Ledger().record([amount_event("1", event_id=f"mine-{number}") for number in range(20)], at=NOW)

        run("restore", path)

        for adjustment in CostEvent.objects.exclude(adjusts=None):
            charge = CostEvent.objects.get(pk=adjustment.adjusts or 0)
            assert charge.event_id == adjustment.event_id
        assert CostEvent.objects.count() == CostEvent.objects.values("pk").distinct().count()
        assert not verify().drifts

    def test_what_came_back_under_other_ids_can_be_backed_up_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A charge whose id was taken has a higher one than its adjustment."""
        monkeypatch.setattr(backup, "ROWS", 2)
        fill()
        first, second = str(tmp_path / "first.tar.gz"), str(tmp_path / "second.tar.gz")
        run("backup", "--output", first)
        empty()
        Ledger().record([amount_event("1", event_id="mine")], at=NOW)
        run("restore", first)
        total = CostEvent.objects.total()
        run("backup", "--output", second)
        empty()

        run("restore", second)

        assert CostEvent.objects.get(event_id="old", adjusts=None).pk > 1_000_000
        assert CostEvent.objects.total() == total
        assert not verify().drifts

    def test_what_waits_here_is_booked_from_here_alone(self, tmp_path: Path) -> None:
        wait()
        drain.drain(at=NOW)
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        wait()

        said = run("restore", path)
        drain.drain(at=NOW)

        assert "1 lines wait here in the inbox" in said
        assert CostEvent.objects.filter(event_id="later").count() == 1

    def test_another_body_under_the_same_id_stands(self, tmp_path: Path) -> None:
        Ledger().record([amount_event("1", event_id="same")], at=NOW)
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        # Its line is gone: even then the id belongs to this body.
        Ledger().record([amount_event("2", event_id="same")], at=NOW)
        lose("event_id = 'same'")

        said = run("restore", path)

        assert "1 lines have another body here" in said
        assert not CostEvent.objects.exists()

    def test_lost_lines_come_back_though_their_keys_are_here(self, tmp_path: Path) -> None:
        fill()
        before, path = content("cost_events"), str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        lose("event_id = 'call' AND source = 'other' OR adjusts IS NOT NULL")

        run("restore", path)

        assert content("cost_events") == before


@committed
class TestBesideTheRest:
    def test_two_restores_at_once_bring_everything_once(self, tmp_path: Path) -> None:
        fill()
        before, path = everything(), str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_restored, [path, path]))

        assert everything() == before
        assert not verify().drifts

    def test_budgets_count_what_comes_back(self, tmp_path: Path) -> None:
        make_budget(at=EARLIER - timedelta(days=40), period="monthly")
        fill()
        path = str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty(*TABLES, "controls_budgetperiod")

        run("restore", path)

        assert "the budgets equal the ledger" in run("verify_budgets")


def _restored(path: str) -> None:
    try:
        run("restore", path)
    finally:
        connection.close()


@committed
class TestTheFile:
    def test_one_byte_that_changed_is_noticed_before_anything_is_restored(self, tmp_path: Path) -> None:
        fill()
        path, forged = tmp_path / "all.tar.gz", tmp_path / "forged.tar.gz"
        run("backup", "--output", str(path))
        with tarfile.open(path) as old, tarfile.open(forged, "w:gz") as new:
            for entry in old:
                body = old.extractfile(entry).read()  # type: ignore[union-attr]
                if entry.name.startswith("lines/"):
                    body = body.replace(b"0.0075", b"0.0076", 1)
                new.addfile(entry, io.BytesIO(body))
        empty()

        with pytest.raises(CommandError, match=r"lines 000001 is not as it was written"):
            run("restore", str(forged))

        assert not CostEvent.objects.exists()

    @pytest.mark.parametrize("length", [0, 20, 300])
    def test_what_was_cut_off_is_refused(self, tmp_path: Path, length: int) -> None:
        fill()
        path = tmp_path / "all.tar.gz"
        run("backup", "--output", str(path))
        path.write_bytes(path.read_bytes()[:length])

        with pytest.raises(CommandError, match="was not restored"):
            run("restore", str(path))

    @pytest.mark.parametrize(("minutes", "is_in_it"), [(59, True), (61, False)])
    def test_a_day_reaches_back_an_hour_more_for_what_was_being_booked_then(
        self, tmp_path: Path, minutes: int, is_in_it: bool
    ) -> None:
        Ledger().record([amount_event("1")], at=datetime.now(UTC) - timedelta(days=1, minutes=minutes))
        path = str(tmp_path / "day.tar.gz")
        run("backup", "--since", "1d", "--output", path)
        empty()
        run("restore", path)

        assert CostEvent.objects.exists() is is_in_it

    def test_the_period_leaves_out_what_was_booked_before(self, tmp_path: Path) -> None:
        Ledger().record([amount_event("1", event_id="before")], at=EARLIER)
        Ledger().record([amount_event("2", event_id="after")], at=NOW)
        path = str(tmp_path / "some.tar.gz")
        run("backup", "--since", "2026-11-24", "--output", path)
        empty()
        run("restore", path)

        assert [line.event_id for line in CostEvent.objects.all()] == ["after"]

    def test_nothing_appears_under_its_name_that_is_not_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "all.tar.gz"
        with pytest.raises(ZeroDivisionError), backup.appearing(path) as file:
            file.write(bytes([1 // 0]))

        assert list(tmp_path.iterdir()) == []

    def test_no_sheet_is_lost(self, tmp_path: Path) -> None:
        fill()
        before, path = PriceSheet.objects.count(), str(tmp_path / "all.tar.gz")
        run("backup", "--output", path)
        empty()
        run("restore", path)

        assert PriceSheet.objects.count() == before > 1
        assert Outcome.objects.count() == 1


@committed
class TestThroughPipes:
    """No disk is needed where the commands run, and their exit codes are the shell's."""

    def test_what_one_writes_the_other_reads(self, tmp_path: Path) -> None:
        fill()
        before, path = everything(), tmp_path / "all.tar.gz"
        written = shell(f"{MANAGE} backup --output - > {path}")
        empty()

        read = shell(f"{MANAGE} restore - < {path}")

        assert (written.returncode, written.stdout, read.returncode) == (0, "", 0)
        assert f"{len(before['cost_events']):>12,}  lines\n" in written.stderr
        assert everything() == before

    def test_a_backup_that_fails_says_so(self, tmp_path: Path) -> None:
        written = shell(
            f"{MANAGE} backup --output - > {tmp_path}/all.tar.gz", DATABASE_URL="postgresql://127.0.0.1:1/x"
        )

        assert written.returncode != 0

    def test_what_came_before_the_end_was_cut_off_is_told_and_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backup, "ROWS", 2)
        fill()
        path, count = tmp_path / "all.tar.gz", CostEvent.objects.count()
        run("backup", "--output", str(path))
        empty()
        with tarfile.open(path) as old, tarfile.open(tmp_path / "cut.tar.gz", "w:gz") as new:
            for entry in list(old)[: _place(old, "lines/000002")]:
                new.addfile(entry, old.extractfile(entry))
        said = StringIO()

        with (tmp_path / "cut.tar.gz").open() as stream, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", stream)
            with pytest.raises(CommandError, match="Only what is told above was read and restored: it was cut off"):
                call_command("restore", "-", stdout=said)

        assert f"{2:>12,}  {2:>12,}  lines\n" in said.getvalue()
        assert CostEvent.objects.count() == 2
        assert not verify().drifts
        run("restore", str(path))
        assert CostEvent.objects.count() == count


MANAGE = f"{sys.executable} manage.py"


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=SOURCE,
        env=environment("command") | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def _place(tar: tarfile.TarFile, name: str) -> int:
    return next(place for place, entry in enumerate(tar) if entry.name.startswith(name))
