"""Say one message: claim the row, send without holding anything, write down how it ended.

What is temporary is tried again, later each time, for a day; meanwhile the channel rests, and one message at a time
finds out whether its receiver is back. What is permanent goes to the channel's fallback. A channel that can never work
again is switched off, and what waits for it goes to its fallback too.
"""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from alerts import digest, doorbell
from alerts.channels.base import Event, Notice, TransportError
from alerts.decide import URGENT, resolve
from alerts.fire import fire
from alerts.models import Channel, Delivery, State
from alerts.models.deliveries import LEASE, UNSENT, stored
from alerts.signal import Severity, Signal, Status

log = logging.getLogger(__name__)

BACK_OFF = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 120, 300, 600, 900))
# A share of each wait that differs from row to row, so that a thousand that failed together do not return together.
JITTER = 0.2
LONGEST_ERROR = 500


def attempt(delivery_id: int, *, at: datetime) -> State | None:
    """Try once to say it; returns how it stands then, or None when it was not to be tried now."""
    delivery = Delivery.objects.claim(delivery_id, at)
    if delivery is None:
        return None
    started, notice = time.monotonic(), None
    try:
        notice = _composed(delivery)
        if notice is None:
            delivery.mark(State.DROPPED, error="All of it was over before its minute was.")
            return State.DROPPED
        if delivery.attempts > 1 and delivery.gives_up_at <= at:
            raise TransportError(delivery.error or "Whoever tried it came to no end.", permanent=True)
        receipt = _send(delivery.channel, notice)
    except TransportError as error:
        # A receiver that hangs may have taken longer than the whole back-off.
        return _failed(delivery, notice, error, at + timedelta(seconds=int(time.monotonic() - started)))
    delivery.channel.worked()
    delivery.mark(State.SENT, sent_at=at, receipt=receipt, error="", stored_notice=stored(notice))
    delivery.members.filter(state=State.SENDING).update(state=State.SENT, sent_at=at, receipt=receipt)
    ids = {"delivery_id": delivery.pk, "channel": delivery.channel.name}
    log.info("delivered: %s", delivery.event, extra=ids)
    return State.SENT


def work_off(delivery_id: int, *, at: datetime, seconds: float) -> int:
    """Attempt it and, while the time lasts, what else is due on its channel; returns how many were tried.

    The doorbells of the others were refused while this one was being sent. It may be refused itself, because an
    earlier one of its incident must go first.
    """
    started, tried = time.monotonic(), 0
    channel_id = Delivery.objects.values_list("channel_id", flat=True).get(pk=delivery_id)
    following: int | None = delivery_id
    while following is not None and time.monotonic() - started < seconds:
        moment = at + timedelta(seconds=time.monotonic() - started)
        tried += attempt(following, at=moment) is not None
        following = Delivery.objects.due(moment).filter(channel_id=channel_id).values_list("pk", flat=True).first()
    return tried


def attempt_due(*, at: datetime, most: int = 100) -> int:
    """Attempt what is due here and now, without a worker; returns how many were tried."""
    due = Delivery.objects.due(at).values_list("pk", flat=True)[:most]
    return sum(attempt(delivery_id, at=at) is not None for delivery_id in due)


def send_test(channel: Channel, *, at: datetime) -> str:
    """Say a test through the channel now and keep it as a delivery; the receipt. Raises TransportError."""
    title = f"A test of the channel {channel.name}: nothing is wrong."
    notice = Notice(Event.TEST, f"test-{channel.name}-{at.isoformat()}", "test", Severity.LOW, "", title, at)
    delivery = Delivery.of(notice, channel.pk, at, state=State.SENDING, attempts=1, lease_until=at + LEASE)
    delivery.save()
    try:
        receipt = _send(channel, notice)
    except TransportError as error:
        delivery.mark(State.DEAD, error=_sentence(error))
        raise
    channel.worked()
    delivery.mark(State.SENT, sent_at=at, receipt=receipt)
    return receipt


def _composed(delivery: Delivery) -> Notice | None:
    with _guarded(f"the message {delivery.pk}", "the message"):
        return digest.compose(delivery) if delivery.event == Event.DIGEST else delivery.notice


def _send(channel: Channel, notice: Notice) -> str:
    unusable = channel.outlet()
    if unusable.unusable:
        raise TransportError(unusable.sentence, permanent=True)
    with _guarded(f"the transport of {channel.name}", "the transport"):
        return channel.transport.send(notice, channel.all_settings())


@contextmanager
def _guarded(whose: str, place: str) -> Iterator[None]:
    """What breaks down in here is tried again for a day: the next release may have mended it."""
    try:
        yield
    except TransportError:
        raise
    except Exception as error:
        # A fault of ours, or the task's time is up. Its text may quote an address or a key: only its kind is told.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s failed: %s", whose, type(error).__name__, extra={"exception": where})
        raise TransportError(f"{type(error).__name__} in {place}", permanent=False) from None


