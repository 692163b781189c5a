"""What the stand-ins got: the latest messages, and the state of each incident that the pager knows."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MOST = 500
# What the pager's three actions make of an incident.
STATES = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stand-in says to a sender."""

    status: int
    body: str

    @property
    def is_accepted(self) -> bool:
        return self.status < 300


@dataclass(frozen=True, slots=True)
class Message:
    """Something that came in, whether it was accepted or not; `content` is what a person wants to see of it."""

    number: int
    received_at: datetime
    channel: str
    answer: Answer
    content: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "channel": self.channel,
            "accepted": self.answer.is_accepted,
            "answer": f"{self.answer.status} {self.answer.body}",
            "content": dict(self.content),
        }


class Book:
    """Threads share one. It lives as long as its process: these are messages to look at, not to keep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque(maxlen=MOST)
        self._incidents: dict[str, str] = {}
        self._count = 0

    def keep(self, channel: str, answer: Answer, content: Mapping[str, Any]) -> None:
        with self._lock:
            self._count += 1
            self._messages.append(Message(self._count, datetime.now(UTC), channel, answer, content))
            if channel == "pagerduty" and answer.is_accepted:
                self._move(content["dedup_key"], content["event_action"])

    def messages(self) -> list[Message]:
        """The oldest first."""
        with self._lock:
            return list(self._messages)

    def incidents(self) -> dict[str, str]:
        """The state of each, by its key."""
        with self._lock:
            return dict(self._incidents)

    def empty(self) -> None:
        with self._lock:
            self._messages.clear()
            self._incidents.clear()

    def _move(self, key: str, action: str) -> None:
        # Who acknowledges or resolves what is not open changes nothing, as at the vendor.
        if action == "trigger" or self._incidents.get(key, "resolved") != "resolved":
            self._incidents[key] = STATES[action]
        while len(self._incidents) > MOST:
            del self._incidents[next(iter(self._incidents))]
