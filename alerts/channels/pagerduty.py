"""PagerDuty, through the Events API v2. The same key triggers, acknowledges and resolves one incident there."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from alerts import addresses, http
from alerts.channels import wording
from alerts.channels.base import Event, Notice, TransportError
from alerts.signal import Severity

HOSTS = {"events.pagerduty.com", "events.eu.pagerduty.com"}
DEFAULT_URL = "https://events.pagerduty.com"
_PATH = "/v2/enqueue"
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)

SEVERITIES = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
# All others trigger: a key that is open already gets another line, not another incident. A test leaves nothing open.
_ACTIONS = {
    Event.ACKNOWLEDGED: ("acknowledge",),
    Event.RESOLVED: ("resolve",),
    Event.TEST: ("trigger", "resolve"),
}
_LONGEST_KEY = 255
_LONGEST_SUMMARY = 1_024
# Together far below the 512 KB that an event may have.
_MOST_DETAILS = 50
_MOST_LINES = 100


class PagerDuty:
    def check(self, settings: Mapping[str, Any]) -> None:
        if not _ROUTING_KEY.fullmatch(str(settings.get("routing_key") or "")):
            raise ValueError("The routing key of an Events API v2 integration has 32 letters and digits.")
        addresses.checked(_url(settings), hosts=HOSTS)

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        receipt = ""
        for action in _ACTIONS.get(notice.event, ("trigger",)):
            receipt = _enqueue(event(notice, action), settings)
        return receipt


def event(notice: Notice, action: str) -> dict[str, Any]:
    """The event to post, but for the routing key."""
    told: dict[str, Any] = {"event_action": action, "dedup_key": dedup_key(notice)}
    if action != "trigger":
        return told
    link = wording.absolute(notice.url)
    return told | {
        "client": "FinOps engine",
        "links": [{"href": link, "text": "Open in the FinOps engine"}] if link else [],
        "payload": {
            "summary": _summary(notice),
            "source": "finops-engine",
            "severity": SEVERITIES[notice.severity],
            "timestamp": notice.at.isoformat(),
            "component": wording.one_line(notice.persona_id) or "all personas",
            "group": "costs",
            "class": wording.one_line(notice.rule),
            "custom_details": _details(notice),
        },
    }


def dedup_key(notice: Notice) -> str:
    key = wording.incident_key(notice)
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _enqueue(event: dict[str, Any], settings: Mapping[str, Any]) -> str:
    key = str(settings.get("routing_key") or "")
    # Escaped, one emoji would take twelve bytes of the 512 KB.
    body = json.dumps({"routing_key": key, **event}, ensure_ascii=False).encode(errors="replace")
    answer = http.post(_url(settings), body, {}, hosts=HOSTS)
    if answer.is_ok:
        return str(event["dedup_key"])
    said = _complaint(answer.text)
    # "Invalid routing key", "Length of 'routing_key' is incorrect": no message will ever pass with this one.
    broken = "routing key" in said.lower() or "routing_key" in said.lower()
    # The answer may quote the key.
    quoted = wording.one_line(said.replace(key, "…") if key else said, 200)
    raise TransportError(
        f"PagerDuty answered {answer.status}: {quoted or 'nothing more'}.", permanent=True, channel_broken=broken
    )


def _complaint(text: str) -> str:
    try:
        said = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    errors = said.get("errors")
    return " ".join(str(part) for part in [said.get("message") or "", *(errors if isinstance(errors, list) else [])])


def _summary(notice: Notice) -> str:
    summary = wording.sentence(notice) if notice.event is not Event.TEST else wording.heading(notice)
    more = f" (and {notice.others} more)" if notice.others else ""
    return wording.one_line(summary, _LONGEST_SUMMARY - len(more)) + more


def _details(notice: Notice) -> dict[str, Any]:
    facts = list(notice.facts.items())[:_MOST_DETAILS]
    details: dict[str, Any] = {wording.one_line(name, 60): wording.one_line(value) for name, value in facts}
    if notice.title:
        details["title"] = wording.one_line(notice.title)
    if notice.lines:
        details["lines"] = [wording.one_line(line) for line in notice.lines[:_MOST_LINES]]
    return details


def _url(settings: Mapping[str, Any]) -> str:
    base = str(settings.get("url") or DEFAULT_URL).rstrip("/")
    return base if base.endswith(_PATH) else base + _PATH
