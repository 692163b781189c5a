"""Many messages as one: what a channel cannot take in a minute, and what happened in a day."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import connection, models, transaction

from alerts import doorbell
from alerts.channels.base import Event, Notice
from alerts.decide import URGENT, resolve
from alerts.models import AlertGroup, Channel, Decision, Delivery, Route, State
from alerts.models.deliveries import GIVE_UP_AFTER, UNSENT, as_json, stored
from alerts.signal import Severity

# A channel gets so many in a minute one by one; a person reads no more, and Slack takes one a second.
MOST_PER_MINUTE = 10
MINUTE = timedelta(minutes=1)
MOST_LINES = 50
SENTENCE = "Too many messages in one minute: this one becomes a line of a digest."
DAY = timedelta(days=1)
TOP = 10


def hold_back(deliveries: Sequence[Delivery], channels: Mapping[int, Channel], *, at: datetime) -> list[Delivery]:
    """Put what is above the rate into its channel's digest of this minute; returns those. The urgent never wait.

    Sorted by urgency, not saved yet. A receiver that keeps incidents gets each message: it must be closed there too.
    """
    minute = at.replace(second=0, microsecond=0)
    sent = _sent_in(minute, {delivery.channel_id for delivery in deliveries})
    held = []
    for delivery in deliveries:
        can_wait = delivery.urgency < URGENT.rank and not channels[delivery.channel_id].keeps_incidents
        if can_wait and sent[delivery.channel_id] >= MOST_PER_MINUTE:
            held.append(delivery)
        else:
            sent[delivery.channel_id] += 1
    digests = {channel_id: _digest_of(channel_id, minute, at) for channel_id in {each.channel_id for each in held}}
    for delivery in held:
        delivery.digest_id, delivery.due_at = digests[delivery.channel_id]
    return held


def _sent_in(minute: datetime, channel_ids: Iterable[int]) -> Counter[int]:
    said = Delivery.objects.filter(
        channel_id__in=list(channel_ids), created_at__gte=minute, created_at__lt=minute + MINUTE, digest=None
    ).exclude(state=State.DROPPED)
    counted = said.values_list("channel_id").annotate(models.Count("pk")).order_by()
    return Counter(dict(counted))


OPEN_DIGEST = """
INSERT INTO alerts_delivery
    (channel_id, key, event, urgency, stored_notice, state, attempts, sequence, created_at, due_at, gives_up_at,
     receipt, error)
VALUES (%(channel)s, %(key)s, 'digest', 0, %(notice)s::jsonb, 'pending', 0, 0, %(at)s, %(due_at)s, %(gives_up_at)s,
        '', '')
