"""The event as a caller sends it: one strict decoder for HTTP and Python, one digest, one canonical form.

Pure: no Django, no clock. A body is JSON as bytes; what is wrong with it is one sentence with its path.
"""

import hashlib
import os
import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Annotated, Any
from uuid import UUID

import msgspec

from costs.pricing import DIALECTS, UsageError, normalise

Name = Annotated[str, msgspec.Meta(max_length=100)]
Id = Annotated[str, msgspec.Meta(max_length=255)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
AMOUNT_LIMIT = Decimal(1_000_000_000)
MONEY_DECIMALS = 12
# Python's own context would round to 28 digits.
EVERY_DIGIT = Context(prec=10_000)
METADATA_BYTES = 8 * 1024
METADATA_DEPTH = 5
RESERVED_END = "/summary"
FUTURE = timedelta(minutes=10)


class InvalidEvent(ValueError):
    """The event is not accepted; the message says where and why."""


class Event(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One use of a paid resource. Only cost_type and one of usage or amount are required."""

    cost_type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    event_id: Id | None = None
    timestamp: Instant | None = None
    post_id: Id | None = None
    persona_id: Name | None = None
    operation: Name | None = None
    provider: Name | None = None
    model: Name | None = None
    usage: dict[str, Any] | None = None
    amount: Any = None
    currency: str | None = None
    correlation_id: Id | None = None
    request_id: Id | None = None
    hold_id: Name | None = None
    metadata: dict[str, Any] | None = None


class _AmountAsSent(msgspec.Struct):
    """Decoding makes 0 of -0; the sign is only in the text."""

    amount: msgspec.Raw

    @property
    def is_negative(self) -> bool:
        return bytes(self.amount).startswith(b"-")


def exact(text: str) -> int | Decimal:
    """A JSON number without loss; one canonical value for 1, 1.0 and 1e0."""
    number = Decimal(text)
    if not -200 < number.adjusted() < 200:
        raise ValueError(f"The number {text[:40]} is out of range")
    is_small_integer = number.adjusted() < 18 and number == number.to_integral_value()
    return int(number) if is_small_integer else number.normalize(EVERY_DIGIT)


_decoder = msgspec.json.Decoder(Event, float_hook=exact)
_stored = msgspec.json.Decoder(list[Event], float_hook=exact)
_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def parse(body: bytes) -> Event:
    """Decode and check one event. Raises InvalidEvent."""
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, InvalidOperation) as error:
        raise InvalidEvent(_sentence(error)) from None
    if b"\\u0000" in body:
        _refuse_nul(event)
    if event.amount == 0 and msgspec.json.decode(body, type=_AmountAsSent).is_negative:
        raise InvalidEvent("amount: must not be negative, and -0 is no plain decimal")
    _check(event)
    return event


def encode(fields: dict[str, Any]) -> bytes:
    """A Python caller's fields as a body: from here on both ways are one. Raises InvalidEvent."""
    try:
        return _encoder.encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"The event cannot be written as JSON: {error}") from None


def digest(event: Event) -> bytes:
    """16 bytes of what the caller sent, before defaults: the same for an honest retry, however it is spelled."""
    sent = msgspec.structs.replace(
        event,
        event_id=None,
        timestamp=event.timestamp and event.timestamp.astimezone(UTC),
        amount=None if event.amount is None else amount_of(event).normalize(EVERY_DIGIT),
    )
    return hashlib.blake2b(_encoder.encode(sent), digest_size=16).digest()


def completed(event: Event, at: datetime) -> Event:
    """The event with its defaults: an id, a time in UTC."""
    return msgspec.structs.replace(
        event, event_id=event.event_id or new_id(at), timestamp=(event.timestamp or at).astimezone(UTC)
    )


def canonical(event: Event) -> str:
    """What the inbox stores of a completed event."""
    return _encoder.encode(event).decode()


def hold_key(hold_id: str | None) -> str:
    """The one spelling of a hold's id; what is no UUID stays as it is, and names no hold."""
    try:
        return str(UUID(hold_id)) if hold_id else ""
    except ValueError:
        return hold_id or ""


def stored(payload: str) -> list[Event]:
    """The events of an inbox row's payload, a JSON array of canonical events."""
    return _stored.decode(payload)


def amount_of(event: Event) -> Decimal:
    """The caller's explicit amount. Raises InvalidEvent unless it is a plain, bounded, non-negative decimal."""
    value = event.amount
    if isinstance(value, str) and PLAIN_NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidEvent("amount: must be a decimal number, or a string that holds one")
    number = Decimal(value)
    if number.is_signed():
        raise InvalidEvent("amount: must not be negative")
    if number >= AMOUNT_LIMIT:
        raise InvalidEvent("amount: must be below 1000000000")
    exponent = number.normalize(EVERY_DIGIT).as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MONEY_DECIMALS:
        raise InvalidEvent("amount: at most 12 decimals")
    return number


def new_id(at: datetime) -> str:
    """A UUID version 7: ids in time order write half as much WAL as random ones."""
    stamp = int(at.timestamp() * 1000) << 80
    random = int.from_bytes(os.urandom(10), "big")
    return str(UUID(int=(stamp | random) & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)))


