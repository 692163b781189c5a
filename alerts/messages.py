"""From what is said to the rows that say it: which channels, which words, one by one or in a digest."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import connection, models

from alerts import digest
from alerts.channels.base import Event, Notice
from alerts.decide import FIRING_EVENTS, URGENT, Outlet, Path, Reason, Routing, Say, resolve, route
from alerts.models import Alert, AlertGroup, Channel, Delivery, Route, State
from alerts.models.deliveries import UNSENT
from alerts.signal import Severity


@dataclass(frozen=True, slots=True)
class Saying:
    """Something to say about a group. `told_from` is the message that first told the channels; None: none did yet."""

    group: AlertGroup
    say: Say
    told_from: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A reason to keep, and how often it applied."""

    group_id: int
    reason: Reason
    sentence: str
    count: int = 1
    fingerprint: str = ""

    @property
    def key(self) -> tuple[int, str]:
        return self.group_id, self.reason

    def added_to(self, other: "Note") -> "Note":
        return replace(self, count=self.count + other.count, fingerprint=self.fingerprint or other.fingerprint)


@dataclass(slots=True)
class Written:
    to_ring: list[int] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Directory:
    """What is needed to find the channels of many sayings."""

    channels: Mapping[str, Channel]
    outlets: Mapping[str, Outlet]
    paths: Sequence[Path]
    told: Mapping[int, Collection[str]]
    underway: Mapping[int, Collection[str]]


def write(sayings: Sequence[Saying], *, at: datetime) -> Written:
    """Write the deliveries of these; the groups are locked, and `sequence` of each is the number of this message.

    A group whose end drops all that was to be said of it forgets that it was; who calls saves the groups afterwards.
    """
    written = Written()
    if not sayings:
        return written
    dropped = _drop_what_is_over(sayings)
    directory, leads = _directory(sayings), _leads([saying.group.pk for saying in sayings])
    _forget_what_was_not_said(sayings, {note.group_id for note in dropped}, directory)
    written.notes += dropped
    deliveries = []
    for saying in sayings:
        names, notes = _addressees(saying, directory)
        written.notes += notes
        notice = _notice(saying, leads.get(saying.group.pk), at)
        place = {"group": saying.group, "sequence": saying.group.sequence}
        deliveries += [Delivery.of(notice, directory.channels[name].pk, at, **place) for name in names]
    # The most urgent are the last to be put into a digest and the first to be rung for.
    deliveries.sort(key=lambda delivery: -delivery.urgency)
    held = digest.hold_back(deliveries, {channel.pk: channel for channel in directory.channels.values()}, at=at)
    written.notes += [Note(delivery.group_id or 0, Reason.DIGESTED, digest.SENTENCE) for delivery in held]
    Delivery.objects.bulk_create(deliveries)
    Delivery.objects.let_pass([delivery for delivery in deliveries if delivery.urgency >= URGENT.rank], at)
    written.to_ring = [delivery.pk for delivery in deliveries if delivery.digest_id is None]
    return written


def _addressees(saying: Saying, directory: Directory) -> tuple[list[str], list[Note]]:
    routing = _routing(saying, directory)
    group_id = saying.group.pk
    notes = [Note(group_id, refusal.reason, refusal.sentence) for refusal in routing.refused]
    names = list(routing.channels)
    if saying.say.event is Event.REPEATED:
        waiting = directory.underway.get(group_id, ())
        notes += [
            Note(group_id, Reason.UNDERWAY, f"{name} has not got the last message yet.")
            for name in names
            if name in waiting
        ]
        names = [name for name in names if name not in waiting]
    return names, notes


def _routing(saying: Saying, directory: Directory) -> Routing:
    if saying.say.event in FIRING_EVENTS:
        incident = saying.group.incident()
        return route(incident, saying.say, directory.paths, directory.outlets)
    told = directory.told.get(saying.group.pk, ())
    if saying.say.event is Event.ACKNOWLEDGED:
        told = [name for name in told if directory.channels[name].keeps_incidents]
    # Who was told hears the end as well; when nobody was, there is nobody to miss it.
    return resolve(told, directory.outlets, is_urgent=False) if told else Routing((), ())


def _directory(sayings: Sequence[Saying]) -> Directory:
    channels = {channel.name: channel for channel in Channel.objects.select_related("fallback").order_by("pk")}
    # The channels believe that it fires, or will soon; and those that have not got the last message yet.
    told = {saying.group.pk: saying.told_from for saying in sayings if saying.say.event not in FIRING_EVENTS}
    repeated = {saying.group.pk: saying.told_from for saying in sayings if saying.say.event is Event.REPEATED}
    return Directory(
        channels,
        {name: channel.outlet() for name, channel in channels.items()},
        Route.objects.paths(),
        _told(told, (*UNSENT, State.SENT)),
        _told(repeated, UNSENT),
    )


