"""Accept outcomes: after `accept` returns, what it calls accepted is committed and counted, once.

One statement on the inbox connection writes the fresh outcomes and moves the sums of their hours and posts. Nothing
waits to be priced, so there is no inbox for them. The rules for bodies, ids and digests are those of events.
"""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

import msgspec
from django.db import InterfaceError, OperationalError, connections, transaction

from costs.events import (
    EVERY_DIGIT,
    FUTURE,
    MONEY_DECIMALS,
    PLAIN_NUMBER,
    RESERVED_END,
    Id,
    Instant,
    InvalidEvent,
    Name,
    encode,
    exact,
    new_id,
)
from costs.ingest import INBOX, LONGEST_ID, RETRY_SECONDS, Receipt, accept_window
from costs.models import DEFAULT_SOURCE, Outcome, OutcomeKind
from costs.models.outcomes import AMOUNT_LIMIT, QUANTITY_LIMIT
from costs.signals import outcomes_recorded

NUMBERS: Final = {"quantity": QUANTITY_LIMIT, "amount": AMOUNT_LIMIT}

# Moves the sums by the outcomes of `fresh`, a part of the same statement that has just inserted them.
ADD_UP = """, hours AS (
    INSERT INTO costs_hourlyoutcome AS sums (persona_id, hour, kind, quantity, amount, outcomes)
    SELECT persona_id, hour, kind, sum(quantity), sum(amount), count(*) FROM fresh
    GROUP BY persona_id, hour, kind ORDER BY persona_id, hour, kind
    ON CONFLICT (persona_id, hour, kind) DO UPDATE SET quantity = sums.quantity + EXCLUDED.quantity,
        amount = sums.amount + EXCLUDED.amount, outcomes = sums.outcomes + EXCLUDED.outcomes
), posts AS (
    INSERT INTO costs_postoutcome AS sums (post_id, persona_id, kind, quantity, amount, outcomes)
    SELECT post_id, persona_id, kind, sum(quantity), sum(amount), count(*) FROM fresh WHERE post_id <> ''
    GROUP BY post_id, persona_id, kind ORDER BY post_id, persona_id, kind
    ON CONFLICT (post_id, persona_id, kind) DO UPDATE SET quantity = sums.quantity + EXCLUDED.quantity,
        amount = sums.amount + EXCLUDED.amount, outcomes = sums.outcomes + EXCLUDED.outcomes
)
"""
# Each of the three inserts goes in the order of its key: two clients that send the same outcomes, or outcomes of the
# same hours, wait for each other instead of deadlocking. The sums move by what was inserted, never by duplicates.
FRESH = """
WITH sent AS (
    SELECT * FROM unnest(%(ids)s::text[], %(digests)s::bytea[], %(times)s::timestamptz[], %(posts)s::text[],
                         %(personas)s::text[], %(kinds)s::text[], %(quantities)s::numeric[], %(amounts)s::numeric[])
        AS t(event_id, digest, timestamp, post_id, persona_id, kind, quantity, amount)
), author AS (
    SELECT post_id, min(persona_id) AS name FROM costs_postcost
    WHERE persona_id <> '' AND post_id IN (SELECT post_id FROM sent WHERE persona_id = '')
    GROUP BY post_id HAVING count(DISTINCT persona_id) = 1
), fresh AS (
    INSERT INTO costs_outcome
        (source, event_id, digest, timestamp, created_at, post_id, persona_id, kind, quantity, amount)
    SELECT %(source)s, event_id, digest, timestamp, %(at)s, post_id,
           COALESCE(NULLIF(persona_id, ''), author.name, ''), kind, quantity, amount
    FROM sent LEFT JOIN author USING (post_id) ORDER BY event_id COLLATE "C"
    ON CONFLICT (event_id, source) DO NOTHING
    RETURNING event_id, post_id, persona_id, date_trunc('hour', timestamp, 'UTC') AS hour, kind,
              COALESCE(quantity, 0) AS quantity, COALESCE(amount, 0) AS amount
)"""
ACCEPT = f"{FRESH}{ADD_UP}SELECT event_id, persona_id, hour FROM fresh"


