"""Book what the inbox holds: claim rows, price their events, write lines and counters, delete the rows.

A claim counts the attempt and takes a lease, and is committed before the work, so a crash counts too. The work is one
transaction that begins with deleting the rows as claimed: whoever deletes a row books it, nobody else can.
A row that failed is tried in smaller company, then event by event, so that one poison event stands alone at last.
"""

import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from costs import booking, doorbell, ledger, partitions
from costs.booking import Line
from costs.caches import PRICES
from costs.events import Event, canonical, hold_key, stored
from costs.models import DeadLetter, InboxRow
from costs.prices import current_book, keep_sheets
from costs.signals import events_recorded

log = logging.getLogger(__name__)

CRASHES, ERRORS = 3, 5
# After this many failures a row is drained event by event.
FAILURES_TOGETHER = 2
POLL_SECONDS = 0.02
# Events with much metadata come fewer at a time: a worker has 150 MB.
CLAIMED_BYTES = 4 * 1024 * 1024
# UTF-8 takes at most four bytes for one.
CLAIMED_CHARACTERS = CLAIMED_BYTES // 4
# SQLSTATE classes: connection, rolled back for another transaction, out of resources, lock not free, shutting down.
CONNECTION_LOST = "08"
PASSING_STATES = (CONNECTION_LOST, "40", "53", "55", "57P")


@dataclass(frozen=True, slots=True)
class Company:
    """Rows that may be claimed together: those with so many attempts behind them, so many at once."""

    condition: str
    rows: int


FRESH = Company("attempts = 0", 1000)
TROUBLED = (Company("attempts = 1", 30), Company("attempts >= 2", 1))


@dataclass(frozen=True, slots=True)
class Claim:
    """An inbox row that this process may book until its lease ends; `attempts` includes the one at hand."""

    id: int
    source: str
    payload: str
    event_count: int
    attempts: int
    errors: int

    @property
    def crashes(self) -> int:
        return self.attempts - 1 - self.errors

    @property
    def failures(self) -> int:
        return self.attempts - 1


@dataclass(frozen=True, slots=True)
class _Work:
    lines: list[Line]
    refused: list[DeadLetter]


def drain(*, at: datetime, seconds: float = 20.0) -> int:
    """Book what is waiting, until the time is up; returns how many events were taken from the inbox.

    What arrives meanwhile is booked too while it comes in full batches; a trickle waits for its own nudge.
    Raises OperationalError when Postgres goes away: then the rows wait for the next drain.
    """
    partitions.ensure_once(at)
    started, total = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        moment = at + timedelta(milliseconds=int(elapsed * 1000))
        fresh = _claim(FRESH.condition, FRESH.rows)
        total += _process(fresh, at=moment)
        troubled = sum(_process(_claim(company.condition, company.rows), at=moment) for company in TROUBLED)
        total += troubled
        if _is_a_trickle(fresh) and not troubled:
            break
    return total


def _is_a_trickle(claims: Sequence[Claim]) -> bool:
    """A claim of so little took all there was. To claim again at once would book the next few one by one, at six
    times the work for each; whoever sent them has rung, and rings are 400 ms apart.
    """
    few = min(settings.FINOPS_COST_EVENT_BATCH_SIZE, FRESH.rows) // 10
    size = sum(len(claim.payload) for claim in claims)
    return sum(claim.event_count for claim in claims) <= few and size < CLAIMED_CHARACTERS


def drain_post(post_id: str, *, at: datetime, seconds: float = 1.0) -> None:
    """Book this post's waiting events now, or wait while another process books them; at most `seconds`.

    Inside a transaction of the caller's it only waits: counters must not stay locked until that one ends.
    """
    deadline = time.monotonic() + seconds
    while InboxRow.objects.of_post(post_id).exists() and time.monotonic() < deadline:
        taken = 0
        if not connection.in_atomic_block:
            partitions.ensure_once(at)
            taken = _process(_claim("attempts = 0 AND post_ids @> ARRAY[%(post)s::varchar]", 1000, post=post_id), at=at)
        if not taken:
            time.sleep(POLL_SECONDS)


def replay(ids: Sequence[int], *, by: str, at: datetime) -> int:
    """Put dead letters back into the inbox; returns how many were open. Safe to run twice."""
    with transaction.atomic():
        open_letters = DeadLetter.objects.select_for_update().filter(pk__in=ids, replayed_at=None).order_by("pk")
        rows = [
            InboxRow(**letter.as_inbox_row(), hold_ids=[hold] if (hold := _hold_in(letter.payload)) else [])
            for letter in open_letters
        ]
        DeadLetter.objects.filter(pk__in=[letter.pk for letter in open_letters]).update(replayed_at=at, replayed_by=by)
        InboxRow.objects.bulk_create(rows)
        transaction.on_commit(doorbell.ring)
    return len(rows)


