"""What alerts receive: one change of one incident, told by whoever found it. Alerts know no producer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Status(StrEnum):
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Signal:
    """`fingerprint` is the identity of the incident: the same for everything that is ever said about it.

    `scope` says what it is about, such as {"persona_id": "ai_jesus"} or {"persona_id": …, "post_id": …}; an absent
    persona is the whole installation. `facts` are what a person should read, in order, ready to print: {"current":
    "0.067", "multiplier": "3.35"}. `url` leads to the incident's page.
    """

    fingerprint: str
    rule: str
    scope: Mapping[str, str]
    severity: Severity
    status: Status
    title: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    at: datetime | None = None

    @property
    def persona_id(self) -> str:
        return self.scope.get("persona_id", "")
