"""Notices for the tests of channels; the defaults are those of the specification's example."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from alerts.channels.base import Event, Notice
from alerts.signal import Severity

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SAMPLE_FACTS = {"current": "0.067", "multiplier": "3.35"}


def notice(
    event: Event = Event.OPENED,
    *,
    rule: str = "cost_spike",
    severity: Severity = Severity.CRITICAL,
    persona_id: str = "ai_jesus",
    title: str = "Cost spike: ai_jesus",
    facts: Mapping[str, Any] = SAMPLE_FACTS,
    url: str = "https://finops.example/admin/anomalies/anomaly/1/change/",
    dedup_key: str = "group-17",
    others: int = 0,
    lines: tuple[str, ...] = (),
    at: datetime = NOON,
) -> Notice:
    return Notice(event, dedup_key, rule, severity, persona_id, title, at, facts, url, others, lines)