TOLD = """
SELECT DISTINCT delivery.group_id, delivery.channel_id, channel.name
FROM unnest(%(groups)s::bigint[], %(since)s::int[]) AS told(group_id, since)
JOIN alerts_delivery AS delivery ON delivery.group_id = told.group_id AND delivery.sequence >= told.since
JOIN alerts_channel AS channel ON channel.id = delivery.channel_id
WHERE delivery.event = ANY(%(events)s) AND delivery.state = ANY(%(states)s)
ORDER BY delivery.group_id, delivery.channel_id
"""


def _told(groups: Mapping[int, int | None], states: Collection[str]) -> dict[int, list[str]]:
    """The channels of each group with a message in one of these states, since its given one, that it fires."""
    since = {group_id: sequence for group_id, sequence in groups.items() if sequence is not None}
    names: dict[int, list[str]] = defaultdict(list)
    if not since:
        return names
    parameters = {"groups": list(since), "since": list(since.values())}
    with connection.cursor() as cursor:
        cursor.execute(TOLD, parameters | {"events": list(FIRING_EVENTS), "states": list(states)})
        for group_id, _, name in cursor.fetchall():
            names[group_id].append(name)
    return names


OVER = """
WITH unsaid AS MATERIALIZED (
    SELECT mine.id
    FROM alerts_delivery AS mine
    JOIN unnest(%(groups)s::bigint[], %(since)s::int[]) AS told(group_id, since)
      ON mine.group_id = told.group_id AND mine.sequence >= told.since
    WHERE mine.state = 'pending' AND mine.attempts = 0
      AND NOT EXISTS (
          SELECT 1 FROM alerts_delivery AS other
          WHERE other.group_id = mine.group_id AND other.channel_id = mine.channel_id AND other.sequence >= told.since
            AND (other.state IN ('sending', 'sent') OR other.state = 'pending' AND other.attempts > 0)
      )
    -- What is locked is being sent just now.
    FOR UPDATE OF mine SKIP LOCKED
)
UPDATE alerts_delivery SET state = 'dropped', error = 'It was over before it was said.'
WHERE id IN (SELECT id FROM unsaid) RETURNING group_id
"""


def _drop_what_is_over(sayings: Sequence[Saying]) -> list[Note]:
    """What ended before a channel was told is not told there at all, neither the beginning nor the end.

    An urgent one is: people must hear that it happened. So is one that was tried: the receiver may have got it.
    """
    over = [
        saying
        for saying in sayings
        if saying.say.event is Event.RESOLVED
        and saying.told_from is not None
        and saying.say.severity.rank < URGENT.rank
    ]
    if not over:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            OVER,
            {"groups": [saying.group.pk for saying in over], "since": [saying.told_from for saying in over]},
        )
        dropped = cursor.fetchall()
    return [Note(group_id, Reason.SUPERSEDED, "It was over before it was said.") for (group_id,) in dropped]


def _forget_what_was_not_said(sayings: Iterable[Saying], dropped: Collection[int], directory: Directory) -> None:
    """Where all of it was dropped nothing was said: the next incident is the first, and not one that flaps."""
    for saying in sayings:
        group = saying.group
        if group.pk in dropped and not directory.told.get(group.pk):
            group.said_at, group.said_severity = None, ""


def _leads(group_ids: Iterable[int]) -> dict[int, Alert]:
    """Of each group the alert that stands for the others: what fires before what is over, the worst, the oldest."""
    worst = models.Case(*(models.When(severity=each, then=each.rank) for each in Severity), default=0)
    # "firing" comes before "resolved".
    order = ("group_id", "status", worst.desc(), "started_at", "pk")
    chosen = Alert.objects.filter(group_id__in=list(group_ids)).order_by(*order).distinct("group_id")
    return {alert.group_id: alert for alert in chosen}


def _notice(saying: Saying, lead: Alert | None, at: datetime) -> Notice:
    group = saying.group
    return Notice(
        event=saying.say.event,
        dedup_key=group.dedup_key,
        rule=group.rule,
        severity=saying.say.severity,
        persona_id=group.persona_id,
        title=lead.title if lead else str(group),
        at=at,
        facts=lead.facts if lead else {},
        url=lead.url if lead else "",
        others=max((group.firing or group.total) - 1, 0),
    )
