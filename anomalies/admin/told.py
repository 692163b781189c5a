"""What happened, for eyes: each rule's numbers with their unit, and one sentence about them. Pure.

Numbers are rounded here and nowhere before; `current` is given, because a page tells of the moment that was worst.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from anomalies import incidents
from anomalies.detectors import DETECTORS
from anomalies.models import Anomaly
from anomalies.wording import TITLES
from costs.templatetags.ledger import money, number

Printed = Callable[[Decimal], str]


def short(value: Decimal) -> str:
    """Four digits that count, and all digits before the point."""
    if not value:
        return "0"
    places = max(3 - value.adjusted(), 0)
    return number(value.quantize(Decimal(1).scaleb(-min(places, 12))))


def dollars(value: Decimal) -> str:
    return f"-${short(-value)}" if value < 0 else f"${short(value)}"


def percent(value: Decimal) -> str:
    return f"{number(value.quantize(Decimal('0.1')))} %"


def times(value: Decimal) -> str:
    return f"{short(value)} times"


def _fold(value: Decimal) -> str:
    return f"{short(value)}x"


def _share(value: Decimal) -> str:
    return percent(value * 100)


@dataclass(frozen=True, slots=True)
class Figures:
    """A rule's numbers: what they are called and how they are printed. `measured` is what its levels mean."""

    current: str
    baseline: str
    printed: Printed
    measured: str
    measure: Printed
    printed_baseline: Printed | None = None

    def of_baseline(self, value: Decimal) -> str:
        return (self.printed_baseline or self.printed)(value)


FIGURES: Mapping[str, Figures] = {
    "cost_spike": Figures("Cost per post", "Baseline", dollars, "times the baseline", times),
    "efficiency_drop": Figures("Per dollar", "Baseline", short, "per cent below the baseline", percent),
    "negative_roi": Figures("Return", "", percent, "per cent of the cost", percent),
    "budget_overrun": Figures("Spent", "Limit", dollars, "per cent of the limit", percent),
    "cost_threshold": Figures("Cost", "Threshold", dollars, "dollars", dollars),
    "learned": Figures("Spent", "Expected", dollars, "score from 0 to 1", dollars),
    "unpriced": Figures("Lines without a price", "", short, "lines", short),
    "no_data": Figures(
        "Spent", "Hours with costs before", dollars, "hours of silence", short, lambda v: percent(v * 100)
    ),
    "forecast": Figures("Expected at its end", "Limit", dollars, "per cent of the limit", percent),
    "burn_rate": Figures("Burn rate", "Even rate", _fold, "times an even rate", times),
    "dead_letters": Figures("Open dead letters", "", short, "letters", short),
    "ledger_drift": Figures("Counted", "Added up", money, "dollars apart", money),
}
# A rule without an entry here is told in general words.
ANY_OTHER = Figures("Current", "Baseline", short, "", short)
_CURRENT_OF_READING = {"spend_rate": "Spent in 5 minutes", "cost_per_follow": "Cost per follow"}


def figures_of(rule: str) -> Figures:
    return FIGURES.get(rule, ANY_OTHER)


def title_of(rule: str) -> str:
    return TITLES.get(rule, rule.replace("_", " ").capitalize())


def name_of_current(anomaly: Anomaly) -> str:
    if anomaly.rule == "efficiency_drop":
        return f"{str(anomaly.scope.get('outcome', 'outcome')).capitalize()}s per dollar"
    return _CURRENT_OF_READING.get(anomaly.scope.get("reading", ""), figures_of(anomaly.rule).current)


def sentence(anomaly: Anomaly, current: Decimal) -> str:
    """What happened."""
    figures, baseline = figures_of(anomaly.rule), anomaly.baseline
    told = _Told(
        who=anomaly.persona_id or "the whole installation",
        about=str(anomaly.evidence.get("budget") or anomaly.post_id or anomaly.scope.get("model") or ""),
        now=figures.printed(current),
        usual=figures.of_baseline(baseline) if baseline is not None else "",
        ratio=current / baseline if baseline else None,
        anomaly=anomaly,
    )
    return _SENTENCES.get(anomaly.rule, _any_other)(told)


@dataclass(frozen=True, slots=True)
class _Told:
    """The parts of a sentence, printed."""

    who: str
    about: str
    now: str
    usual: str
    ratio: Decimal | None
    anomaly: Anomaly

    @property
    def times(self) -> str:
        return times(self.ratio) if self.ratio is not None else "many times"

    @property
    def share(self) -> str:
        return percent(self.ratio * 100) if self.ratio is not None else "some part"


