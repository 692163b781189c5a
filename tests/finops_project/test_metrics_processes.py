"""What stays in the shared folder when processes end."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from finops_project.metrics import processes

COUNTING = """
from prometheus_client import Counter, Gauge, Histogram

Counter("calls", "Calls.", ["route"]).labels("events").inc(3)
Histogram("took", "Milliseconds.", buckets=[1, 10]).observe(5)
Gauge("busy", "Busy.", multiprocess_mode="livesum").set(1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def count_in_another_process() -> None:
    subprocess.run([sys.executable, "-c", COUNTING], check=True)


def told(folder: Path) -> dict[str, float]:
    collector = MultiProcessCollector(CollectorRegistry(), str(folder))  # type: ignore[no-untyped-call]
    samples = (sample for metric in collector.collect() for sample in metric.samples)  # type: ignore[no-untyped-call]
    return {f"{sample.name}{sample.labels.get('le', '')}": sample.value for sample in samples}


def test_of_many_that_ended_one_file_of_each_kind_stays_and_every_count(folder: Path) -> None:
    for _ in range(3):
        count_in_another_process()
        processes.clear_away()

    assert {path.name for path in folder.iterdir()} == {"counter_ended.db", "histogram_ended.db", "lock"}
    counted = told(folder)
    assert counted["calls_total"] == 9
    assert (counted["took_bucket1.0"], counted["took_bucket10.0"], counted["took_count"]) == (0, 3, 3)
    assert "busy" not in counted


def test_the_files_of_those_that_run_are_left_alone(folder: Path) -> None:
    processes.register("web")
    try:
        mark = next(folder.glob("*.process"))
        counter = folder / f"counter_{mark.name.partition('-')[0]}.db"
        counter.touch()
        processes.clear_away()

        assert [process.component for process in processes.alive()] == ["web"]
        assert counter.exists()
    finally:
        processes.register("command")


def test_nothing_goes_away_under_a_reader(folder: Path) -> None:
    count_in_another_process()
    before = {path.name for path in folder.iterdir()}

    with processes.undisturbed():
        processes.clear_away()

    assert {path.name for path in folder.iterdir()} - {"lock"} == before


def test_a_reader_waits_for_no_other_reader(folder: Path) -> None:
    with processes.undisturbed(), (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_mark_without_a_process_is_no_process(folder: Path) -> None:
    (folder / "4194305-worker.process").touch()

    assert processes.alive() == []
