"""Anomalies in one line, through the same door as those of detection: looks with a score."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from anomalies import incidents
from anomalies.detectors import DETECTORS, Levels
from anomalies.incidents import Look
from anomalies.models import Anomaly

SPIKE = {"persona_id": "ai_jesus", "reading": "cost_per_post"}
EVIDENCE: Mapping[str, Any] = {
    "window": {"start": "2026-11-24T11:55:00Z", "end": "2026-11-24T12:00:00Z"},
    "driven_by": "gpt-4o, hook: 92.4 % of it",
    "contributors": [{"model": "gpt-4o", "operation": "hook", "amount": "0.62", "events": 9, "share": "92.4"}],
    "events": [
        {"event_id": "call-9", "post_id": "post_009", "model": "gpt-4o", "operation": "hook", "amount": "0.31"},
        {"event_id": "pod-1", "post_id": None, "model": "kubernetes", "operation": "", "amount": "0.02"},
    ],
    "reading": "cost_per_post",
    "baseline_source": "median",
    "baseline_samples": 30,
}


def now() -> datetime:
    return datetime.now(UTC)


def look(
    score: str = "6.7",
    *,
    rule: str = "cost_spike",
    scope: Mapping[str, str] = SPIKE,
    current: str = "0.134",
    baseline: str | None = "0.02",
    multiplier: str | None = None,
    evidence: Mapping[str, Any] = EVIDENCE,
) -> Look:
    detector = DETECTORS[rule]
    judgement = detector.judge(
        Decimal(score),
        current=Decimal(current),
        baseline=Decimal(baseline) if baseline else None,
        multiplier=Decimal(multiplier or score),
        # A rule that ships without levels takes its threshold from the settings.
        levels=detector.levels if detector.levels.entry is not None else Levels(medium=Decimal(baseline or 1)),
    )
    return Look(rule, detector, scope, judgement, lambda: evidence)


def found(*looks: Look, at: datetime | None = None) -> list[Anomaly]:
    """Anomalies that these looks opened; by default one cost spike of ai_jesus."""
    return incidents.apply(looks or [look()], at=at or now())


def spike_of(persona: str, **fields: Any) -> Anomaly:
    (anomaly,) = found(look(scope={"persona_id": persona, "reading": "cost_per_post"}, **fields))
    return anomaly