def check_window(event: Event, at: datetime, oldest: timedelta | None) -> None:
    """Refuse what lies outside [at - oldest, at + 10 minutes]; no lower bound when oldest is None."""
    when = event.timestamp
    if when is None:
        return
    if when > at + FUTURE:
        raise InvalidEvent("timestamp: lies more than 10 minutes in the future")
    if oldest is not None and when < at - oldest:
        raise InvalidEvent(f"timestamp: lies more than {oldest.days} days back; import_usage takes older history")
    if when.year < 2000:
        raise InvalidEvent("timestamp: lies before the year 2000")


def _check(event: Event) -> None:
    if event.post_id and event.post_id.endswith(RESERVED_END):
        raise InvalidEvent(f"post_id: must not end in {RESERVED_END}, which is the path of a post's summary")
    if event.usage is None and event.amount is None:
        raise InvalidEvent("usage or amount: one of them is required")
    if event.usage is not None:
        _check_usage(event.usage)
    if event.amount is not None:
        amount_of(event)
    if event.currency not in (None, "USD"):
        raise InvalidEvent("currency: only USD is accepted")
    if event.metadata:
        _check_size("metadata", event.metadata)


def _check_usage(usage: dict[str, Any]) -> None:
    if not usage:
        raise InvalidEvent("usage: must not be empty")
    dialect = usage.get("dialect", "plain")
    if dialect == "plain":
        _check_plain(usage)
        return
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        raise InvalidEvent(f"usage.dialect: must be one of {', '.join(sorted(DIALECTS))}")
    # What a provider reported is kept even when its numbers contradict each other: the drain sets it aside then.
    _check_size("usage", usage)


def _check_plain(usage: dict[str, Any]) -> None:
    try:
        normalise(usage)
    except UsageError as error:
        raise InvalidEvent(str(error)) from None


def _check_size(name: str, value: dict[str, Any]) -> None:
    if len(_encoder.encode(value)) > METADATA_BYTES:
        raise InvalidEvent(f"{name}: at most 8 KB")
    if _depth(value) > METADATA_DEPTH:
        raise InvalidEvent(f"{name}: at most 5 levels deep")


def _depth(value: Any, level: int = 0) -> int:
    if level > METADATA_DEPTH:
        return level
    if isinstance(value, dict):
        return max((_depth(item, level + 1) for item in value.values()), default=level + 1)
    if isinstance(value, list):
        return max((_depth(item, level + 1) for item in value), default=level + 1)
    return level


def _refuse_nul(event: Event) -> None:
    # An escaped backslash before u0000 is harmless, so the decoded text decides, not the raw body.
    if "\x00" in _text_in(msgspec.to_builtins(event)):
        raise InvalidEvent("text must not contain the NUL character")


def _text_in(value: Any) -> str:
    """All text of a value, keys included, in one string."""
    if isinstance(value, dict):
        return "".join(_text_in(key) + _text_in(item) for key, item in value.items())
    if isinstance(value, list):
        return "".join(map(_text_in, value))
    return value if isinstance(value, str) else ""


_FIELD_ERRORS = (
    (re.compile(r"Object contains unknown field `([^`]{1,100})`$"), "is no field of an event"),
    (re.compile(r"Object missing required field `([^`]{1,100})`$"), "is required"),
)


def _sentence(error: Exception) -> str:
    text = str(error) or "The JSON is nested too deeply"
    for pattern, sentence in _FIELD_ERRORS:
        if found := pattern.match(text):
            return f"{found[1]}: {sentence}"
    if isinstance(error, UnicodeDecodeError):
        return "The event is no valid UTF-8 text"
    sentence, _, path = text.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    return f"{path}: {sentence}" if path else sentence
