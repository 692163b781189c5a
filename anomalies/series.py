"""The learned rule's rounds: every closed hour and five minutes of each persona is fed to its streaming detector once.

The state lies in a row between two windows and the watermark moves in the same transaction, so a stop is caught up
with, and a window is never seen twice. A persona without a state learns from the counters of the past weeks first.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Min

from anomalies import contributors, controlled, incidents
from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Window
from anomalies.detectors.learned import StreamingDetector
from anomalies.detectors.learned_rule import HOUR, SeriesReading
from anomalies.incidents import Look
from anomalies.models import Anomaly, SeriesState, Watermark
from anomalies.rules import Rules
from costs.models import InboxRow

log = logging.getLogger(__name__)

# Events of a window that come later than this are not seen by the detector; they are in the ledger all the same.
LATENESS = timedelta(minutes=2)
# Further back nothing is caught up with: an alarm about it would be of no use.
LONGEST_STOP = timedelta(days=1)
# After a stop several rounds catch up, so that none takes as long as a task may.
WINDOWS_AT_ONCE = 24
FORGOTTEN_AFTER = timedelta(days=30)
# Windows of the past that newcomers learn from in one round: two or three seconds of work.
LEARNED_AT_ONCE = 20_000
EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Grain:
    """A step of time, the counter that holds it, and how much of the past a new detector learns from."""

    name: str
    step: timedelta
    statement: str
    learns_from: timedelta

    @property
    def newcomers(self) -> int:
        """How many personas may begin to learn in one round."""
        return LEARNED_AT_ONCE // (self.learns_from // self.step)

    def floor(self, at: datetime) -> datetime:
        return at - (at - EPOCH) % self.step


GRAINS = (
    Grain(
        HOUR,
        timedelta(hours=1),
        "SELECT persona_id, hour, sum(amount) FROM costs_hourlycost"
        " WHERE hour >= %(start)s AND hour < %(end)s AND persona_id <> ''"
        " AND (%(personas)s::text[] IS NULL OR persona_id = ANY(%(personas)s)) GROUP BY 1, 2",
        timedelta(days=28),
    ),
    Grain(
        "five minutes",
        timedelta(minutes=5),
        "SELECT persona_id, starts_at, amount FROM costs_fiveminutecost"
        " WHERE starts_at >= %(start)s AND starts_at < %(end)s AND persona_id IN ("
        "  SELECT unnest(%(personas)s::text[]) UNION SELECT persona_id FROM costs_hourlycost"
        "  WHERE %(personas)s::text[] IS NULL AND persona_id <> ''"
        "  AND hour >= date_trunc('hour', %(start)s::timestamptz, 'UTC') AND hour < %(end)s)",
        timedelta(days=7),
    ),
)

Amounts = Mapping[str, Mapping[datetime, Decimal]]


def booked_until(at: datetime) -> datetime:
    """Up to when everything is booked that was accepted: what waits in the inbox is no silence."""
    oldest = InboxRow.objects.aggregate(oldest=Min("received_at"))["oldest"]
    return min(at, oldest) if oldest else at


def catch_up(at: datetime) -> None:
    controlled.observe([look for grain in GRAINS for look in _catch_up(grain, at)], at=at)


def _catch_up(grain: Grain, at: datetime) -> list[Look]:
    """Feed what was closed since the watermark, at most a day of it; returns the looks at the newest window."""
    closed = grain.floor(booked_until(at) - LATENESS)
    mark, _ = Watermark.objects.select_for_update().get_or_create(
        name=f"learned {grain.name}", defaults={"through": closed}
    )
    if mark.through >= closed:
        return []
    start = max(mark.through, grain.floor(at - LONGEST_STOP))
    closed = min(closed, start + WINDOWS_AT_ONCE * grain.step)
    looks = _feed(grain, start, closed, spent_in(grain, start, closed), Rules.stored())
    mark.through = closed
    mark.save(update_fields=["through"])
    for moment, found in sorted(looks.items()):
        incidents.apply(found, at=max(moment, at - LONGEST_STOP))
    return looks.get(closed, [])


def spent_in(grain: Grain, start: datetime, end: datetime, personas: list[str] | None = None) -> Amounts:
    found: dict[str, dict[datetime, Decimal]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(grain.statement, {"start": start, "end": end, "personas": personas})
        for persona, moment, amount in cursor.fetchall():
            found[persona][moment] = amount
    return found


def _feed(grain: Grain, start: datetime, end: datetime, amounts: Amounts, rules: Rules) -> dict[datetime, list[Look]]:
    """Move every detector to `end`; returns the looks at each window by the time it was closed."""
    SeriesState.objects.filter(grain=grain.name, through__lt=end - FORGOTTEN_AFTER).delete()
    states = {state.persona_id: state for state in SeriesState.objects.filter(grain=grain.name)}
    newcomers = sorted(set(amounts) - set(states))[: grain.newcomers]
    past = spent_in(grain, start - grain.learns_from, start, newcomers) if newcomers else {}
    open_keys = set(Anomaly.objects.open().filter(rule="learned").values_list("scope_key", flat=True))
    looks: dict[datetime, list[Look]] = defaultdict(list)
    moved = []
    for persona in [*states, *newcomers]:
        rule, spent = rules.of("learned", persona), amounts.get(persona, {})
        detector = _restored(grain, states.get(persona), past.get(persona, {}), start)
        for moment in windows(grain, start, end):
            amount = spent.get(moment, Decimal(0))
            reading = reading_of(grain, persona, moment, amount, detector)
            look = _look(rule, reading) if rule else Look("learned", DETECTORS["learned"], reading.scope, None)
            if look and (look.key[1] in open_keys or (look.judgement and look.judgement.severity)):
                open_keys.add(look.key[1])
                looks[moment + grain.step].append(look)
        # A persona that spends nothing for long is forgotten: only its spending moves the date.
        through = end if spent or persona not in states else states[persona].through
        moved.append(SeriesState(persona_id=persona, grain=grain.name, state=detector.state(), through=through))
    SeriesState.objects.bulk_create(
        sorted(moved, key=lambda state: state.persona_id),
        update_conflicts=True,
        unique_fields=["persona_id", "grain"],
        update_fields=["state", "through"],
    )
    return looks


def _restored(
    grain: Grain, state: SeriesState | None, past: Mapping[datetime, Decimal], start: datetime
) -> StreamingDetector:
    if state is not None:
        try:
            return StreamingDetector.restore(bytes(state.state))
        except ValueError:
            log.info("the %s series of %s learns anew: its state is of another version", grain.name, state.persona_id)
            past = spent_in(grain, start - grain.learns_from, start, [state.persona_id]).get(state.persona_id, {})
    detector = StreamingDetector(grain.step)
    if past:
        for moment in windows(grain, min(past), start):
            detector.update(moment, float(past.get(moment, Decimal(0))))
    return detector


def reading_of(
    grain: Grain, persona: str, moment: datetime, amount: Decimal, detector: StreamingDetector
) -> SeriesReading:
    score = detector.update(moment, float(amount))
    expected = detector.expected()
    return SeriesReading(
        persona,
        grain.name,
        amount=amount,
        expected=None if expected is None else Decimal(str(round(max(expected[0], 0.0), 6))),
        score=Decimal(str(round(score, 6))),
        away=detector.away,
        window=Window(moment, moment + grain.step),
    )


def _look(rule: Any, reading: SeriesReading) -> Look:
    return Look(
        "learned",
        rule,
        reading.scope,
        rule.inspect(reading),
        partial(_evidence, reading),
        reading,
    )


def _evidence(reading: SeriesReading) -> Mapping[str, Any]:
    return {**contributors.of_window(reading.persona_id, reading.window), "score": str(reading.score)}


def windows(grain: Grain, start: datetime, end: datetime) -> Iterator[datetime]:
    moment = start
    while moment < end:
        yield moment
        moment += grain.step
