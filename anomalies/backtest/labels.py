"""What people know to have been wrong, and how well incidents agree with it. Pure but for reading the file.

A window counts as found when somebody was alerted in it: an incident opened there, or got worse. An incident is right
when it alerted somebody inside a window. Anything else would reward an alert that merely lasts for long.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from anomalies.backtest.judge import Incident
from anomalies.backtest.series import UnusableSeries, instant


@dataclass(frozen=True, slots=True)
class Label:
    """[start, end], both included."""

    start: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        return self.start <= at <= self.end


@dataclass(frozen=True, slots=True)
class Agreement:
    """`precision` and `recall` from 0 to 1; None where there is nothing to divide by."""

    windows: int
    found: int
    incidents: int
    right: int
    delay: timedelta | None

    @property
    def recall(self) -> float | None:
        return self.found / self.windows if self.windows else None

    @property
    def precision(self) -> float | None:
        return self.right / self.incidents if self.incidents else None


def agreement(incidents: Sequence[Incident], labels: Sequence[Label]) -> Agreement:
    """`delay` is the median time from the start of a window that was found to the first alert in it."""
    told = sorted(at for incident in incidents for at in incident.told_at)
    first = [next((at for at in told if label.holds(at)), None) for label in labels]
    delays = sorted(at - label.start for at, label in zip(first, labels, strict=True) if at is not None)
    right = sum(any(label.holds(at) for at in incident.told_at for label in labels) for incident in incidents)
    return Agreement(len(labels), len(delays), len(incidents), right, delays[len(delays) // 2] if delays else None)


def read(path: Path, series: str) -> list[Label]:
    """From a CSV with columns start and end, or from JSON {file: [[start, end], …]} under the name of the series.

    Raises UnusableSeries.
    """
    try:
        text = path.read_text("utf-8-sig")
        pairs = _of_json(json.loads(text), path, series) if path.suffix.lower() == ".json" else _of_csv(text, path)
    except (OSError, ValueError) as error:
        if isinstance(error, UnusableSeries):
            raise
        raise UnusableSeries(f"{path.name} cannot be read: {error}.") from None
    return sorted((_label(*pair, place) for place, pair in enumerate(pairs, start=1)), key=lambda label: label.start)


def _label(start: str, end: str, place: int) -> Label:
    label = Label(*(instant(text, f"Label {place}") for text in (start, end)))
    if label.end < label.start:
        raise UnusableSeries(f"Label {place} ends before it starts.")
    return label


def _of_csv(text: str, path: Path) -> list[tuple[str, str]]:
    lines = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not {"start", "end"} <= set(lines.fieldnames or ()):
        raise UnusableSeries(f"{path.name} must begin with a line that names the columns start and end.")
    return [(line["start"] or "", line["end"] or "") for line in lines]


def _of_json(found: Any, path: Path, series: str) -> list[tuple[str, str]]:
    """The longest key whose file name the series' name ends in, as `numenta_x.csv` and `x.csv.gz` do in x.csv."""
    name = Path(series).name.removesuffix(".gz")
    if not isinstance(found, dict):
        raise UnusableSeries(f"{path.name} must hold an object: a list of windows for the name of each file.")
    keys = [key for key in found if name == Path(key).name or name.endswith("_" + Path(key).name)]
    if not keys:
        raise UnusableSeries(f"{path.name} has no labels for {name}.")
    pairs = found[max(keys, key=lambda key: len(Path(key).name))]
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise UnusableSeries(f"{path.name} must hold pairs of a start and an end for {name}.")
    return [(start, end) for start, end in pairs]


def _is_pair(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(isinstance(at, str) for at in found)