def write_off(ids: Sequence[int], *, by: str, because: str, at: datetime) -> int:
    """Leave dead letters as they are, for this reason; returns how many were open. Still they can be replayed."""
    return (
        DeadLetter.objects.open()
        .filter(pk__in=ids)
        .update(written_off_at=at, written_off_by=by, written_off_because=because)
    )


CLAIM = """
WITH waiting AS MATERIALIZED (
    SELECT id, event_count, octet_length(payload) AS bytes FROM costs_inboxrow
    WHERE {condition} AND (leased_until IS NULL OR leased_until < now())
    ORDER BY id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
), chosen AS (
    SELECT id, sum(event_count) OVER (ORDER BY id) - event_count AS events_before,
           sum(bytes) OVER (ORDER BY id) - bytes AS bytes_before
    FROM waiting
)
UPDATE costs_inboxrow SET attempts = attempts + 1, leased_until = now() + %(lease)s * interval '1 second'
WHERE id IN (SELECT id FROM chosen WHERE events_before < %(events)s AND bytes_before < %(bytes)s)
RETURNING id, source, payload, event_count, attempts, errors
"""


def _claim(condition: str, rows: int, **parameters: str) -> list[Claim]:
    """Take a lease on rows of up to about one batch of events, at least one row. Committed when this returns."""
    limits = {
        "rows": rows,
        "events": settings.FINOPS_COST_EVENT_BATCH_SIZE,
        "bytes": CLAIMED_BYTES,
        "lease": settings.FINOPS_INBOX_LEASE_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(CLAIM.format(condition=condition), {**limits, **parameters})
        return sorted((Claim(*row) for row in cursor.fetchall()), key=lambda claim: claim.id)


def _process(claims: list[Claim], *, at: datetime) -> int:
    """Book the claimed rows, or set aside those that have failed too often; returns their number of events."""
    if not claims:
        return 0
    if len(claims) == 1 and claims[0].failures >= FAILURES_TOGETHER:
        _process_troubled(claims[0], at=at)
    else:
        _try(claims, at=at)
    return sum(claim.event_count for claim in claims)


def _process_troubled(claim: Claim, *, at: datetime) -> None:
    if claim.event_count > 1:
        _split(claim)
    elif claim.crashes >= CRASHES:
        _quarantine(claim, f"{CRASHES} workers died while booking it")
    else:
        _try([claim], at=at)


def _try(claims: list[Claim], *, at: datetime) -> None:
    try:
        work = _book(claims, at=at)
    except Exception as error:
        # The one place that must survive anything an event can hold: the row keeps the reason.
        if _is_passing(error):
            _give_back(claims)
            raise
        reason = _reason(error)
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%d inbox rows could not be booked: %s", len(claims), reason, extra={"exception": where})
        _note_failure(claims, reason)
    else:
        _tell(work, claims)
        if work.lines:
            events_recorded.send_robust(sender=Line, lines=work.lines, at=at)


def _tell(work: _Work, claims: Sequence[Claim]) -> None:
    if work.lines:
        log.info("booked", extra={"events": len(work.lines), "rows": len(claims)})
    for letter in work.refused:
        # Not why: the reason quotes what the event holds.
        ids = {"event_id": letter.event_id, "post_id": letter.post_id, "persona_id": letter.persona_id}
        log.error("an event is set aside as a dead letter", extra=ids | {"source": letter.source})


def _is_passing(error: Exception) -> bool:
    """Whether the rows are not to blame: the database went away, was full, broke a deadlock, or the task's time is up.

    A statement that takes too long is the rows' fault.
    """
    if isinstance(error, SoftTimeLimitExceeded):
        return True
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state: str = getattr(error.__cause__, "sqlstate", None) or CONNECTION_LOST
    return state.startswith(PASSING_STATES)


def _book(claims: list[Claim], *, at: datetime) -> _Work:
    with transaction.atomic():
        held, prices = _take(claims), current_book()
        booked = [(claim, booking.book(stored(claim.payload), source=claim.source, prices=prices)) for claim in held]
        kept, searched = prices.take_counts()
        PRICES.count(hits=kept, misses=searched)
        keep_sheets([sheet for _, made in booked for sheet in made.sheets])
        refused = [_dead_letter(claim, event, why) for claim, made in booked for event, why in made.refused]
        DeadLetter.objects.bulk_create(refused)
        lines = [line for _, made in booked for line in made.lines]
        ledger.write(lines, at=at)
    return _Work(lines, refused)


def _take(claims: list[Claim]) -> list[Claim]:
    """Delete the rows that are still as claimed. A row whose lease ran out and was taken over is somebody else's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM costs_inboxrow USING unnest(%s::bigint[], %s::int[]) AS claimed(id, attempts)"
            " WHERE costs_inboxrow.id = claimed.id AND costs_inboxrow.attempts = claimed.attempts"
            " RETURNING costs_inboxrow.id",
            [[claim.id for claim in claims], [claim.attempts for claim in claims]],
        )
        mine = {row[0] for row in cursor.fetchall()}
    return [claim for claim in claims if claim.id in mine]


def _dead_letter(claim: Claim, event: Event, reason: str) -> DeadLetter:
    return DeadLetter(
        source=claim.source,
        event_id=event.event_id or "",
        post_id=event.post_id or "",
        persona_id=event.persona_id or "",
        payload=canonical(event),
        reason=reason,
        attempts=claim.attempts,
    )


def _give_back(claims: list[Claim]) -> None:
    """The database failed, not the rows: the attempt does not count. If it is still away, the lease runs out."""
    try:
        connection.close()
        _update(claims, "attempts = attempts - 1, leased_until = NULL", {})
    except (OperationalError, InterfaceError):
        log.warning("%d inbox rows wait until their lease ends", len(claims))


def _reason(error: Exception) -> str:
    """The first line: the others quote what the event holds, and that belongs into no log."""
    first, *_ = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {first}"[:500].replace("\0", "")


def _note_failure(claims: list[Claim], reason: str) -> None:
    (first, *others) = claims
    if not others and first.event_count == 1 and first.errors + 1 >= ERRORS:
        return _quarantine(first, reason)
    # Later each time: what fails may depend on something that recovers.
    moves = "errors = errors + 1, last_error = %(reason)s, leased_until = now() + interval '50 ms' * 2 ^ errors"
    return _update(claims, moves, {"reason": reason})


def _update(claims: list[Claim], moves: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE costs_inboxrow SET {moves} FROM unnest(%(ids)s::bigint[], %(attempts)s::int[])"
            " AS claimed(row_id, claimed_attempts) WHERE id = row_id AND attempts = claimed_attempts",
            {
                **parameters,
                "ids": [claim.id for claim in claims],
                "attempts": [claim.attempts for claim in claims],
            },
        )


SPLIT = """
WITH whole AS (DELETE FROM costs_inboxrow WHERE id = %s AND attempts = %s RETURNING *)
INSERT INTO costs_inboxrow (source, payload, event_count, post_ids, hold_ids, received_at, attempts, errors, last_error)
SELECT source, '[' || event || ']', 1, array_remove(ARRAY[NULLIF(post_id, '')], NULL),
       array_remove(ARRAY[NULLIF(hold_id, '')], NULL), received_at,
       attempts - 1, LEAST(errors, attempts - 1), last_error
FROM whole, unnest(%s::text[], %s::text[], %s::text[]) AS t(event, post_id, hold_id)
"""


def _split(claim: Claim) -> None:
    """One row for each event: from here on they fail or succeed alone."""
    events = _events_in(claim.payload)
    if not events:
        return _quarantine(claim, "its payload is no list of events")
    posts = [_text_in(event, "post_id", 255) for event in events]
    holds = [_hold_in(event) for event in events]
    with connection.cursor() as cursor:
        cursor.execute(SPLIT, [claim.id, claim.attempts, events, posts, holds])


def _quarantine(claim: Claim, reason: str) -> None:
    """Set the row's events aside, each alone; what is no list of events stays whole."""
    log.error("inbox row %d is set aside as a dead letter: %s", claim.id, reason)
    events = _events_in(claim.payload) or [claim.payload]
    with transaction.atomic():
        if _take([claim]):
            DeadLetter.objects.bulk_create(_unread_letter(claim, event, reason) for event in events)


def _events_in(payload: str) -> list[str]:
    """The text of each event, digit by digit as it is stored; empty when the payload cannot be read."""
    try:
        return [bytes(event).decode() for event in msgspec.json.decode(payload, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, RecursionError):
        return []


def _unread_letter(claim: Claim, payload: str, reason: str) -> DeadLetter:
    return DeadLetter(
        source=claim.source,
        event_id=_text_in(payload, "event_id", 255),
        post_id=_text_in(payload, "post_id", 255),
        persona_id=_text_in(payload, "persona_id", 100),
        payload=payload,
        reason=reason,
        attempts=claim.attempts,
    )


def _hold_in(payload: str) -> str:
    return hold_key(_text_in(payload, "hold_id", 100))


def _text_in(payload: str, name: str, length: int) -> str:
    """A name from an event that may be anything."""
    try:
        value = msgspec.json.decode(payload).get(name)
    except (msgspec.DecodeError, RecursionError, AttributeError):
        return ""
    return value.replace("\0", "")[:length] if isinstance(value, str) else ""
