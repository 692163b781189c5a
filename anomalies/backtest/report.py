"""What a backtest came to: a table, JSON for programs, a page to look at."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from anomalies.backtest.judge import Incident, Judge, Judged, Look
from anomalies.backtest.labels import Agreement, Label, agreement
from anomalies.backtest.plot import Page, Panel, render
from anomalies.detectors import Detector
from anomalies.wording import plain, rounded
from costs.periods import Span

# Rules whose score says more than the value that they looked at.
BY_SCORE = ("no_data",)
SHOWN = 100
HEADER = ("opened (UTC)", "ended (UTC)", "severity", "about", "current", "baseline", "times", "above since")
LEFT = range(4)


@dataclass(slots=True)
class Run:
    """`unit` is that of the values; `is_money` says whether sums of them are dollars."""

    rule: str
    detector: Detector
    about: str
    unit: str
    is_money: bool
    with_plot: bool = False
    labels: Sequence[Label] | None = None
    span: Span | None = None
    looks: int = 0
    notes: list[str] = field(default_factory=list)
    judge: Judge = field(default_factory=Judge)
    panels: dict[str, Panel] = field(default_factory=dict)

    def see(self, look: Look) -> Judged:
        judged = self.judge.judge(look)
        self.looks += 1
        if self.with_plot:
            name = subject(look.scope)
            if name not in self.panels:
                self.panels[name] = Panel(name, by_score=self.rule in BY_SCORE)
            self.panels[name].add(judged)
        return judged

    @property
    def incidents(self) -> list[Incident]:
        return sorted(self.judge.incidents, key=lambda incident: incident.opened_at)

    @property
    def agreement(self) -> Agreement | None:
        return None if self.labels is None else agreement(self.judge.incidents, self.labels)

    @property
    def excess(self) -> Decimal | None:
        """What all incidents brought above their baselines after they had opened; None where that means nothing."""
        known = [incident.excess for incident in self.judge.incidents if incident.excess is not None]
        return sum(known, Decimal(0)) if known else None


def subject(scope: Mapping[str, str]) -> str:
    """What is drawn as one series: the posts of a persona together."""
    return about({name: value for name, value in scope.items() if name != "post_id"})


def about(scope: Mapping[str, str]) -> str:
    named = (f"budget {value}" if name == "budget_id" else value for name, value in scope.items() if value)
    return ", ".join(named) or "all"


def page(run: Run) -> str:
    incidents: dict[str, list[Incident]] = {}
    for incident in run.incidents:
        incidents.setdefault(subject(incident.scope), []).append(incident)
    title = f"Backtest of {run.rule}: {run.about}"
    return render(
        Page(title, summary(run)[1:], run.unit, list(run.panels.values()), incidents, run.labels or (), run.span)
    )


def table(run: Run) -> list[str]:
    incidents = run.incidents
    rows = [HEADER, *(_row(incident) for incident in incidents[:SHOWN])]
    lines = aligned(rows, LEFT)
    more = len(incidents) - SHOWN
    shown = [*lines, *([f"and {more:,} more; --format json shows all"] if more > 0 else []), ""] if incidents else []
    return [*shown, *summary(run)]


def aligned(rows: Sequence[Sequence[str]], left: Container[int]) -> list[str]:
    """Lines of a table; the columns at these places begin at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def summary(run: Run) -> list[str]:
    counts = Counter(incident.severity for incident in run.judge.incidents)
    by_severity = ", ".join(f"{counts[each]:,} {each}" for each in sorted(counts, key=lambda each: -each.rank))
    still_open = sum(incident.ended_at is None for incident in run.judge.incidents)
    whole = sum(counts.values())
    return [
        f"{run.rule} over {run.about}: {_levels(run.detector)}.",
        f"{_span(run.span)}{run.looks:,} looks.",
        f"{_counted(whole, 'incident')}{f': {by_severity}' if whole else ''}"
        f"{f'; {still_open:,} still open at the end' if still_open else ''}.",
        *_saved(run),
        *_agreed(run.agreement),
        *run.notes,
    ]


def told(run: Run) -> dict[str, Any]:
    """For --format json: Decimals stay exact."""
    levels = run.detector.levels
    agreed = run.agreement
    return {
        "rule": run.rule,
        "about": run.about,
        "levels": {name: getattr(levels, name) for name in ("low", "medium", "high", "critical")},
        "start": run.span.start if run.span else None,
        "end": run.span.end if run.span else None,
        "looks": run.looks,
        "unit": run.unit,
        "incidents": [_told(incident) for incident in run.incidents],
        "above_since_opened": run.excess,
        "labels": None
        if agreed is None
        else {
            "windows": agreed.windows,
            "found": agreed.found,
            "right_incidents": agreed.right,
            "recall": agreed.recall,
            "precision": agreed.precision,
            "median_delay_seconds": agreed.delay.total_seconds() if agreed.delay is not None else None,
        },
        "notes": run.notes,
    }


def _told(incident: Incident) -> dict[str, Any]:
    worst = incident.worst
    return {
        "scope": dict(incident.scope),
        "severity": incident.severity,
        "opened_at": incident.opened_at,
        "ended_at": incident.ended_at,
        "events": [{"at": event.at, "change": event.change, "severity": event.severity} for event in incident.events],
        "score": worst.score,
        "current": worst.current,
        "baseline": worst.baseline,
        "multiplier": worst.multiplier,
        "above_since_opened": incident.excess,
    }


def _row(incident: Incident) -> tuple[str, ...]:
    worst = incident.worst
    return (
        instant(incident.opened_at),
        instant(incident.ended_at) if incident.ended_at else "open",
        incident.severity,
        about(incident.scope),
        _number(worst.current),
        _number(worst.baseline),
        "-" if worst.multiplier is None else f"{worst.multiplier:,.2f}",
        _number(incident.excess),
    )


def _number(value: Decimal | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 10**15:
        return f"{value:.4g}"
    return f"{value:,.2f}" if abs(value) >= 10 else plain(rounded(value, 6))


def _levels(detector: Detector) -> str:
    levels = detector.levels
    reached = "down to" if levels.falling else "from"
    named = [(name, getattr(levels, name)) for name in ("low", "medium", "high", "critical")]
    told = [f"{name} {reached} {plain(level)}" for name, level in named if level is not None]
    return ", ".join(told) or "the configured threshold"


def _span(span: Span | None) -> str:
    return f"{instant(span.start)} to {instant(span.end)} UTC, " if span else ""


def _counted(number: int, word: str) -> str:
    return f"{number or 'No'} {word}{'s' if number != 1 else ''}" if number < 1000 else f"{number:,} {word}s"


def _saved(run: Run) -> list[str]:
    if run.excess is None:
        return []
    if run.is_money:
        return [f"Stopped as soon as they opened, they would have cost ${run.excess:,.2f} less."]
    return [f"Above the baseline after they had opened: {_number(run.excess)}, in the unit of the file."]


def _agreed(found: Agreement | None) -> list[str]:
    if found is None:
        return []
    delay = "" if found.delay is None else f", half of them after at most {_length(found.delay.total_seconds())}"
    return [
        f"Labels: {found.found:,} of {found.windows:,} windows found (recall {_percent(found.recall)}){delay}.",
        f"{found.right:,} of {_counted(found.incidents, 'incident')} right (precision {_percent(found.precision)}).",
    ]


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}".replace("%", " %")


def _length(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {name}s"
    return f"{seconds:.0f} seconds"


def instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
