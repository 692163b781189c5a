"""What trips the breaker: each look, read as scores over the thresholds of the persona's policy.

A spike trips it from 3 times the baseline on, a budget that names the persona from 90 % of spent and held on, a return
from -60 % down, and whatever its rule calls critical. How much stands behind a reading is found out by who asks.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from alerts.signal import Severity
from anomalies import contributors
from anomalies.detectors.base import Judgement, Levels
from anomalies.detectors.budget_overrun import BudgetReading, levels_of
from anomalies.detectors.cost_spike import COST_PER_POST, CostReading, CostSpike
from anomalies.detectors.negative_roi import ReturnReading
from anomalies.incidents import Look
from anomalies.wording import plain, rounded
from controls.ladder import ENTER, Reading, Rules

ZERO = Decimal(0)
CENT = Decimal(100)
# Of what its rule does not call critical.
BELOW = Decimal("0.999")
# A person needs no more digits, and a Decimal has no more.
LARGEST = Decimal("1e18")


def budget_trigger(budget_id: int) -> str:
    return f"budget:{budget_id}"


def critical_trigger(rule: str) -> str:
    return f"critical:{rule}"


def with_held(look: Look) -> Look:
    """A look at a budget, judged by all that is committed: what decisions let in is as good as spent."""
    read = look.reading
    if not isinstance(read, BudgetReading) or read.committed is None or read.committed == read.spent:
        return look
    committed = replace(read, spent=read.committed)
    return replace(look, reading=committed, judgement=look.detector.inspect(committed))


def readings(look: Look, rules: Rules) -> Iterator[Reading]:
    """None where there was too little to read, or no one persona to hold back; what is not known yet is 0."""
    if look.judgement is None or not look.scope.get("persona_id") or not is_enough(look):
        return
    if own := _own(look, look.judgement, rules):
        yield own
    if rules.on_critical and (critical := _critical(look, look.judgement)):
        yield critical


def _own(look: Look, judgement: Judgement, rules: Rules) -> Reading | None:
    read = look.reading
    if isinstance(read, CostReading):
        return _spike(look, judgement, read, rules)
    if isinstance(read, BudgetReading):
        return _budget(look, judgement, read, rules)
    if isinstance(read, ReturnReading):
        return _return(look, judgement, read, rules)
    return None


def is_enough(look: Look) -> bool:
    """Whether a spike's reading holds as much as its detector wants; any other look does."""
    if isinstance(look.reading, CostReading) and isinstance(look.detector, CostSpike):
        return look.detector.is_enough(look.reading)
    return True


def _spike(look: Look, judgement: Judgement, read: CostReading, rules: Rules) -> Reading:
    what = "cost per post" if read.kind == COST_PER_POST else "spend rate"
    times = _told(judgement.score, 2)
    return Reading(
        persona_id=read.persona_id,
        trigger=read.kind,
        severity=_severity(judgement),
        excess=judgement.score / rules.spike_from,
        events=read.events,
        amount=read.amount,
        says=f"The {what} is {times} times its baseline of ${_told(read.baseline, 4)}.",
        evidence=_evidence(look, judgement, rules.spike_from) | {"reading": read.kind},
    )


def _budget(look: Look, judgement: Judgement, read: BudgetReading, rules: Rules) -> Reading:
    used = judgement.score
    return Reading(
        persona_id=look.scope["persona_id"],
        trigger=budget_trigger(read.budget_id),
        severity=_severity(judgement),
        excess=used / rules.budget_from,
        events=0,
        amount=read.spent,
        is_lagging=True,
        full=CENT / rules.budget_from,
        says=f"{_told(used, 1)} % of the budget {read.name} is spent or held.",
        evidence=_evidence(look, judgement, rules.budget_from) | {"budget": read.name, "limit": plain(read.limit)},
    )


def _return(look: Look, judgement: Judgement, read: ReturnReading, rules: Rules) -> Reading:
    return Reading(
        persona_id=read.persona_id,
        trigger="roi",
        severity=_severity(judgement),
        excess=judgement.score / rules.roi_from,
        events=0,
        amount=read.cost,
        is_lagging=True,
        says=f"The return is {_told(judgement.score, 1)} %.",
        evidence=_evidence(look, judgement, rules.roi_from),
    )


def _critical(look: Look, judgement: Judgement) -> Reading | None:
    levels = _levels(look)
    if levels.critical is None:
        return None
    is_spike = isinstance(look.reading, CostReading)
    return Reading(
        persona_id=look.scope["persona_id"],
        trigger=critical_trigger(look.rule),
        severity=Severity.CRITICAL,
        excess=_over_critical(judgement, levels),
        events=getattr(look.reading, "events", 0),
        amount=getattr(look.reading, "amount", ZERO) if is_spike else ZERO,
        is_lagging=not is_spike,
        says=f"There is a critical anomaly: {look.rule}.",
        evidence=_evidence(look, judgement, levels.critical) | {"rule": look.rule},
    )


def _levels(look: Look) -> Levels:
    """Those that it was judged by."""
    if isinstance(look.reading, BudgetReading) and look.reading.warn_levels:
        return levels_of(look.reading.warn_levels)
    return look.detector.levels


def _over_critical(judgement: Judgement, levels: Levels) -> Decimal:
    """The score over the critical level, on the side that the severity says."""
    level = levels.critical or ZERO
    ratio = judgement.score / level if level and levels.falling == (level < 0) else ZERO
    return max(ratio, ENTER) if judgement.severity is Severity.CRITICAL else min(ratio, BELOW)


def _severity(judgement: Judgement) -> Severity:
    return judgement.severity or Severity.MEDIUM


def _evidence(look: Look, judgement: Judgement, threshold: Decimal) -> dict[str, Any]:
    window = getattr(look.reading, "window", None)
    return {
        "anomaly_type": look.rule,
        "score": _told(judgement.score, 4),
        "threshold": plain(threshold),
        "current": _told(judgement.current, 6),
        **({"baseline": _told(judgement.baseline, 6)} if judgement.baseline is not None else {}),
        **({"window": contributors.told_window(window)} if window else {}),
    }


def _told(value: Decimal, places: int) -> str:
    return plain(rounded(max(min(value, LARGEST), -LARGEST), places))
