"""A backtest as one HTML page with its drawings inside: nothing is loaded, so it can be kept or sent. Pure.

Every mark says what it is by form and text, not by colour alone; each axis begins at zero and names its unit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape

from alerts.signal import Severity
from anomalies.backtest.judge import Incident, Judged, Look
from anomalies.backtest.labels import Label
from anomalies.detectors import Judgement
from anomalies.lifecycle import Change
from costs.periods import Span

WIDTH, HEIGHT = 1000, 280
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 26, 30
COLUMNS = (WIDTH - LEFT - RIGHT) // 2
MOST_PANELS = 24
MOST_POINTS = 4_000
SHOWN_INCIDENTS = 200
LETTER = 20
# The usual range is so many spreads to each side of what was expected.
SPREADS = 2
SYMBOLS = {Severity.LOW: "L", Severity.MEDIUM: "M", Severity.HIGH: "H", Severity.CRITICAL: "C"}
MICROSECOND = timedelta(microseconds=1)
# How times are written below axes that are longer than this.
TIMES = ((timedelta(days=5), "%-d %b %Y"), (timedelta(minutes=10), "%-d %b %H:%M"), (timedelta(0), "%H:%M:%S"))
NO_MINIMUM = Decimal("-Infinity")


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    value: float
    baseline: float | None
    spread: float | None


@dataclass(slots=True)
class Panel:
    """One subject; its points are thinned out as they come, the extremes kept, so that memory stays bounded."""

    name: str
    by_score: bool = False
    points: list[Point] = field(default_factory=list)

    def add(self, judged: Judged) -> None:
        judgement = judged.judgement or _too_little(judged.look)
        if judgement is None:
            return
        value = judgement.score if self.by_score else judgement.current
        baseline = None if judgement.baseline is None or self.by_score else float(judgement.baseline)
        spread = None if judged.look.spread is None else float(judged.look.spread)
        self.points.append(Point(judged.look.at, float(value), baseline, spread))
        if len(self.points) >= MOST_POINTS:
            self.points = list(_extremes(self.points, MOST_POINTS // 4))


def _too_little(look: Look) -> Judgement | None:
    """What a reading says that is too little to find anything in: it is part of the picture nevertheless."""
    if look.reading is None:
        return None
    try:
        return look.detector.with_minimum(NO_MINIMUM).inspect(look.reading)
    except ArithmeticError:
        # Below every minimum there may be nothing to divide by.
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """`span`: what the axes of time cover; None: what the points cover."""

    title: str
    summary: Sequence[str]
    unit: str
    panels: Sequence[Panel]
    incidents: Mapping[str, Sequence[Incident]]
    labels: Sequence[Label] = ()
    span: Span | None = None


def render(page: Page) -> str:
    drawn = sorted(page.panels, key=lambda panel: -len(page.incidents.get(panel.name, ())))[:MOST_PANELS]
    left_out = len(page.panels) - len(drawn)
    parts = [
        f"<h1>{escape(page.title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in page.summary),
        _legend(bool(page.labels)),
        *(_figure(panel, page) for panel in drawn if panel.points),
        *([f"<p>{left_out:,} more series, with fewer incidents, are not drawn.</p>"] if left_out else []),
        *_table(page),
    ]
    return HEAD.format(title=escape(page.title), style=STYLE) + "\n".join(parts) + "\n</body></html>\n"


def _legend(has_labels: bool) -> str:
    marks = [
        ("value", '<line x1="0" y1="7" x2="26" y2="7" class="value"/>'),
        ("baseline", '<line x1="0" y1="7" x2="26" y2="7" class="baseline"/>'),
        ("usual range", '<rect y="2" width="26" height="10" class="band"/>'),
        ("open incident", '<rect y="5" width="26" height="4" class="open"/>'),
    ]
    if has_labels:
        edges = '<path d="M0 0v14M26 0v14" class="edge"/>'
        marks.append(("label", f'<rect y="0" width="26" height="14" class="label"/>{edges}'))
    pieces = [f'<span><svg viewBox="0 0 26 14" aria-hidden="true">{mark}</svg> {name}</span>' for name, mark in marks]
    letters = ", ".join(f"{symbol} {severity}" for severity, symbol in SYMBOLS.items())
    return f'<p class="legend">{" ".join(pieces)} <span>▼ alert ({letters})</span></p>'


def _figure(panel: Panel, page: Page) -> str:
    axes = Axes.around(panel.points, page.span)
    incidents = page.incidents.get(panel.name, ())
    drawn = [*_labels(page.labels, axes), *_grid(axes, page.unit), *_lines(panel, axes), *_alerts(incidents, axes)]
    described = escape(f"{panel.name}, {page.unit}: {len(incidents)} incidents")
    return (
        f"<figure><figcaption>{escape(panel.name)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{described}">{"".join(drawn)}</svg></figure>'
    )


@dataclass(frozen=True, slots=True)
class Axes:
    start: datetime
    end: datetime
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point], span: Span | None) -> "Axes":
        """Zero is always in; a baseline is, as long as it does not flatten the values."""
        values = [point.value for point in points]
        low, high = min(0.0, *values), max(0.0, *values)
        baselines = [point.baseline for point in points if point.baseline is not None]
        if baselines:
            reach = 2 * max(high, -low)
            low, high = min(low, max(min(baselines), -reach)), max(high, min(max(baselines), reach))
        if low == high:
            high = 1.0
        start, end = (span.start, span.end) if span else (points[0].at, points[-1].at)
        return cls(start, end if end > start else start + timedelta(hours=1), low, high)

    def x(self, at: datetime) -> float:
        share = (at - self.start) / (self.end - self.start)
        return round(LEFT + min(max(share, 0), 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _grid(axes: Axes, unit: str) -> Iterator[str]:
    for value in _ticks(axes.low, axes.high):
        y = axes.y(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" class="{"zero" if not value else "grid"}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" class="amount">{value:,.6g}</text>'
    yield f'<text x="6" y="14" class="unit">{escape(unit)}</text>'
    length = axes.end - axes.start
    written = next(form for least, form in TIMES if length > least)
    for number in range(5):
        at = axes.start + length * number / 4
        anchor = "start" if number == 0 else "end" if number == 4 else "middle"
        kind = "time between" if number % 2 else "time"
        placed = f'x="{axes.x(at)}" y="{HEIGHT - 8}" text-anchor="{anchor}"'
        yield f'<text {placed} class="{kind}">{at.astimezone(UTC):{written}}</text>'


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    unit = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [number * unit for number in range(math.ceil(low / unit), math.floor(high / unit) + 1)]


def _lines(panel: Panel, axes: Axes) -> Iterator[str]:
    points = list(_extremes(panel.points, COLUMNS))
    ranges = [point for point in points if point.baseline is not None and point.spread is not None]
    if ranges:
        upper = [f"{axes.x(p.at)},{axes.y((p.baseline or 0) + SPREADS * (p.spread or 0))}" for p in ranges]
        lower = [f"{axes.x(p.at)},{axes.y((p.baseline or 0) - SPREADS * (p.spread or 0))}" for p in reversed(ranges)]
        yield f'<polygon class="band" points="{" ".join([*upper, *lower])}"/>'
    expected = [f"{axes.x(point.at)},{axes.y(point.baseline)}" for point in points if point.baseline is not None]
    if expected:
        yield f'<polyline class="baseline" points="{" ".join(expected)}"/>'
    yield f'<polyline class="value" points="{" ".join(f"{axes.x(p.at)},{axes.y(p.value)}" for p in points)}"/>'


def _extremes(points: Sequence[Point], columns: int) -> Iterator[Point]:
    """Of each of so many stretches of time the smallest and the largest value, in their order."""
    if len(points) <= 2 * columns:
        yield from points
        return
    start, width = points[0].at, max((points[-1].at - points[0].at) / columns, MICROSECOND)
    column: list[Point] = []
    for point in points:
        if column and (point.at - start) // width != (column[0].at - start) // width:
            yield from _outer(column)
            column = []
        column.append(point)
    yield from _outer(column)


def _outer(column: Sequence[Point]) -> list[Point]:
    smallest, largest = min(column, key=lambda p: p.value), max(column, key=lambda p: p.value)
    return sorted({id(each): each for each in (smallest, largest)}.values(), key=lambda point: point.at)


def _labels(labels: Sequence[Label], axes: Axes) -> Iterator[str]:
    for label in labels:
        left, right = axes.x(label.start), axes.x(label.end)
        if label.end >= axes.start and label.start <= axes.end:
            height = HEIGHT - TOP - BOTTOM
            yield f'<rect class="label" x="{left}" y="{TOP}" width="{max(right - left, 1):.1f}" height="{height}"/>'
            yield f'<path class="edge" d="M{left} {TOP}v{height}M{right} {TOP}v{height}"/>'


def _alerts(incidents: Sequence[Incident], axes: Axes) -> Iterator[str]:
    """A bar for each incident, a mark for each alert; a letter only where it covers no other."""
    bottom, last_letter = HEIGHT - BOTTOM, -math.inf
    for incident in incidents[:SHOWN_INCIDENTS]:
        left, right = axes.x(incident.opened_at), axes.x(incident.ended_at or axes.end)
        yield f'<rect class="open" x="{left}" y="{bottom - 2}" width="{max(right - left, 1):.1f}" height="4"/>'
        for event in incident.events:
            if event.change is Change.RESOLVED:
                continue
            x = axes.x(event.at)
            letter = f'<text x="{x}" y="{TOP - 12}" text-anchor="middle">{SYMBOLS[event.severity]}</text>'
            told = escape(f"{event.change} {event.severity} at {_instant(event.at)}")
            yield (
                f'<g class="alert"><title>{told}</title><path d="M{x - 5:.1f} {TOP - 9}h10l-5 9z"/>'
                f'<path class="stem" d="M{x} {TOP}V{bottom}"/>{letter if x - last_letter > LETTER else ""}</g>'
            )
            last_letter = x if x - last_letter > LETTER else last_letter


def _table(page: Page) -> list[str]:
    rows = sorted(
        ((incident.opened_at, name, incident) for name, found in page.incidents.items() for incident in found),
        key=lambda row: row[:2],
    )
    if not rows:
        return []
    cells = [
        f"<tr><td>{_instant(opened)}</td><td>{_instant(incident.ended_at) if incident.ended_at else 'still open'}</td>"
        f"<td>{incident.severity}</td><td>{escape(name)}</td></tr>"
        for opened, name, incident in rows[:SHOWN_INCIDENTS]
    ]
    more = [f"<p>and {len(rows) - SHOWN_INCIDENTS:,} more</p>"] if len(rows) > SHOWN_INCIDENTS else []
    head = "<tr><th>Opened</th><th>Ended</th><th>Severity</th><th>About</th></tr>"
    return [f"<table><thead>{head}</thead><tbody>{''.join(cells)}</tbody></table>", *more]


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head><body>
"""
STYLE = """
:root{color-scheme:light dark;--back:#fff;--ink:#1c1c22;--soft:#62626e;--grid:#dcdce3;--value:#1f5fbf;--base:#6b5b00;
--band:#6b5b0026;--label:#2f8f4e2e;--edge:#1f7a3c;--alert:#b3261e}
@media (prefers-color-scheme:dark){:root{--back:#16161a;--ink:#ececf1;--soft:#a5a5b2;--grid:#33333d;--value:#7fb0ff;
--base:#e0cb5a;--band:#e0cb5a2e;--label:#6fd08c2e;--edge:#6fd08c;--alert:#ff8a80}}
body{background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1040px;
padding:0 1rem}
h1{font-size:1.4rem}p{margin:.3rem 0}figure{margin:1.5rem 0}figcaption{font-weight:600}svg{width:100%;height:auto}
figure svg{overflow:visible}svg text{fill:var(--soft);font:11px system-ui,sans-serif}.amount{text-anchor:end}
.legend span{margin-right:1.2rem;white-space:nowrap}.legend svg{width:26px;height:14px;vertical-align:middle}
.grid{stroke:var(--grid)}.zero{stroke:var(--soft)}.value{fill:none;stroke:var(--value);stroke-width:1.3}
.baseline{fill:none;stroke:var(--base);stroke-width:1.5;stroke-dasharray:6 4}.band{fill:var(--band)}
.label{fill:var(--label)}.edge{fill:none;stroke:var(--edge);stroke-dasharray:2 3}.open{fill:var(--alert)}
.alert path{fill:var(--alert)}.alert .stem{stroke:var(--alert);stroke-width:1;stroke-dasharray:1 3}
.alert text{fill:var(--alert);font-weight:700}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid var(--grid)}
@media (max-width:640px){svg text{font-size:30px}.amount{text-anchor:start;transform:translate(8px,-8px)}
.unit{transform:translate(0,-2px)}.time{transform:translate(0,10px)}.between,.alert text{display:none}
figure svg .value,figure svg .baseline{stroke-width:3}table{font-size:13px}td{overflow-wrap:anywhere}}
"""