def _spike(told: _Told) -> str:
    if told.anomaly.scope.get("reading") == "spend_rate":
        return f"{told.who} spent {told.now} in five minutes, {told.times} its baseline of {told.usual}."
    return f"A post of {told.who} costs {told.now}, {told.times} its baseline of {told.usual}."


def _efficiency(told: _Told) -> str:
    less = percent((1 - told.ratio) * 100) if told.ratio is not None else "much"
    what = f"{told.anomaly.scope.get('outcome', 'outcome')}s"
    return f"A dollar of {told.who} brings {told.now} {what}, {less} less than the usual {told.usual}."


def _threshold(told: _Told) -> str:
    if told.anomaly.scope.get("reading") == "cost_per_follow":
        return f"A follow costs {told.who} {told.now}, and its target is {told.usual}."
    return f"The post {told.about} of {told.who} costs {told.now}, and the threshold is {told.usual}."


def _learned(told: _Told) -> str:
    grain = {"hour": "an hour", "five minutes": "five minutes"}.get(told.anomaly.scope.get("grain", ""), "a window")
    expected = f", where {told.usual} was expected" if told.usual else ""
    return f"{told.who} spent {told.now} in {grain}{expected}."


def _forecast(told: _Told) -> str:
    when = told.anomaly.evidence.get("exceeded_at")
    used_up = f" It would be used up on {str(when)[:16].replace('T', ' at ')} UTC." if when else ""
    return f"The budget {told.about} is expected to end its period at {told.now} of {told.usual}.{used_up}"


def _any_other(told: _Told) -> str:
    about = f", {told.about}" if told.about else ""
    return f"{title_of(told.anomaly.rule)}: {told.who}{about}."


_SENTENCES: Mapping[str, Callable[[_Told], str]] = {
    "cost_spike": _spike,
    "efficiency_drop": _efficiency,
    "negative_roi": lambda told: f"What {told.who} earns leaves a return of {told.now} of what it costs.",
    "budget_overrun": lambda told: f"The budget {told.about} has used {told.now} of {told.usual}: {told.share}.",
    "cost_threshold": _threshold,
    "learned": _learned,
    "unpriced": lambda told: f"{told.now} lines of {told.about} have no price: their cost is unknown, not zero.",
    "no_data": lambda told: f"{told.who} has had no costs lately; before, {told.usual} of its hours had some.",
    "forecast": _forecast,
    "burn_rate": lambda told: f"The budget {told.about} burns {told.times} as fast as its period allows.",
    "dead_letters": lambda told: f"{told.now} events were accepted and could not be booked: the ledger lacks them.",
    "ledger_drift": lambda told: f"The counters hold {told.now}, and the lines of the ledger add up to {told.usual}.",
    "emergency_override": lambda told: f"An emergency override holds for {told.who}.",
}
_TOLERATED: Mapping[str, str] = {
    "cost_spike": "{} its baseline",
    "efficiency_drop": "a drop of {}",
    "negative_roi": "a return of {}",
    "budget_overrun": "{} of the limit",
    "cost_threshold": "a cost of {}",
    "learned": "{} more or less than expected",
    "unpriced": "{} lines without a price",
    "no_data": "{} hours of silence",
    "forecast": "{} of the limit",
    "burn_rate": "{} an even rate",
    "dead_letters": "{} dead letters",
    "ledger_drift": "a difference of {}",
}


def tolerated(rule: str, up_to: Decimal) -> str:
    """What a tolerance lets pass, the margin of its judge included. A rule that falls is tolerated from below."""
    falls = rule in DETECTORS and DETECTORS[rule].levels.falling
    most = incidents.tolerated(up_to)
    return _TOLERATED.get(rule, "{}").format(figures_of(rule).measure(-most if falls else most))


def window_of(evidence: Mapping[str, Any]) -> str:
    """What it looked at, as the pages write times; empty where nothing is known of it."""
    window = evidence.get("window")
    if not isinstance(window, Mapping):
        return ""
    start, end = (str(window.get(name, ""))[:19].replace("T", " ") for name in ("start", "end"))
    return f"{start} to {end} UTC"


def other_evidence(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What no other part of the page shows, as (name, text)."""
    shown = {"window", "contributors", "events", "driven_by"}
    return [(name.replace("_", " "), _text(value)) for name, value in evidence.items() if name not in shown]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_text(part)}" for name, part in value.items())
    return str(value)
