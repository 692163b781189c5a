"""What stands in the receivers of `make up`, read as their users would: a message, a page, a mail."""

import json
import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

CHANNELS = ("slack", "pagerduty", "email")
TIMEOUT_SECONDS = 10
LINK = re.compile(r"https?://[^\s<>|\"]+/change/")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of any channel. `facts` are its lines by their labels; `url` leads to what it is about.

    `key` is the pager's name of the incident; the others have none.
    """

    number: int
    channel: str
    received_at: datetime
    is_end: bool
    headline: str
    facts: Mapping[str, str]
    url: str
    text: str
    key: str = ""

    @property
    def rule(self) -> str:
        return self.facts.get("Type", "")

    @property
    def persona_id(self) -> str:
        return self.facts.get("Persona", "")


@dataclass(frozen=True, slots=True)
class Receivers:
    url: str

    @property
    def stands_in_for(self) -> list[str]:
        """The channels that nobody else hears."""
        return list(self._read()["stands_in_for"]) if self.url else []

    def messages(self, after: int = 0) -> list[Message]:
        """What was accepted after the message with this number; an end on the pager is told with what it ends."""
        return [message for message in told(self._read()["messages"]) if message.number > after]

    def incidents(self) -> Mapping[str, str]:
        incidents: Mapping[str, str] = self._read()["incidents"]
        return incidents

    def _read(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/messages.json", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.load(answer)


def told(kept: Iterable[Mapping[str, Any]]) -> Iterator[Message]:
    """The accepted ones of these, the oldest first."""
    begun: dict[str, dict[str, str]] = {}
    for raw in kept:
        if not raw["accepted"]:
            continue
        content, at = raw["content"], datetime.fromisoformat(raw["received_at"])
        headline, facts, text, is_end = _READERS[raw["channel"]](content)
        key = content.get("dedup_key", "")
        if facts:
            begun[key] = facts
        else:
            # On the pager an end names its incident by the key alone.
            facts = begun.get(key, {})
        link = LINK.search(json.dumps(content))
        yield Message(raw["number"], raw["channel"], at, is_end, headline, facts, link[0] if link else "", text, key)


Read = tuple[str, dict[str, str], str, bool]


def _slack(content: Mapping[str, Any]) -> Read:
    text = content["text"]
    headline = text.partition("\n")[0]
    return headline, _facts(text), text, headline.endswith("RESOLVED")


def _mail(content: Mapping[str, Any]) -> Read:
    text = f"Subject: {content['subject']}\nTo: {', '.join(content['to'])}\n\n{content['text'].strip()}"
    return content["subject"], _facts(content["text"]), text, content["subject"].startswith("[FinOps] RESOLVED")


def _page(content: Mapping[str, Any]) -> Read:
    action, key = content["event_action"], content["dedup_key"]
    payload: Mapping[str, Any] = content.get("payload") or {}
    facts = {}
    if payload:
        details = payload["custom_details"]
        facts = {"Type": payload["class"], "Severity": payload["severity"].upper(), "Persona": payload["component"]}
        facts |= {"Current cost": f"${details.get('current', '')}", "Multiplier": f"{details.get('multiplier', '')}x"}
    summary = payload.get("summary", "")
    return f"{action} {summary}".strip(), facts, f"{action} {key}\n{summary}".strip(), action == "resolve"


_READERS = {"slack": _slack, "pagerduty": _page, "email": _mail}


def _facts(text: str) -> dict[str, str]:
    pairs = [line.partition(": ") for line in text.splitlines()]
    return {label: value for label, colon, value in pairs if colon}


def about(messages: Sequence[Message], persona_id: str, rule: str, *, ends: bool) -> dict[str, list[Message]]:
    """By channel, the messages of one incident: those that it began and went on, or those that it ended."""
    fitting = [each for each in messages if (each.persona_id, each.rule, each.is_end) == (persona_id, rule, ends)]
    return {channel: [each for each in fitting if each.channel == channel] for channel in CHANNELS}