ON CONFLICT (key) DO UPDATE SET state = 'pending' WHERE alerts_delivery.state = 'pending'
RETURNING id
"""


def _digest_of(channel_id: int, minute: datetime, at: datetime) -> tuple[int, datetime]:
    """The digest of this minute and when it is due. It cannot be claimed before this transaction ends.

    Who comes late, when it is sent already, takes the next one.
    """
    while True:
        ends = minute + MINUTE
        key = f"digest {channel_id} {minute.isoformat()}"
        notice = Notice(Event.DIGEST, key, "", Severity.LOW, "", "", ends)
        with connection.cursor() as cursor:
            cursor.execute(
                OPEN_DIGEST,
                {
                    "channel": channel_id,
                    "key": key,
                    "notice": as_json(stored(notice)),
                    "at": at,
                    "due_at": ends,
                    "gives_up_at": at + GIVE_UP_AFTER,
                },
            )
            row = cursor.fetchone()
        if row:
            return row[0], ends
        minute = ends


def compose(delivery: Delivery) -> Notice | None:
    """What a claimed digest says; None when all of it was over before its minute was.

    What becomes a line counts as tried: the receiver may get it, so its end will be said.
    """
    if delivery.notice.lines:
        return delivery.notice
    taken = delivery.members.filter(state__in=UNSENT)
    taken.update(state=State.SENDING, attempts=models.F("attempts") + 1)
    members = [member.notice for member in taken.order_by("-urgency", "pk")]
    if not members:
        return None
    lines = [_line(member) for member in members[:MOST_LINES]]
    if len(members) > MOST_LINES:
        lines.append(f"… and {len(members) - MOST_LINES} more.")
    title = f"{len(members)} more messages in one minute"
    return replace(delivery.notice, title=title, severity=members[0].severity, lines=tuple(lines))


def _line(notice: Notice) -> str:
    about = f" ({notice.persona_id})" if notice.persona_id and notice.persona_id not in notice.title else ""
    more = f", and {notice.others} of the same kind" if notice.others else ""
    return f"{notice.event.capitalize()}, {notice.severity}: {notice.title}{about}{more}"


def send_daily(*, at: datetime) -> int:
    """Write the day's digest to where the low ones go, once a day, if there is something to say; returns how many."""
    title, lines = _day(at)
    if not lines:
        return 0
    day = at.strftime("%Y-%m-%d")
    notice = Notice(Event.DIGEST, f"daily {day}", "", Severity.LOW, "", title, at, lines=tuple(lines))
    low = [path for path in Route.objects.filter(persona_id="", rule="").paths() if path.severity is Severity.LOW]
    outlets = Channel.objects.outlets()
    names = resolve([name for path in low for name in path.channels], outlets, is_urgent=False).channels
    with transaction.atomic():
        channels = Channel.objects.filter(name__in=names).order_by("pk")
        rows = [Delivery.of(notice, channel.pk, at, key=f"daily {channel.pk} {day}") for channel in channels]
        Delivery.objects.bulk_create(rows, ignore_conflicts=True)
        written = list(Delivery.objects.filter(key__in=[row.key for row in rows], created_at=at))
        doorbell.ring(delivery.pk for delivery in written)
    return len(written)


def _day(at: datetime) -> tuple[str, list[str]]:
    since = at - DAY
    open_groups = AlertGroup.objects.open().filter(total__gt=0)
    opened = AlertGroup.objects.filter(opened_at__gt=since, opened_at__lte=at, total__gt=0).count()
    resolved = AlertGroup.objects.filter(resolved_at__gt=since, resolved_at__lte=at, total__gt=0).count()
    unsaid = Decision.objects.filter(last_at__gt=since, last_at__lte=at)
    kept = unsaid.values_list("reason").annotate(models.Count("pk")).order_by("reason")
    dead = Delivery.objects.dead().filter(created_at__gt=since).count()
    if not (open_groups.exists() or opened or resolved or kept or dead):
        return "", []
    lines = [_group_line(group, at) for group in _worst(open_groups)[:TOP]]
    if (further := open_groups.count() - TOP) > 0:
        lines.append(f"… and {further} more that are open.")
    if kept:
        lines.append("Not said in 24 hours: " + ", ".join(f"{reason} in {count}" for reason, count in kept) + ".")
    if dead:
        lines.append(f"Could not be delivered in 24 hours: {dead}.")
    return f"{open_groups.count()} open, {opened} opened and {resolved} resolved in 24 hours", lines or ["All is well."]


def _worst(groups: models.QuerySet[AlertGroup]) -> models.QuerySet[AlertGroup]:
    rank = models.Case(*(models.When(severity=each, then=each.rank) for each in Severity), default=0)
    return groups.order_by(rank.desc(), "opened_at", "pk")


def _group_line(group: AlertGroup, at: datetime) -> str:
    hours = (at - group.opened_at) / timedelta(hours=1)
    taken = f", taken by {group.acknowledged_by}" if group.acknowledged_by else ""
    alerts = f", {group.firing} alerts" if group.firing > 1 else ""
    about = group.persona_id or "all personas"
    return f"Open, {group.severity}: {group.rule} of {about} for {hours:.1f} hours{alerts}{taken}"
