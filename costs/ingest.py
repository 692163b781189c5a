"""Accept events: after `accept` returns, what it calls accepted is committed, once, and will be booked.

One statement on the inbox connection writes the keys and ONE inbox row with the request's fresh events, so nothing
is ever half accepted, whatever the caller's own transaction does. Booking is the drain's work.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from costs import doorbell, straight
from costs.events import (
    Event,
    InvalidEvent,
    canonical,
    check_window,
    completed,
    digest,
    encode,
    hold_key,
    new_id,
    parse,
)
from costs.models import DEFAULT_SOURCE

Status = Literal["accepted", "duplicate", "conflict", "rejected"]
RETRY_SECONDS = (1, 2, 4)
INBOX: Final = "inbox"
# Stands for FINOPS_ACCEPT_OLDEST_DAYS, which is read at the call.
CONFIGURED: Final = timedelta(0)
LONGEST_ID = 255

# In id order: two clients that send the same ids in different orders wait for each other instead of deadlocking.
# The bodies come as one text, taken apart only where some of the events are not fresh.
ACCEPT = straight.Statement(
    "accept",
    """
WITH sent AS (
    SELECT * FROM unnest({}, {}, {}, {}) AS t(event_id, digest, post_id, hold_id)
), whole AS (
    SELECT {} AS payload, {} AS source
), fresh AS (
    INSERT INTO costs_eventkey (source, event_id, digest)
    SELECT source, event_id, digest FROM sent, whole ORDER BY event_id COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING event_id
), only_fresh AS (
    SELECT '[' || string_agg(body::text, ',' ORDER BY place) || ']' AS payload
    FROM whole, json_array_elements(payload::json) WITH ORDINALITY AS t(body, place)
    WHERE body ->> 'event_id' IN (SELECT event_id FROM fresh)
), counted AS (
    SELECT count(*) = (SELECT count(*) FROM sent) AS are_all_fresh FROM fresh
), stored AS (
    INSERT INTO costs_inboxrow (source, payload, event_count, post_ids, hold_ids)
    SELECT (SELECT source FROM whole),
           CASE WHEN (SELECT are_all_fresh FROM counted) THEN (SELECT payload FROM whole)
                ELSE (SELECT payload FROM only_fresh) END,
           count(*), COALESCE(array_agg(DISTINCT post_id) FILTER (WHERE post_id <> ''), '{{}}'),
           COALESCE(array_agg(DISTINCT hold_id) FILTER (WHERE hold_id <> ''), '{{}}')
    FROM sent JOIN fresh USING (event_id)
    HAVING count(*) > 0
)
SELECT CASE WHEN NOT are_all_fresh THEN (SELECT COALESCE(json_agg(event_id), '[]') FROM fresh)::text END FROM counted
""",
    *("text[]", "bytea[]", "text[]", "text[]", "text", "text"),
    planned_anew=True,
)

# The same for one event, four times as fast: its plans are kept.
ACCEPT_ONE = straight.Statement(
    "accept_one",
    "SELECT costs_accept_one({}, {}, {}, {}, {}, {})::text",
    *("text", "text", "bytea", "text", "text", "text"),
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one event; detail is a sentence for rejected ones and conflicts."""

    event_id: str | None
    status: Status
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    position: int
    event: Event
    digest: bytes

    @property
    def event_id(self) -> str:
        assert self.event.event_id is not None
        return self.event.event_id


def accept_window() -> timedelta:
    return timedelta(days=settings.FINOPS_ACCEPT_OLDEST_DAYS)


def accept(
    bodies: Sequence[bytes],
    *,
    source: str,
    at: datetime,
    personas: Sequence[str] | None = None,
    oldest: timedelta | None = CONFIGURED,
    using: str = INBOX,
) -> list[Receipt]:
    """Durably accept up to 1,000 event bodies, one receipt for each, in order.

    `personas` limits who may be written for (None: anybody); `oldest` is the accept window (None: no lower bound).
    Raises django.db.OperationalError when Postgres is away: then nothing was accepted that is not a duplicate later.
    """
    window = accept_window() if oldest is CONFIGURED else oldest
    receipts: list[Receipt | None] = [None] * len(bodies)
    candidates = []
    for position, body in enumerate(bodies):
        try:
            candidates.append(_candidate(position, body, at, personas, window))
        except InvalidEvent as error:
            receipts[position] = Receipt(_id_in(body), "rejected", str(error))
    first: dict[str, _Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.event_id, candidate)
    fresh = _store(list(first.values()), source, using) if first else set()
    known = _digests(source, [id_ for id_ in first if id_ not in fresh], using)
    for candidate in candidates:
        receipts[candidate.position] = _receipt(candidate, first[candidate.event_id], fresh, known)
    if fresh:
        doorbell.ring()
    return [receipt for receipt in receipts if receipt]


