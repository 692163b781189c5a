"""What a caller of a list of incidents asks for: strict, and every refusal is a sentence with the parameter's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

import msgspec
from django.db import models
from rest_framework.exceptions import APIException

from alerts.signal import Severity

PARAMETERS = ("persona_id", "anomaly_type", "severity", "status", "since", "limit", "cursor")
STATUSES = ("open", "resolved", "all")
PAGE, LARGEST_PAGE = 100, 500
LONGEST_NAME = 255
# As of costs: outside of these a time is a slip of the pen.
FIRST_YEAR, LAST_YEAR = 2000, 2100

Row = TypeVar("Row", bound=models.Model)


class Refused(APIException):
    """422: a parameter or a field is wrong."""

    status_code = 422

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__({path: sentence} if path else sentence)


class Conflict(APIException):
    """409: as things stand, this cannot be done."""

    status_code = 409


@dataclass(frozen=True, slots=True)
class Asked:
    """Which incidents; those that are open when nothing is said of it."""

    persona_id: str | None = None
    anomaly_type: str | None = None
    severity: str | None = None
    status: str = "open"
    since: datetime | None = None
    limit: int = PAGE
    cursor: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Raises Refused."""
        if unknown := sorted(set(parameters) - set(PARAMETERS)):
            raise Refused(unknown[0], f"is no parameter; these are: {', '.join(PARAMETERS)}")
        read: dict[str, Any] = {name: _READERS[name](name, parameters[name]) for name in parameters}
        return cls(**read)

    def page(self, rows: models.QuerySet[Row]) -> tuple[list[Row], str | None]:
        """The newest of these, and the cursor of what is older; None: nothing is."""
        found = list(self._narrowed(rows).order_by("-pk")[: self.limit + 1])
        return found[: self.limit], str(found[self.limit - 1].pk) if len(found) > self.limit else None

    def _narrowed(self, rows: models.QuerySet[Row]) -> models.QuerySet[Row]:
        exact = {"persona_id": self.persona_id, "rule": self.anomaly_type, "severity": self.severity}
        rows = rows.filter(**{name: value for name, value in exact.items() if value is not None})
        if self.status != "all":
            rows = rows.filter(resolved_at__isnull=self.status == "open")
        if self.since:
            rows = rows.filter(opened_at__gte=self.since)
        return rows if self.cursor is None else rows.filter(pk__lt=self.cursor)


def instant(name: str, text: str) -> datetime:
    """An RFC 3339 time with its offset. Raises Refused."""
    try:
        # In a URL an unescaped plus sign means a space.
        at: datetime = msgspec.convert(text.replace(" ", "+"), type=Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise Refused(name, "must be an RFC 3339 time with an offset, such as 2026-11-24T12:00:00Z") from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise Refused(name, f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return at


def _name(name: str, text: str) -> str:
    if not 0 < len(text) <= LONGEST_NAME or "\0" in text:
        raise Refused(name, f"must be a name of 1 to {LONGEST_NAME} characters")
    return text


def _severity(name: str, text: str) -> str:
    return _one_of(name, text, tuple(Severity))


def _status(name: str, text: str) -> str:
    return _one_of(name, text, STATUSES)


def _one_of(name: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise Refused(name, f"must be one of {', '.join(known)}")
    return text


def _limit(name: str, text: str) -> int:
    number = _digits(name, text, f"must be a whole number from 1 to {LARGEST_PAGE}")
    if not 1 <= number <= LARGEST_PAGE:
        raise Refused(name, f"must be a whole number from 1 to {LARGEST_PAGE}")
    return number


def _cursor(name: str, text: str) -> int:
    return _digits(name, text, "must be the `cursor` of an earlier answer")


def _digits(name: str, text: str, otherwise: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Refused(name, otherwise)
    return int(text)


_READERS = {
    "persona_id": _name,
    "anomaly_type": _name,
    "severity": _severity,
    "status": _status,
    "since": instant,
    "limit": _limit,
    "cursor": _cursor,
}
