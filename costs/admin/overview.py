"""The first page, the ledger's part: what was spent, what a post costs, and what waits for a person."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Min, Sum
from django.http import HttpRequest

from costs import schedule
from costs.admin import post_costs, spending
from costs.admin.search import PAGE_MILLISECONDS, TooSlow, with_adjustments, within
from costs.admin.spending import Period
from costs.attribution import Target
from costs.models import CostEvent, DailyCost, DeadLetter, InboxRow

# Enough to act on; counting further would only cost time.
COUNTED = 1_000
LISTED = 5
# A healthy drain empties the inbox within a second or two.
LONG_WAIT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events that are accepted and not booked yet, and since when the oldest is."""

    events: int
    since: datetime | None
    at: datetime

    @property
    def is_too_long(self) -> bool:
        return self.since is not None and self.at - self.since > LONG_WAIT


@dataclass(frozen=True, slots=True)
class Beat:
    """What runs by the clock: how many entries are late, and when the latest of all came to its end."""

    late: int
    last: datetime | None


def figures(request: HttpRequest, period: Period, at: datetime) -> dict[str, Any]:
    """What this person may see of the ledger; of what takes too long, nothing but that."""
    user = request.user
    found: dict[str, Any] = {}
    try:
        with within(PAGE_MILLISECONDS):
            if user.has_perm("costs.view_costevent"):
                found |= _money(period, at)
            if user.has_perm("costs.view_deadletter"):
                found["dead_letters"] = _at_most(DeadLetter.objects.filter(replayed_at=None))
            if user.has_perm("costs.view_inboxrow"):
                found["waiting"] = _waiting(at)
            if user.has_perm("costs.view_scheduledrun"):
                found["beat"] = _beat(at)
    except TooSlow:
        return {"too_slow": True}
    return found


def _money(period: Period, at: datetime) -> dict[str, Any]:
    unpriced = CostEvent.objects.unpriced()
    target = Target.configured()
    spent = spending.read(period)
    posts = post_costs.read(period, at, spent.charges)
    return {
        "spending": spent,
        "posts": posts,
        "per_post": posts.today.mean,
        "target": target,
        "alert_above": target.per_post * target.alert_multiplier,
        "per_post_is": _against(posts.today.mean, target),
        "unpriced": _at_most(unpriced),
        "recent_unpriced": with_adjustments(list(unpriced.order_by("-id")[:LISTED])),
        "is_untouched": not DailyCost.objects.exists() and not InboxRow.objects.exists(),
    }


def _against(mean: Decimal | None, target: Target) -> tuple[str, str]:
    """Words and the class of their badge."""
    if mean is None:
        return "", ""
    if target.is_exceeded(mean):
        return "above the alert threshold", "danger"
    return ("above the target", "warning") if mean > target.per_post else ("within the target", "success")


def _waiting(at: datetime) -> Waiting:
    row = InboxRow.objects.aggregate(events=Sum("event_count", default=0), since=Min("received_at"))
    return Waiting(row["events"], row["since"], at)


def _beat(at: datetime) -> Beat:
    runs = schedule.last_runs()
    known = [entry for entry in schedule.entries() if entry.name in runs]
    late = sum(entry.overdue(runs[entry.name], at) is not None for entry in known)
    return Beat(late, max((run.ended_at for run in runs.values()), default=None))


def _at_most(rows: Any) -> str:
    found = len(rows.values_list("pk", flat=True)[: COUNTED + 1])
    return f"more than {COUNTED:,}" if found > COUNTED else f"{found:,}"
