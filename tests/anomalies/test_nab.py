"""The learned detector, threshold frozen, on the files of the Numenta Anomaly Benchmark and by its published rules."""

import csv
import gzip
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from anomalies.detectors.learned import THRESHOLD, scores

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data" / "nab"
SCORER = SHARED / "tools" / "nab_score.py"
LABELS = DATA / "labels" / "combined_windows.json"

pytestmark = pytest.mark.skipif(
    not (SCORER.exists() and LABELS.exists()), reason="The benchmark's files lie beside the project only in CI."
)


def test_the_standard_profile_gives_at_least_75(tmp_path: Path) -> None:
    for source in sorted((DATA / "data").rglob("*.csv.gz")):
        _score(source, tmp_path / source.parent.name / source.name.removesuffix(".gz"))

    command = [sys.executable, SCORER, "--labels", LABELS, "--results", tmp_path, "--threshold", str(THRESHOLD)]
    answer = subprocess.run([*map(str, command), "--json"], check=True, capture_output=True, text=True).stdout

    result = json.loads(answer)["standard"]
    print(f"NAB standard profile: {result['score']:.1f} at threshold {THRESHOLD}, {result['fp_rows']} false alarms")
    assert result["files"] == 13
    assert result["score"] >= 75


def _score(source: Path, target: Path) -> None:
    with gzip.open(source, "rt", newline="") as file:
        rows = [(datetime.fromisoformat(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["timestamp", "anomaly_score"])
        lines.writerows((at.isoformat(" "), score) for (at, _), score in zip(rows, scores(rows), strict=True))
