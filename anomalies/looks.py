"""The looks of one round: readings put before their detectors, with the evidence to keep if something is found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from anomalies import contributors, outcome_readings, readings
from anomalies.detectors.base import Detector, Judgement, Reading, Window
from anomalies.detectors.budget_overrun import BudgetReading
from anomalies.detectors.cost_spike import CostReading
from anomalies.detectors.cost_threshold import CostPerFollow, PostReading
from anomalies.detectors.negative_roi import ReturnReading
from anomalies.incidents import Look
from anomalies.models import Anomaly
from anomalies.rules import Rules
from anomalies.wording import plain, rounded
from controls import budgets
from controls.models import Usage
from costs.attribution import Target

FOLLOWS = CostPerFollow()
# A dear post whose incident is over is an incident again when it has grown by a tenth.
GROWTH = Decimal("1.1")


def at_spending(looked: Mapping[str, datetime], rules: Rules, *, target: Target) -> list[Look]:
    """Cost per post and spend rate of these personas, each as of its own instant."""
    found = [*readings.costs_per_post(looked, target=target.per_post), *readings.spend_rates(looked)]
    return [
        look
        for reading in found
        if (look := _look("cost_spike", rules.of("cost_spike", reading.persona_id), reading, _of_spike(reading)))
    ]


def at_posts(posts: Iterable[str], rules: Rules, *, target: Target) -> list[Look]:
    """Those of the posts that cost more than a rule or the alert threshold allows."""
    threshold = target.per_post * target.alert_multiplier
    dear = _news(readings.dear_posts(posts, threshold=threshold, least=_least(rules, threshold)))
    evidence = _Evidence({reading.post_id: reading.window for reading in dear})
    looks = []
    for reading in dear:
        detector = rules.of("cost_threshold", reading.persona_id)
        look = _look("cost_threshold", detector, reading, partial(evidence.of, reading.post_id))
        if look and look.judgement and look.judgement.severity:
            looks.append(look)
    return looks


def _news(dear: list[PostReading]) -> list[PostReading]:
    """Without those that were found before and have hardly grown since: one more small line is no new incident."""
    ended = Anomaly.objects.filter(rule="cost_threshold", post_id__in=[reading.post_id for reading in dear])
    known: dict[str, Decimal] = {}
    for post_id, current in ended.exclude(resolved_at=None).values_list("post_id", "current"):
        known[post_id] = max(current, known.get(post_id, current))
    return [reading for reading in dear if reading.cost > known.get(reading.post_id, Decimal(0)) * GROWTH]


@dataclass(slots=True)
class _Evidence:
    """What drove each of many posts, read for all of them when it is asked for the first time."""

    windows: dict[str, Window]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, post_id: str) -> dict[str, Any]:
        if not self.found:
            self.found = contributors.of_posts(
                {post: Window(window.start - readings.NEWS, window.end) for post, window in self.windows.items()}
            )
        return self.found[post_id]


def at_outcomes(personas: Iterable[str], rules: Rules, at: datetime, *, per_follow: Decimal) -> list[Look]:
    """Efficiency, return and cost per follow of those of the personas that have outcomes."""
    found = outcome_readings.read(list(personas), at, per_follow=per_follow)
    looks = []
    for efficiency in found.efficiencies:
        detector = rules.of("efficiency_drop", efficiency.persona_id)
        looks.append(_look("efficiency_drop", detector, efficiency, _of_hours(efficiency)))
    for returned in found.returns:
        detector = rules.of("negative_roi", returned.persona_id)
        looks.append(_look("negative_roi", detector, returned, _of_return(returned)))
    for follows in found.follows:
        looks.append(_look("cost_threshold", _of_follows(rules, follows.persona_id), follows, _of_hours(follows)))
    return [look for look in looks if look]


def at_budgets(rules: Rules, at: datetime, personas: set[str] | None = None) -> list[Look]:
    """What the budgets have used: all of them, or those that these personas' costs count in."""
    looks = []
    for usage in budgets.usages(at, personas):
        reading = budget_reading(usage)
        detector = rules.of("budget_overrun", usage.scope.get("persona_id", ""))
        if look := _look("budget_overrun", detector, reading, partial(_budget_evidence, reading)):
            looks.append(look)
    return looks


def budget_reading(usage: Usage) -> BudgetReading:
    return BudgetReading(
        usage.budget_id,
        usage.name,
        covers=named(usage.scope),
        spent=usage.spent,
        limit=usage.allowed,
        committed=usage.committed,
        warn_levels=[Decimal(level) for level in usage.warn_levels],
        window=Window(usage.starts_at, usage.ends_at),
    )


def named(scope: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in scope.items() if value}


def _look(rule: str, detector: Detector | None, reading: Reading, evidence: Any) -> Look | None:
    if detector is None:
        return None
    judgement: Judgement | None = detector.inspect(reading)
    return Look(rule, detector, reading.scope, judgement, evidence, reading)


def _of_follows(rules: Rules, persona_id: str) -> Detector | None:
    return FOLLOWS if rules.of("cost_threshold", persona_id) else None


def _least(rules: Rules, threshold: Decimal) -> Decimal:
    """The lowest level that any persona has: cheaper posts need not be read."""
    own = [
        entry
        for (_, rule), policy in rules.policies.items()
        if rule == "cost_threshold" and (entry := policy.entry) is not None
    ]
    return min([threshold, *own])


def _of_spike(reading: CostReading) -> Any:
    def evidence() -> Mapping[str, Any]:
        return {
            **contributors.of_window(reading.persona_id, reading.window),
            "reading": reading.kind,
            "baseline_source": reading.baseline_source,
            "baseline_samples": reading.samples,
        }

    return evidence


def _of_hours(reading: Any) -> Any:
    return partial(contributors.of_window, reading.persona_id, reading.window)


def _of_return(reading: ReturnReading) -> Any:
    def evidence() -> Mapping[str, Any]:
        sums = {"revenue": plain(reading.revenue), "cost": plain(reading.cost)}
        return {**contributors.of_window(reading.persona_id, reading.window), **sums}

    return evidence


def _budget_evidence(reading: BudgetReading) -> Mapping[str, Any]:
    used = plain(rounded(reading.spent / reading.limit * 100, 1))
    return {
        "window": contributors.told_window(reading.window),
        "budget": reading.name,
        "limit": plain(reading.limit),
        "used_percent": used,
        "driven_by": contributors.of_days(reading.covers, reading.window),
    }