def _failed(delivery: Delivery, notice: Notice | None, error: TransportError, at: datetime) -> State:
    """Write down that it was not said. Without a notice the message itself is broken, and no receiver to blame."""
    channel, sentence = delivery.channel, _sentence(error)
    ids = {"delivery_id": delivery.pk, "channel": channel.name}
    log.warning("%s %d did not reach %s: %s", delivery.event, delivery.pk, channel.name, sentence, extra=ids)
    if error.permanent or delivery.gives_up_at <= at:
        _give_up(delivery, notice, sentence, at)
        if error.channel_broken:
            switch_off(channel, sentence, at=at)
        return State.DEAD
    if error.retry_after:
        channel.pause(at + error.retry_after)
    elif notice:
        channel.failed(at)
    delivery.mark(
        State.PENDING, due_at=at + back_off(delivery.attempts, delivery.pk, error.retry_after), error=sentence
    )
    return State.PENDING


def _sentence(error: TransportError) -> str:
    return str(error)[:LONGEST_ERROR]


def back_off(attempts: int, row: int, retry_after: timedelta | None = None) -> timedelta:
    """How long to wait after so many attempts; never shorter than the receiver asked for."""
    wait = retry_after or BACK_OFF[min(attempts, len(BACK_OFF)) - 1]
    spread = row * 2_654_435_761 % 1_000 / 1_000
    return wait * (1 + JITTER * spread)


def _give_up(delivery: Delivery, notice: Notice | None, reason: str, at: datetime) -> None:
    """Mark it dead and give it to the channel's fallback, which may have been told the same already."""
    kept = {"stored_notice": stored(notice)} if notice else {}
    with transaction.atomic():
        if not delivery.mark(State.DEAD, error=reason, **kept):
            return
        # A digest is composed anew there, of those that were not told the same already.
        stand_ins = _pass_on(delivery, at) if notice else _bury(delivery)
        doorbell.ring(stand_in.pk for stand_in in stand_ins)


def _bury(delivery: Delivery) -> list[Delivery]:
    _pass_members_on(delivery, None)
    return []


def _pass_on(delivery: Delivery, at: datetime) -> list[Delivery]:
    if delivery.group_id is None and delivery.stands_in_for_id:
        # One change of channel is enough for a digest: between two that are broken it would go round for ever.
        return _bury(delivery)
    notice = delivery.notice
    channels = Channel.objects.filter(name__in=_fallbacks(delivery))
    key = f"{delivery.key} instead" if delivery.key else None
    place = {"group_id": delivery.group_id, "sequence": delivery.sequence, "key": key, "stands_in_for": delivery}
    rows = [Delivery.of(notice, channel.pk, at, **place) for channel in channels]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    made = list(Delivery.objects.filter(stands_in_for=delivery))
    _pass_members_on(delivery, made[0] if made else None)
    return made


def _fallbacks(delivery: Delivery) -> tuple[str, ...]:
    own = delivery.channel
    others = {name: outlet for name, outlet in Channel.objects.outlets().items() if name != own.name}
    wanted = [own.fallback.name] if own.fallback else []
    return resolve(wanted, others, is_urgent=delivery.urgency >= URGENT.rank).channels


def _pass_members_on(digest_row: Delivery, stand_in: Delivery | None) -> None:
    members = digest_row.members.filter(state__in=UNSENT)
    if stand_in:
        told_there = Delivery.objects.filter(
            channel=stand_in.channel_id, group=OuterRef("group"), sequence=OuterRef("sequence")
        )
        movable = members.exclude(Exists(told_there))
        movable.update(digest=stand_in, channel=stand_in.channel_id, state=State.PENDING)
    members.update(state=State.DEAD, error=digest_row.error)


def switch_off(channel: Channel, reason: str, *, at: datetime) -> None:
    """Use it no more until a person mends it; what waits for it finds that out now and goes to its fallback."""
    with transaction.atomic():
        if not channel.switch_off(reason, at):
            return
        Delivery.objects.filter(channel=channel, state=State.PENDING, digest=None).update(due_at=at)
        log.error("the channel %s is switched off: %s", channel.name, reason)
        fire(_broken(channel, Status.FIRING, {"reason": reason}), at=at)


def switch_on(channel: Channel, *, at: datetime) -> None:
    """A person has mended it."""
    with transaction.atomic():
        channel.switch_on()
        fire(_broken(channel, Status.RESOLVED, {}), at=at)


def _broken(channel: Channel, status: Status, facts: dict[str, str]) -> Signal:
    # Medium: its messages go elsewhere, so nobody needs to get up at night for it.
    return Signal(
        fingerprint=f"channel-broken-{channel.pk}",
        rule="channel_broken",
        scope={"channel": channel.name},
        severity=Severity.MEDIUM,
        status=status,
        title=f"The alert channel {channel.name} is broken and switched off",
        facts=facts,
    )
