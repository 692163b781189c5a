"""The body of POST /costs/events: read in bounded memory and split into its events, each as it was sent."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from django.conf import settings
from django.http import HttpRequest
from msgspec import UNSET, Raw, UnsetType
from rest_framework.exceptions import ParseError, UnsupportedMediaType

from costs.problems import Problem, invalid

MOST_EVENTS: Final = 1000
PIECE = 64 * 1024
# How much of a body that is too large is read and thrown away, so that its sender comes to read the answer.
MOST_DISCARDED = 64 * 1024 * 1024


class _Envelope(msgspec.Struct):
    events: Raw | UnsetType = UNSET


class _StrictEnvelope(_Envelope, forbid_unknown_fields=True):
    pass


# Slots instead of a list: four million events too many are skipped without memory; the last slot tells of them.
_Slots = msgspec.defstruct(
    "_Slots", [(f"event_{number}", Raw | UnsetType, UNSET) for number in range(MOST_EVENTS + 1)], array_like=True
)


def body_of(request: HttpRequest) -> bytes:
    """The JSON that was sent, read once.

    The request does not keep it: REST framework's view and request refer to each other and so live until the garbage
    collector comes by, which with megabytes of body each is far too late.
    """
    media_type = (request.content_type or "").lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(media_type or "nothing", "The body must be application/json.")
    if request.headers.get("Transfer-Encoding"):
        raise Problem(411, "A body needs its Content-Length; chunks of unknown number are not taken.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        _discard(request)
        raise Problem(413, "The body is larger than the limit: send fewer events in one request.")
    return b"".join(_pieces(request))


def events_in(body: bytes) -> list[bytes] | None:
    """The events of a batch; None when the body is one bare event."""
    envelope = _opened(body)
    if isinstance(envelope.events, UnsetType):
        return None
    try:
        slots = msgspec.structs.astuple(msgspec.json.decode(envelope.events, type=_Slots))
    except (msgspec.DecodeError, RecursionError):
        raise invalid("events", "must be a list of events") from None
    if slots[MOST_EVENTS] is not UNSET:
        raise Problem(413, f"events: at most {MOST_EVENTS:,} in one request.")
    return [bytes(event) for event in slots if event is not UNSET]


def _opened(body: bytes) -> _Envelope:
    try:
        return msgspec.json.decode(body, type=_StrictEnvelope)
    except msgspec.ValidationError as error:
        return _bare(body, because=error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def _bare(body: bytes, because: msgspec.ValidationError) -> _Envelope:
    """What holds other fields than `events` is one event, but not when it holds `events` as well."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None
    if envelope.events is not UNSET:
        # The sentence is: Object contains unknown field `name`.
        raise invalid(str(because).split("`")[1], "is no field beside events")
    return envelope


def _malformed(error: Exception) -> ParseError:
    return ParseError(f"The body is no JSON object: {error}.")


def _pieces(request: HttpRequest) -> Iterator[bytes]:
    """Read at once, a body costs the web server several times its size."""
    while piece := request.read(PIECE):
        yield piece


def _discard(request: HttpRequest) -> None:
    for _ in islice(_pieces(request), MOST_DISCARDED // PIECE):
        pass
