"""What a person reads of an anomaly: its title, its facts in order, the way to its page."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.conf import settings

from alerts.signal import Severity, Signal, Status
from anomalies.detectors import DETECTORS, Detector
from anomalies.models import Anomaly

TITLES = {
    "cost_spike": "Cost spike",
    "efficiency_drop": "Efficiency drop",
    "negative_roi": "Negative return",
    "budget_overrun": "Budget nearly used up",
    "cost_threshold": "Cost threshold passed",
    "learned": "Unusual spending",
    "unpriced": "Usage without a price",
    "no_data": "No data",
    "forecast": "Budget will not last",
    "burn_rate": "Budget burns too fast",
    "dead_letters": "Events that could not be booked",
    "ledger_drift": "Counters differ from the ledger",
    "emergency_override": "Emergency override",
}

# What the two numbers are called where they are no costs to compare.
NAMES = {"dead_letters": ("open_letters", "baseline"), "ledger_drift": ("counted_usd", "added_up_usd")}


def detector_of(anomaly: Anomaly) -> Detector:
    return DETECTORS[anomaly.rule]


def signal(anomaly: Anomaly, status: Status, at: datetime) -> Signal:
    return Signal(
        fingerprint=anomaly.fingerprint,
        rule=anomaly.rule,
        scope=anomaly.scope,
        severity=Severity(anomaly.severity),
        status=status,
        title=title(anomaly),
        facts=facts(anomaly),
        url=page(anomaly),
        at=at,
    )


def title(anomaly: Anomaly) -> str:
    about = anomaly.scope.get("budget") or anomaly.post_id or anomaly.persona_id or anomaly.scope.get("model")
    about = about or anomaly.scope.get("source") or "all"
    if anomaly.rule == "budget_overrun" and (used := anomaly.evidence.get("used_percent")):
        return f"{used} % of a budget used: {anomaly.evidence.get('budget') or about}"
    return f"{TITLES[anomaly.rule]}: {about}"


def facts(anomaly: Anomaly) -> dict[str, Any]:
    """Texts and numbers as texts; dollars without their sign."""
    current, baseline = NAMES.get(anomaly.rule, ("current", "baseline"))
    told: dict[str, Any] = {current: plain(anomaly.current)}
    if anomaly.baseline is not None:
        told[baseline] = plain(anomaly.baseline)
    if anomaly.multiplier is not None:
        told["multiplier"] = plain(rounded(anomaly.multiplier, 4))
    evidence: Mapping[str, Any] = anomaly.evidence
    if window := evidence.get("window"):
        told["window"] = f"{_moment(window['start'])} to {_moment(window['end'])} UTC"
    if anomaly.resolved_at:
        told |= {"lasted": _span(anomaly.resolved_at - anomaly.opened_at), "ended": anomaly.resolution}
    for name in ("reading", "outcome", "budget", "used_percent", "exceeded_at", "driven_by"):
        if found := evidence.get(name) or anomaly.scope.get(name):
            told[name] = found
    return told


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"


def _span(span: timedelta) -> str:
    """As a person says it."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} min" if minutes else f"{span.seconds} s"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


def page(anomaly: Anomaly) -> str:
    """Written out: to look it up, a worker would load all pages of the admin."""
    return f"{settings.FINOPS_PUBLIC_URL.rstrip('/')}/admin/anomalies/anomaly/{anomaly.pk}/change/"


def plain(value: Decimal) -> str:
    """Every digit, without an exponent or trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
