"""What is still known of an event whose line is in the file of an archived month."""

from costs.models import DEFAULT_SOURCE, ApiKey, ArchivedPartition, DeadLetter, EventKey, InboxRow


class Archived(Exception):
    """The line of this event is in the file of an archived month."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"The line of event {event_id!r} is archived: its month is in a file, and manage.py restore_archive"
            " brings it back. The totals still count it."
        )


def is_archived(event_id: str, source: str | None) -> bool:
    """Accepted once, and neither booked here nor waiting: only archived lines leave the ledger."""
    sources = {DEFAULT_SOURCE} if source is None else {source}
    months = list(ArchivedPartition.objects.values_list("sources", flat=True))
    if source is None:
        sources |= {name for names in months for name in names} | set(ApiKey.objects.values_list("source", flat=True))
    # Keys are found by both of their parts.
    if not months or not EventKey.objects.filter(source__in=sources, event_id=event_id).exists():
        return False
    waits = InboxRow.objects.filter(source__in=sources, payload__contains=event_id).exists()
    return not (waits or DeadLetter.objects.filter(event_id=event_id, replayed_at=None).exists())
