"""With its backup and the files of its archives a ledger can be rebuilt: every total, every key, every line."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from costs import attribution, counters, drain, partitions
from costs.breakdown import breakdown
from costs.models import AdjustmentKey, ArchivedPartition, ArchivedPost, ArchivedSum, CostEvent, EventKey
from costs.models.archives import table_of
from costs.reprice import reprice
from costs.verify import verify
from tests.controls.conftest import make_budget
from tests.costs import test_archive, test_backup
from tests.costs.conftest import Ledger, amount_event
from tests.costs.test_archive import (
    FEBRUARY,
    FILE,
    JANUARY,
    NOW,
    OLD,
    OLDER,
    archived,
    committed,
    fill,
    lines,
    run,
    sql,
)
from tests.costs.test_backup import lose

KEPT = ("costs_archivedsum", "costs_archivedpost", "costs_archivedpartition")
# The keys of archived adjustments come with their lines; `verify` compares the metrics.
SAME = (
    *("cost_events", "costs_eventkey", "costs_knownoperation"),
    *(table.name for table in counters.TABLES),
)
WHOLE = {"start_date": "2025-01-01", "end_date": f"{NOW:%Y-%m-%d}", "group_by": "persona_id,operation"}

_partitions_as_they_were = test_archive._partitions_as_they_were


def everything() -> dict[str, Any]:
    tables = {table: sorted(map(str, sql(f"SELECT * FROM {table}"))) for table in SAME}
    for model in (ArchivedPartition, ArchivedSum, ArchivedPost):
        names = [str(each.column) for each in model._meta.concrete_fields if each.column not in ("id", "dropped_at")]
        tables[model._meta.db_table] = sorted(map(str, sql(f"SELECT {', '.join(names)} FROM {model._meta.db_table}")))
    return tables


def empty(*tables: str) -> None:
    """As in a database that was just made."""
    for month in (JANUARY, FEBRUARY):
        sql(f"DROP TABLE IF EXISTS {table_of(month)}")
    test_backup.empty(*test_backup.TABLES, *KEPT, *tables)


def backed_up(folder: Path, *arguments: str) -> str:
    path = str(folder / "all.tar.gz")
    run("backup", "--output", path, *arguments)
    return path


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The backup of a ledger of which two months are archived; their tables are dropped."""
    empty()
    fill()
    archived(tmp_path, "--drop")
    return backed_up(tmp_path)


@committed
class TestIntoANewDatabase:
    def test_every_sum_and_every_key_is_as_it_was(self, path: str) -> None:
        before, verdict, sums = everything(), verify(), breakdown(**WHOLE)
        empty()

        said = run("restore", path)

        after = verify()
        assert everything() == before
        assert after == verdict
        assert (after.archived, after.drifts) == (5, [])
        assert breakdown(**WHOLE) == sums
        assert "archives\n" in said

    def test_no_event_is_ever_booked_twice(self, path: str) -> None:
        empty()
        run("restore", path)

        event = amount_event("0.5", event_id="later", post_id="p", timestamp=OLD.isoformat())
        same, other = Ledger().record([event, event | {"amount": "1"}], at=NOW)

        assert (same.status, other.status) == ("duplicate", "conflict")

    def test_a_month_comes_back_from_its_file_with_every_line(self, tmp_path: Path) -> None:
        fill()
        before, keys, explained = lines(), list(AdjustmentKey.objects.values_list("pk")), attribution.explain("call")
        archived(tmp_path, "--drop")
        path = backed_up(tmp_path)
        empty()
        run("restore", path)

        run("restore_archive", str(tmp_path / FILE))
        run("restore_archive", str(tmp_path / "cost_events_y2025m01.parquet"))

        assert lines() == before
        assert attribution.explain("call") == explained
        assert list(AdjustmentKey.objects.values_list("pk")) == keys
        assert not verify().drifts
        assert reprice(OLDER - timedelta(days=1), OLDER + timedelta(days=1), at=NOW).corrected == 0

    def test_a_table_that_still_stands_elsewhere_is_not_looked_for_here(self, tmp_path: Path) -> None:
        fill()
        before = lines()
        archived(tmp_path)
        path = backed_up(tmp_path)
        empty()
        run("restore", path)

        for month in ("02", "01"):
            run("restore_archive", str(tmp_path / f"cost_events_y2025m{month}.parquet"))

        assert lines() == before

    def test_budgets_count_what_is_archived(self, tmp_path: Path) -> None:
        make_budget(at=OLDER - timedelta(days=40), period="monthly")
        make_budget(at=OLDER - timedelta(days=40), period="daily", persona_id="ada")
        fill()
        archived(tmp_path, "--drop")
        path = backed_up(tmp_path)
        empty("controls_budgetperiod")

        run("restore", path)

        assert "the budgets equal the ledger" in run("verify_budgets")

    def test_the_next_line_takes_no_id_of_an_archived_one(self, tmp_path: Path) -> None:
        empty()
        Ledger().record([amount_event(str(n), event_id=f"old-{n}") for n in range(1, 6)], at=OLD)
        archived(tmp_path, "--drop")
        path = backed_up(tmp_path)
        empty()
        run("restore", path)

        Ledger().record([amount_event("1", event_id="new")], at=NOW)

        assert CostEvent.objects.get().pk > 5
        run("restore_archive", str(tmp_path / FILE))

    def test_counters_that_are_lost_are_counted_anew(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path, "--drop")
        test_backup.empty(*(table.name for table in counters.TABLES))
        path = backed_up(tmp_path)
        empty()

        run("restore", path)

        assert not verify().drifts

    def test_what_waits_is_not_taken_for_archived(self, tmp_path: Path) -> None:
        fill()
        archived(tmp_path, "--drop")
        Ledger().accept([amount_event("3", event_id="waits")], at=NOW)
        path = backed_up(tmp_path)
        empty()

        run("restore", path)
        drain.drain(at=NOW)

        assert CostEvent.objects.get(event_id="waits").cost_amount == 3


