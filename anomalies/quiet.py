"""Open incidents of which nothing new is heard: silence is calm, and calm for long enough is the end."""

from collections.abc import Collection
from datetime import datetime

from anomalies import incidents
from anomalies.detectors import DETECTORS
from anomalies.incidents import Key, Look
from anomalies.models import Anomaly
from anomalies.rules import Rules

POSTS_AT_ONCE = 1000


def unseen(rule: str, seen: Collection[Key], rules: Rules) -> list[Look]:
    """A look without a reading at each open, unseen incident of the rule. Posts end by themselves."""
    return [
        Look(rule, detector, anomaly.scope, None)
        for anomaly in Anomaly.objects.open().filter(rule=rule, post_id="")
        if (rule, anomaly.scope_key) not in seen and (detector := rules.of(rule, anomaly.persona_id) or DETECTORS[rule])
    ]


def end_quiet_posts(at: datetime) -> None:
    """A dear post stays dear; its incident ends when no cost has come to it for the rule's `calm_for`."""
    detector = Rules.stored().of("cost_threshold") or DETECTORS["cost_threshold"]
    settled = Anomaly.objects.open().filter(rule="cost_threshold", last_seen_at__lte=at - detector.calm_for)
    incidents.end(list(settled.exclude(post_id="").order_by("pk")[:POSTS_AT_ONCE]), reason="no cost came since", at=at)
