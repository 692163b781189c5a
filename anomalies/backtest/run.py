"""One backtest from its question to its result: over a file, or over stored costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path

from django.conf import settings

from anomalies.backtest import bare, labels, series
from anomalies.backtest.judge import unit_score
from anomalies.backtest.period import Period
from anomalies.backtest.replay import REPLAYS
from anomalies.backtest.report import Run
from anomalies.backtest.series import ROWS_FOR_STEP, Row, UnusableSeries
from anomalies.detectors import DETECTORS, Detector
from anomalies.hourly import WEEK
from anomalies.readings import active_personas
from anomalies.rules import EVERYBODY, Rules
from costs.attribution import Target
from costs.periods import Span

UNITS = {
    "cost_spike": "US dollars",
    "efficiency_drop": "outcomes per US dollar",
    "negative_roi": "return in percent of the cost",
    "budget_overrun": "US dollars in the period",
    "cost_threshold": "US dollars",
    "learned": "US dollars",
    "unpriced": "events without a price",
    "no_data": "silent hours",
    "forecast": "US dollars at the period's end",
    "burn_rate": "times an even spending",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`passed` hears how far it has come; `levels` replace all others; `labels` is a file."""

    rule: str
    levels: Mapping[str, Decimal | None] = field(default_factory=dict)
    labels: Path | None = None
    with_plot: bool = False
    passed: Callable[[int, int], None] = lambda done, total: None

    def over(self, stored: Detector | None = None) -> Detector:
        """The rule with its levels: those asked for, else the stored ones, else as it ships."""
        found = stored or DETECTORS[self.rule]
        return found.with_levels(**self.levels) if self.levels else found


def over_file(
    question: Question,
    path: Path,
    *,
    baseline: Decimal | None = None,
    scored: Callable[[Row, float], None] = lambda row, score: None,
) -> Run:
    """In one pass; `scored` is told the score of every row from 0 to 1. Raises UnusableSeries and OSError."""
    if question.rule not in bare.READERS:
        raise UnusableSeries(f"{question.rule} cannot read a bare series; these can: {', '.join(bare.READERS)}.")
    detector = question.over()
    configured = Target.configured()
    target = configured if baseline is None else Target(baseline, configured.alert_multiplier)
    known = labels.read(question.labels, path.name) if question.labels else None
    run = Run(question.rule, detector, path.name, "value", False, question.with_plot, known)
    with path.open("rb") as stream:
        rows, size = series.rows(stream, path), path.stat().st_size
        first = list(islice(rows, ROWS_FOR_STEP))
        reader = bare.READERS[question.rule](detector, {"series": path.name}, series.step(first), target)
        for row, looks in bare.looks(reader, chain(first, rows)):
            scores = [unit_score(run.see(look).judgement, look.detector) for look in looks]
            scored(row, max(scores, default=0.0))
            run.span = Span(run.span.start if run.span else row.at, row.at)
            question.passed(stream.tell(), size)
    if run.span is None:
        raise UnusableSeries(f"{path.name} holds no rows.")
    return run


def over_ledger(question: Question, span: Span, personas: Sequence[str], grain: str) -> Run:
    """The stored costs of these personas (none named: of all) in `span`. Raises UnusableSeries."""
    if question.rule not in REPLAYS:
        raise UnusableSeries(f"{question.rule} cannot be replayed from stored costs.")
    known = active_personas(span.start - WEEK, span.end)
    if unknown := sorted(set(personas) - set(known)):
        raise UnusableSeries(f"{', '.join(unknown)} had no costs in this period, nor in the week before it.")
    whose = list(personas) or known
    named = ", ".join(personas) if personas else f"all {len(whose):,} personas"
    wrong = labels.read(question.labels, "") if question.labels else None
    rules, alone = Rules.stored(), personas[0] if len(personas) == 1 else EVERYBODY
    detector = question.over(rules.of(question.rule, alone))
    run = Run(question.rule, detector, named, UNITS[question.rule], True, question.with_plot, wrong, span)
    period = Period(
        span,
        whose,
        whole=not personas,
        rules=rules,
        target=Target.configured(),
        per_follow=settings.FINOPS_COST_PER_FOLLOW_TARGET,
        grain=grain,
        is_open=run.judge.is_open,
        levels=question.levels,
        passed=question.passed,
        note=run.notes.append,
    )
    for look in REPLAYS[question.rule](period):
        run.see(look)
    return run