@committed
class TestIntoALedgerThatIsThere:
    def test_a_second_restore_changes_nothing(self, path: str) -> None:
        before = everything()

        run("restore", path)

        assert everything() == before
        assert not verify().drifts

    def test_a_month_that_is_part_of_the_ledger_stays_that(self, path: str, tmp_path: Path) -> None:
        run("restore_archive", str(tmp_path / FILE))
        before = lines()

        said = run("restore", path)

        assert "is archived in the file" not in said
        assert lines() == before
        assert not verify().drifts

    def test_a_month_of_which_other_lines_are_here_is_told(self, path: str) -> None:
        empty()
        partitions._known.clear()
        Ledger().record([amount_event("1", event_id="mine")], at=OLD)

        said = run("restore", path)

        assert "2025-02 is archived in the file; here it is part of the ledger, with other lines." in said
        assert [str(month) for month in ArchivedPartition.objects.all()] == ["2025-01"]
        assert not verify().drifts

    def test_a_file_whose_ids_are_taken_stays_a_file(self, path: str, tmp_path: Path) -> None:
        empty()
        Ledger().record([amount_event("1", event_id=f"mine-{n}") for n in range(6)], at=NOW)
        run("restore", path)

        with pytest.raises(CommandError, match="2 of its lines have ids that other lines have here"):
            run("restore_archive", str(tmp_path / FILE))

        assert not verify().drifts

    def test_a_lost_adjustment_of_an_archived_charge_comes_back(self, tmp_path: Path) -> None:
        fill()
        path, before = backed_up(tmp_path), CostEvent.objects.total()
        months_ago = (NOW.year - FEBRUARY.year) * 12 + NOW.month - FEBRUARY.month
        archived(tmp_path, "--older-than", str(months_ago))
        lose("adjusts IS NOT NULL")

        run("restore", path)

        assert CostEvent.objects.total() + ArchivedPartition.objects.get().total == before


@committed
class TestAPartOfIt:
    def test_a_day_holds_no_archives(self, path: str, tmp_path: Path) -> None:
        path = backed_up(tmp_path, "--since", "1d")
        empty()

        run("restore", path)

        assert not ArchivedPartition.objects.exists()
        assert list(EventKey.objects.values_list("event_id", flat=True)) == ["today"]

    def test_a_month_that_ended_since_is_in_it(self, path: str, tmp_path: Path) -> None:
        path = backed_up(tmp_path, "--since", "2025-02-27")
        empty()

        run("restore", path)

        assert [str(month) for month in ArchivedPartition.objects.all()] == ["2025-02"]
        assert not verify().drifts
