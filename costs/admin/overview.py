"""The first page: today in four figures, and what needs a person."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Min, Sum
from django.http import HttpRequest
from django.utils.timezone import now

from costs.admin.search import PAGE_MILLISECONDS, TooSlow, with_adjustments, within
from costs.models import CostEvent, DailyCost, DeadLetter, InboxRow

# Enough to act on; counting further would only cost time.
COUNTED = 1_000
LISTED = 10


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For Unfold's DASHBOARD_CALLBACK."""
    if not request.user.has_perm("costs.view_costevent"):
        return context
    try:
        with within(PAGE_MILLISECONDS):
            return {**context, **_figures()}
    except TooSlow:
        return {**context, "too_slow": True}


def _figures() -> dict[str, Any]:
    today = now().date()
    unpriced = CostEvent.objects.unpriced()
    waiting = InboxRow.objects.aggregate(events=Sum("event_count", default=0), since=Min("received_at"))
    return {
        "today": _spent(today, today),
        "week": _spent(today - timedelta(days=6), today),
        "unpriced": _at_most(unpriced),
        "recent_unpriced": with_adjustments(list(unpriced.order_by("-id")[:LISTED])),
        "dead_letters": _at_most(DeadLetter.objects.filter(replayed_at=None)),
        "waiting": waiting,
    }


def _spent(first: Any, last: Any) -> Decimal:
    total: Decimal = DailyCost.objects.filter(day__range=(first, last)).aggregate(
        total=Sum("amount", default=Decimal(0))
    )["total"]
    return total


def _at_most(rows: Any) -> str:
    found = len(rows.values_list("pk", flat=True)[: COUNTED + 1])
    return f"more than {COUNTED:,}" if found > COUNTED else f"{found:,}"
