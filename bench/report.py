"""What the benchmarks say: one table for people, one file for machines."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.rounds import Figure, shown

HEAD = ("figure", "value", "unit", "yardstick", "ratio", "runs", "conditions")


def table(figures: Sequence[Figure]) -> str:
    rows = [HEAD, *(_row(figure) for figure in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD) - 1)]
    return "\n".join(_line(row, widths) for row in rows)


def write(figures: Sequence[Figure], path: Path, setting: str) -> None:
    """One JSON file; `setting` holds for all figures and is said with each of them."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = [replace(figure, conditions=f"{figure.conditions}; {setting}") for figure in figures]
    content = {"figures": {figure.name: figure.to_json() for figure in told}}
    path.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> str:
    """What the figures were measured on."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}"


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
    return (
        figure.name,
        shown(figure.value),
        figure.unit,
        figure.yardstick or "",
        ratio,
        str(figure.runs),
        figure.conditions,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = {1, 4, 5}
    cells = [
        text.rjust(width) if place in numbers else text.ljust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join([*cells, row[-1]])