def track(fields: dict[str, Any], *, at: datetime) -> str:
    """Accept one event of a Python caller and return its id, which a duplicate shares with the first.

    Raises InvalidEvent when it is refused, or when the id was accepted before with another body.
    """
    if fields.get("event_id") in (None, ""):
        # Chosen before the first try: if its answer is lost after the commit, the next try finds a duplicate.
        fields = fields | {"event_id": new_id(at)}
    (receipt,) = accept_patiently([encode(fields)], source=DEFAULT_SOURCE, at=at)
    if receipt.status in ("rejected", "conflict") or receipt.event_id is None:
        raise InvalidEvent(receipt.detail)
    return receipt.event_id


def accept_patiently(bodies: Sequence[bytes], *, source: str, at: datetime) -> list[Receipt]:
    """`accept` for processes that can wait: three more tries while Postgres is away, then it raises.

    Every body needs an event_id, else a try whose answer was lost counts twice.
    """
    for seconds in RETRY_SECONDS:
        try:
            return accept(bodies, source=source, at=at)
        except (OperationalError, InterfaceError):
            connections[INBOX].close()
            time.sleep(seconds)
    return accept(bodies, source=source, at=at)


def _candidate(
    position: int, body: bytes, at: datetime, personas: Sequence[str] | None, oldest: timedelta | None
) -> _Candidate:
    event = parse(body)
    check_window(event, at, oldest)
    if personas is not None and event.persona_id not in personas:
        raise InvalidEvent("persona_id: this key is bound to other personas")
    return _Candidate(position, completed(event, at), digest(event))


def _store(candidates: list[_Candidate], source: str, using: str) -> set[str]:
    if len(candidates) == 1:
        return {candidates[0].event_id} if _store_one(candidates[0], source, using) else set()
    ids = [candidate.event_id for candidate in candidates]
    sent = [
        straight.text_array(ids),
        straight.text_array(straight.spelled(candidate.digest) for candidate in candidates),
        straight.text_array(candidate.event.post_id or "" for candidate in candidates),
        straight.text_array(hold_key(candidate.event.hold_id) for candidate in candidates),
        f"[{','.join(canonical(candidate.event) for candidate in candidates)}]",
    ]
    (only,) = ACCEPT.row([*sent, source], using=using)
    return set(ids if only is None else msgspec.json.decode(only))


def _store_one(candidate: _Candidate, source: str, using: str) -> bool:
    """Whether it was fresh."""
    event = candidate.event
    sent = [event.post_id or "", hold_key(event.hold_id), f"[{canonical(event)}]"]
    (is_fresh,) = ACCEPT_ONE.row([source, candidate.event_id, candidate.digest, *sent], using=using)
    return is_fresh == "true"


def _digests(source: str, event_ids: list[str], using: str) -> dict[str, bytes]:
    if not event_ids:
        return {}
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT event_id, digest FROM costs_eventkey WHERE source = %s AND event_id = ANY(%s)", [source, event_ids]
        )
        return {event_id: bytes(found) for event_id, found in cursor.fetchall()}


def _receipt(candidate: _Candidate, first: _Candidate, fresh: set[str], known: dict[str, bytes]) -> Receipt:
    event_id = candidate.event_id
    if event_id in fresh and candidate is first:
        return Receipt(event_id, "accepted")
    if candidate.digest == (first.digest if event_id in fresh else known[event_id]):
        return Receipt(event_id, "duplicate")
    return Receipt(event_id, "conflict", "event_id: was accepted before with another body, which stands")


class _Identity(msgspec.Struct):
    event_id: str | None = None


def _id_in(body: bytes) -> str | None:
    """The id that a rejected body carries, if it can be read at all. Nothing else is decoded, however much there is."""
    try:
        event_id = msgspec.json.decode(body, type=_Identity).event_id
    except (ValueError, RecursionError):
        # DecodeError, or UnicodeDecodeError for bytes that are no UTF-8.
        return None
    return event_id if event_id and len(event_id) <= LONGEST_ID else None