class Told(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An outcome as a caller sends it: its kind, how much of it, and of which post or persona."""

    kind: str
    event_id: Id | None = None
    timestamp: Instant | None = None
    post_id: Id | None = None
    persona_id: Name | None = None
    quantity: Any = None
    amount: Any = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    told: Told
    event_id: str
    timestamp: datetime
    digest: bytes


_decoder = msgspec.json.Decoder(Told, float_hook=exact)
_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def accept(
    bodies: Sequence[bytes],
    *,
    source: str,
    at: datetime,
    personas: Sequence[str] | None = None,
    using: str = INBOX,
) -> list[Receipt]:
    """Durably accept up to 1,000 outcome bodies, one receipt for each, in order.

    `personas` limits who may be written for (None: anybody). Without a persona an outcome is counted for the one that
    the post's booked costs are for, if that is exactly one by now.
    Raises django.db.OperationalError when Postgres is away: then nothing was accepted that is not a duplicate later.
    """
    judged = [_judged(body, at, personas) for body in bodies]
    first: dict[str, _Candidate] = {}
    for found in judged:
        if isinstance(found, _Candidate):
            first.setdefault(found.event_id, found)
    fresh = _store(list(first.values()), source, at, using) if first else set()
    known = _digests(source, [id_ for id_ in first if id_ not in fresh], using)
    return [
        found if isinstance(found, Receipt) else _receipt(found, first[found.event_id], fresh, known)
        for found in judged
    ]


def track(fields: dict[str, Any], *, at: datetime) -> str:
    """Accept one outcome of a Python caller and return its id; three more tries while Postgres is away.

    Raises InvalidEvent when it is refused, or when the id was accepted before with another body.
    """
    if fields.get("event_id") in (None, ""):
        # Chosen before the first try: if its answer is lost after the commit, the next try finds a duplicate.
        fields = fields | {"event_id": new_id(at)}
    receipt = _accept_patiently(encode(fields), at)
    if receipt.status in ("rejected", "conflict") or receipt.event_id is None:
        raise InvalidEvent(receipt.detail)
    return receipt.event_id


def parse(body: bytes) -> Told:
    """Decode and check one outcome. Raises InvalidEvent."""
    try:
        told = _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, InvalidOperation) as error:
        raise InvalidEvent(_sentence(error)) from None
    _check(told)
    return told


def digest(told: Told) -> bytes:
    """16 bytes of what the caller sent, before defaults: the same for an honest retry, however it is spelled."""
    sent = msgspec.structs.replace(
        told,
        event_id=None,
        timestamp=told.timestamp and told.timestamp.astimezone(UTC),
        **{name: number for name, number in _numbers(told).items() if number is not None},
    )
    return hashlib.blake2b(_encoder.encode(sent), digest_size=16).digest()


def _accept_patiently(body: bytes, at: datetime) -> Receipt:
    for seconds in RETRY_SECONDS:
        try:
            return accept([body], source=DEFAULT_SOURCE, at=at)[0]
        except (OperationalError, InterfaceError):
            connections[INBOX].close()
            time.sleep(seconds)
    return accept([body], source=DEFAULT_SOURCE, at=at)[0]


def _judged(body: bytes, at: datetime, personas: Sequence[str] | None) -> _Candidate | Receipt:
    try:
        told = parse(body)
        _check_window(told.timestamp, at, accept_window())
        # Without a persona too: the answer would tell whose post it is.
        if personas is not None and told.persona_id not in personas:
            raise InvalidEvent("persona_id: this key is bound to other personas")
    except InvalidEvent as error:
        return Receipt(_id_in(body), "rejected", str(error))
    return _Candidate(told, told.event_id or new_id(at), told.timestamp or at, digest(told))


def _store(candidates: list[_Candidate], source: str, at: datetime, using: str) -> set[str]:
    told = [candidate.told for candidate in candidates]
    numbers = [_numbers(each) for each in told]
    parameters: dict[str, Any] = {
        "source": source,
        "at": at,
        "ids": [candidate.event_id for candidate in candidates],
        "digests": [candidate.digest for candidate in candidates],
        "times": [candidate.timestamp for candidate in candidates],
        "posts": [each.post_id or "" for each in told],
        "personas": [each.persona_id or "" for each in told],
        "kinds": [each.kind for each in told],
        "quantities": [each["quantity"] for each in numbers],
        "amounts": [each["amount"] for each in numbers],
    }
    with connections[using].cursor() as cursor:
        cursor.execute(ACCEPT, parameters)
        rows = cursor.fetchall()
    if rows:
        touched = sorted({(persona, hour) for _, persona, hour in rows})
        tell = partial(outcomes_recorded.send_robust, sender=Outcome, touched=touched, at=at)
        transaction.on_commit(tell, using=using)
    return {event_id for event_id, _, _ in rows}


def _digests(source: str, event_ids: list[str], using: str) -> dict[str, bytes]:
    if not event_ids:
        return {}
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT event_id, digest FROM costs_outcome WHERE source = %s AND event_id = ANY(%s)", [source, event_ids]
        )
        return {event_id: bytes(found) for event_id, found in cursor.fetchall()}


def _receipt(found: _Candidate, first: _Candidate, fresh: set[str], known: dict[str, bytes]) -> Receipt:
    if found.event_id in fresh and found is first:
        return Receipt(found.event_id, "accepted")
    if found.digest == (first.digest if found.event_id in fresh else known[found.event_id]):
        return Receipt(found.event_id, "duplicate")
    return Receipt(found.event_id, "conflict", "event_id: was accepted before with another body, which stands")


def _check(told: Told) -> None:
    if told.kind not in OutcomeKind:
        raise InvalidEvent(f"kind: must be one of {', '.join(OutcomeKind)}")
    if "\x00" in f"{told.event_id}{told.post_id}{told.persona_id}":
        raise InvalidEvent("text must not contain the NUL character")
    if told.post_id and told.post_id.endswith(RESERVED_END):
        raise InvalidEvent(f"post_id: must not end in {RESERVED_END}, which is the path of a post's summary")
    if not told.post_id and not told.persona_id:
        raise InvalidEvent("post_id or persona_id: one of them is required")
    needed = "amount" if told.kind == OutcomeKind.REVENUE else "quantity"
    if _numbers(told)[needed] is None:
        raise InvalidEvent(f"{needed}: is required for {told.kind}")


def _check_window(when: datetime | None, at: datetime, oldest: timedelta) -> None:
    if when is not None and when > at + FUTURE:
        raise InvalidEvent("timestamp: lies more than 10 minutes in the future")
    if when is not None and when < at - oldest:
        raise InvalidEvent(f"timestamp: lies more than {oldest.days} days back")


def _numbers(told: Told) -> dict[str, Decimal | None]:
    """Quantity and amount. Raises InvalidEvent unless each is absent or a plain, bounded decimal."""
    return {name: _number(name, getattr(told, name), limit) for name, limit in NUMBERS.items()}


def _number(name: str, value: Any, limit: Decimal) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, str) and PLAIN_NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidEvent(f"{name}: must be a decimal number, or a string that holds one")
    number = Decimal(value)
    if not -limit < number < limit:
        raise InvalidEvent(f"{name}: must lie between -{limit} and {limit}, both excluded")
    exponent = number.normalize(EVERY_DIGIT).as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MONEY_DECIMALS:
        raise InvalidEvent(f"{name}: at most {MONEY_DECIMALS} decimals")
    # Of -0 JSON makes 0 where it stands as a number; as a text it must not be another outcome.
    return number.normalize(EVERY_DIGIT) if number else Decimal(0)


class _Identity(msgspec.Struct):
    event_id: str | None = None


def _id_in(body: bytes) -> str | None:
    """The id that a rejected body carries, if it can be read at all."""
    try:
        event_id = msgspec.json.decode(body, type=_Identity).event_id
    except (ValueError, RecursionError):
        return None
    return event_id if event_id and len(event_id) <= LONGEST_ID else None


_FIELD_ERRORS = (
    (re.compile(r"Object contains unknown field `([^`]{1,100})`$"), "is no field of an outcome"),
    (re.compile(r"Object missing required field `([^`]{1,100})`$"), "is required"),
)


def _sentence(error: Exception) -> str:
    text = str(error) or "The JSON is nested too deeply"
    for pattern, sentence in _FIELD_ERRORS:
        if found := pattern.match(text):
            return f"{found[1]}: {sentence}"
    if isinstance(error, UnicodeDecodeError):
        return "The outcome is no valid UTF-8 text"
    sentence, _, path = text.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    return f"{path}: {sentence}" if path else sentence
