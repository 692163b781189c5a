"""What callers send to alerts: strict, and every refusal is a sentence with its path."""

import re
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.request import Request

from alerts.asked import LAST_YEAR, LONGEST_NAME, Refused
from alerts.models import Silence
from alerts.signal import Severity

LONGEST_SILENCE = timedelta(days=366)
LONGEST_REASON = 300

Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
Minutes = Annotated[int, Meta(ge=1, le=LONGEST_SILENCE // timedelta(minutes=1))]
Body = TypeVar("Body")

_FIELD = re.compile(r"Object (contains unknown|missing required) field `([^`]{1,100})`")
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`$")


class LengthRequired(APIException):
    status_code = 411
    default_detail = "A body needs its Content-Length; chunks of unknown number are not taken."


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Note(msgspec.Struct, forbid_unknown_fields=True):
    note: Annotated[str, Meta(max_length=LONGEST_REASON)] = ""

    def __post_init__(self) -> None:
        _refuse_nul("note", self.note)


class NewSilence(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=LONGEST_REASON)]
    persona_id: Name | None = None
    anomaly_type: Annotated[str, Meta(max_length=100)] | None = None
    up_to: Severity = Severity.CRITICAL
    ends_at: Annotated[datetime, Meta(tz=True)] | None = None
    duration_minutes: Minutes | None = None

    def silence(self, owner: str, at: datetime) -> Silence:
        """Not saved yet. Raises Refused."""
        for path in ("reason", "persona_id", "anomaly_type"):
            _refuse_nul(path, getattr(self, path))
        return Silence(
            persona_id=self.persona_id or "",
            rule=self.anomaly_type or "",
            up_to=self.up_to,
            starts_at=at,
            ends_at=self._end(at),
            owner=owner[:150],
            reason=self.reason,
        )

    def _end(self, at: datetime) -> datetime:
        if (self.ends_at is None) == (self.duration_minutes is None):
            raise Refused("ends_at", "is required, or duration_minutes instead of it")
        if self.duration_minutes is not None:
            return at + timedelta(minutes=self.duration_minutes)
        assert self.ends_at is not None, "one of the two is given"
        if self.ends_at.year > LAST_YEAR or not at < self.ends_at <= at + LONGEST_SILENCE:
            raise Refused("ends_at", f"must lie after now and within {LONGEST_SILENCE.days} days")
        return self.ends_at


def read(request: Request, kind: type[Body]) -> Body:
    """The body, or an empty object where none was sent. Raises Refused, or what REST framework has for it."""
    if request.headers.get("Transfer-Encoding"):
        raise LengthRequired
    body = request._request.body
    if body and (request.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(request.content_type or "nothing", "The body must be application/json.")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"The body is no JSON object: {error}.") from None


def _refusal(text: str) -> Refused:
    if found := _FIELD.match(text):
        return Refused(found[2], "is no field here" if found[1] == "contains unknown" else "is required")
    if found := _PLACE.match(text):
        return Refused(found[2], found[1])
    return Refused("", text)


def _refuse_nul(path: str, text: str | None) -> None:
    if text and "\0" in text:
        raise Refused(path, "must not contain the NUL character")
