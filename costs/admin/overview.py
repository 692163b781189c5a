"""The first page, the ledger's part: what was spent, what a post costs, and what waits for a person."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Min, Sum
from django.http import HttpRequest

from costs import schedule
from costs.admin import post_costs, spending
from costs.admin.search import with_adjustments
from costs.admin.spending import Period, Spending
from costs.attribution import Target
from costs.models import CostEvent, DailyCost, DeadLetter, InboxRow

# Enough to act on; counting further would only cost time.
COUNTED = 1_000
LISTED = 5
# A healthy drain empties the inbox within a second or two.
LONG_WAIT = timedelta(seconds=30)

Read = Callable[[], dict[str, Any]]


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
    """What runs by the clock: how many entries are late, never ran, or failed, and when the latest run ended."""

    late: int
    missing: int
    failed: int
    last: datetime | None

    @property
    def words(self) -> str:
        counts = {"overdue": self.late, "never ran": self.missing, "failing": self.failed}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "on time"


def wrong(request: HttpRequest, at: datetime) -> Iterator[Read]:
    """What of the ledger needs somebody, as far as this person may see it, one read at a time."""
    user = request.user
    if user.has_perm("costs.view_inboxrow"):
        yield lambda: {"waiting": _waiting(at)}
    if user.has_perm("costs.view_scheduledrun"):
        yield lambda: {"beat": _beat(at)}
    if user.has_perm("costs.view_deadletter"):
        yield lambda: {"dead_letters": _at_most(DeadLetter.objects.open())}
    if user.has_perm("costs.view_costevent"):
        yield _unpriced


def money(request: HttpRequest, period: Period, at: datetime, found: Mapping[str, Any]) -> Iterator[Read]:
    """What was spent and what a post costs, as far as this person may see it; `found` is what was read so far."""
    if request.user.has_perm("costs.view_costevent"):
        yield lambda: _spent(period)
        if "spending" in found:
            yield lambda: _per_post(period, at, found["spending"])


def _unpriced() -> dict[str, Any]:
    unpriced = CostEvent.objects.unpriced()
    return {
        "unpriced": _at_most(unpriced),
        "recent_unpriced": with_adjustments(list(unpriced.order_by("-id")[:LISTED])),
    }


def _spent(period: Period) -> dict[str, Any]:
    is_untouched = not DailyCost.objects.exists() and not InboxRow.objects.exists()
    return {"spending": spending.read(period), "is_untouched": is_untouched}


def _per_post(period: Period, at: datetime, spent: Spending) -> dict[str, Any]:
    target = Target.configured()
    posts = post_costs.read(period, at, spent.charges)
    mean = posts.today.mean if posts.today else None
    return {
        "posts": posts,
        "per_post": mean,
        "target": target,
        "alert_above": target.per_post * target.alert_multiplier,
        "per_post_is": _against(mean, target),
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
    runs, late = schedule.last_runs(), schedule.overdue(at)
    known = {entry.name for entry in schedule.entries()} & runs.keys()
    failed = sum(runs[name].has_failed for name in known - late.keys())
    last = max((run.ended_at for run in runs.values()), default=None)
    return Beat(len(late.keys() & known), len(late.keys() - known), failed, last)


def _at_most(rows: Any) -> str:
    found = len(rows.values_list("pk", flat=True)[: COUNTED + 1])
    return f"more than {COUNTED:,}" if found > COUNTED else f"{found:,}"
