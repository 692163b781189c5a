"""A webhook of the team's own: the notice as JSON, signed so that the receiver knows who sent it and when.

    X-FinOps-Signature: t=1764000000,v1=5257a869…     HMAC-SHA256 of "<t>.<body>" with the shared secret, in hex
    X-FinOps-Delivery: group-17:opened:1764000000      the same when this notice is sent again: skip doubles

The receiver calls `verify` (or does the same in its own language) before it reads the body, and answers 2xx within
10 seconds. 410 means: never again. 429 and 503 may carry Retry-After in seconds.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from alerts import addresses, http
from alerts.channels.base import Notice, TransportError

SIGNATURE, DELIVERY = "X-FinOps-Signature", "X-FinOps-Delivery"
_SHORTEST_SECRET = 16
# Decimals leave as text: a number in JSON is a float to most who read it.
_encode = msgspec.json.Encoder(decimal_format="string").encode


class SignatureError(ValueError):
    """A sentence why a message is not from us, or too old."""


class Webhook:
    def check(self, settings: Mapping[str, Any]) -> None:
        addresses.checked(str(settings.get("url") or ""))
        if len(str(settings.get("secret") or "")) < _SHORTEST_SECRET:
            raise ValueError(f"The secret must have at least {_SHORTEST_SECRET} characters.")

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        body = _encode(notice)
        # The receiver's clock decides how old a message may be, so this is the time of sending, not of the notice.
        signed = sign(str(settings.get("secret") or ""), body, int(time.time()))
        delivery = delivery_id(notice)
        answer = http.post(str(settings.get("url") or ""), body, {SIGNATURE: signed, DELIVERY: delivery})
        if answer.is_ok:
            return delivery
        # The receiver's own words stay unquoted: they may repeat what it was sent.
        raise TransportError(
            f"The webhook answered {answer.status}.", permanent=True, channel_broken=answer.status == 410
        )


def delivery_id(notice: Notice) -> str:
    """One for each notice, the same for each try. Two repetitions of one incident differ by their time."""
    return f"{quote(notice.dedup_key, safe=':-_.', errors='replace')}:{notice.event}:{int(notice.at.timestamp())}"


def sign(secret: str, body: bytes, at: int) -> str:
    return f"t={at},v1={_digest(secret, body, str(at))}"


def verify(secret: str, header: str, body: bytes, now: datetime, tolerance: timedelta = timedelta(minutes=5)) -> None:
    """For receivers: raise SignatureError unless `body`, as it was received, was signed with the secret just now."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()):
        raise SignatureError("The signature names no time.")
    digest = _digest(secret, body, times[0]).encode()
    given = [value.encode(errors="replace") for name, _, value in parts if name == "v1"]
    if not any([hmac.compare_digest(digest, one) for one in given]):
        raise SignatureError("The signature is not ours.")
    if abs(now.timestamp() - int(times[0])) > tolerance.total_seconds():
        raise SignatureError("The message was signed too long ago, or one of the clocks is wrong.")


def _digest(secret: str, body: bytes, at: str) -> str:
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
