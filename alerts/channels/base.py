"""What every channel is: something that says a notice to one receiver, or tells why it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from alerts.signal import Severity


class Event(StrEnum):
    """Why a notice is said."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UNACKNOWLEDGED = "unacknowledged"
    REPEATED = "repeated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    DIGEST = "digest"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message, complete: a channel asks nobody for more.

    `dedup_key` is the same for everything said about one incident. `facts` are printed in their order. `others` counts
    the incidents that this one stands for besides itself; `lines` are the sentences of a digest.
    """

    event: Event
    dedup_key: str
    rule: str
    severity: Severity
    persona_id: str
    title: str
    at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    others: int = 0
    lines: tuple[str, ...] = ()


class TransportError(Exception):
    """A notice was not delivered. `permanent` says that trying again cannot help; `retry_after` is the receiver's wish.

    `channel_broken` says that it is the channel and not this message that can never work: it is switched off.
    """

    def __init__(
        self, message: str, *, permanent: bool, retry_after: timedelta | None = None, channel_broken: bool = False
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
        self.channel_broken = channel_broken


class Transport(Protocol):
    """A kind of channel. One file each; `alerts.channels.TRANSPORTS` lists them."""

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError with a sentence when these settings (addresses, keys) cannot work."""

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        """Say it once and return the receiver's receipt, for the audit. Raises TransportError."""
