"""Posts: which ones cost what lately, and for one of them every line with its price."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from costs import attribution
from costs.admin.base import page
from costs.admin.plots import Column, Kind, Plot, Row
from costs.admin.post_costs import levels, touched_on
from costs.admin.search import PAGE_MILLISECONDS, TooSlow, posts_beginning_with, within
from costs.attribution import Target, rating_of
from costs.models import CostEvent, Evidence, PostCost
from costs.pricing import Price
from costs.snapshot import one_snapshot
from costs.templatetags.ledger import second

# The list of posts is made from the newest lines: no table holds posts by time or by cost.
LINES_LOOKED_AT = 2_000
LINES_SHOWN = 200
POSTS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Step:
    """A charge with its price and what corrected it later."""

    line: CostEvent
    price: Price | None
    adjustments: list[CostEvent]

    @property
    def amount(self) -> Decimal | None:
        """What the charge costs today; None while it is unpriced."""
        known = [entry.cost_amount for entry in (self.line, *self.adjustments) if entry.cost_amount is not None]
        return sum(known, Decimal(0)) if known else None


@dataclass(frozen=True, slots=True)
class PostTotals:
    """A post's counters, added up."""

    post_id: str
    amount: Decimal
    adjustments: Decimal
    charges: int
    unpriced: int
    deviating: int
    last_at: datetime

    @property
    def is_over_target(self) -> bool:
        return self.amount > settings.FINOPS_COST_THRESHOLD_PER_POST

    @classmethod
    def of(cls, post_ids: list[str]) -> list[Self]:
        rows = PostCost.objects.filter(post_id__in=post_ids).values("post_id")
        return [
            cls(**row)
            for row in rows.annotate(
                amount=Sum("amount"),
                adjustments=Sum("adjustments"),
                charges=Sum("events"),
                unpriced=Sum("unpriced"),
                deviating=Sum("deviating"),
                last_at=Max("last_at"),
            )
        ]


def recent_posts(request: HttpRequest) -> HttpResponse:
    _require_view(request)
    q = request.GET.get("q", "").strip().replace("\x00", "")
    day = _day(request.GET.get("day", ""))
    order = "latest" if request.GET.get("order") == "latest" else "dearest"
    try:
        with within(PAGE_MILLISECONDS):
            found = PostTotals.of(_posts_of(q, day))
    except TooSlow:
        found = None
    if found:
        found.sort(key=lambda post: post.last_at if order == "latest" else post.amount, reverse=True)
    return page(
        request,
        "costs/admin/posts.html",
        title="Posts",
        posts=found and found[:POSTS_SHOWN],
        posts_found=len(found or ()),
        q=q,
        day=day,
        order=order,
        lines_looked_at=LINES_LOOKED_AT,
        target=settings.FINOPS_COST_THRESHOLD_PER_POST,
    )


def one_post(request: HttpRequest) -> HttpResponse:
    _require_view(request)
    post_id = request.GET.get("id", "")
    with one_snapshot():
        read = _read(post_id)
    if read is None:
        return page(request, "costs/admin/post_unknown.html", title="Unknown post", status=404, post_id=post_id)
    target = Target.configured()
    return page(
        request,
        "costs/admin/post.html",
        title=f"Post {post_id}",
        post_id=post_id,
        target=target.per_post,
        rating=rating_of(read["found"]["total_cost"], target.per_post),
        plot=cumulated(read["steps"], read["found"]["total_cost"], target),
        lines_shown=LINES_SHOWN,
        **read,
    )


def _read(post_id: str) -> dict[str, Any] | None:
    """All that the page of a post shows of the ledger; None when no event of it was ever accepted."""
    found = attribution.post_breakdown(post_id)
    if found is None:
        return None
    return {
        "found": found,
        "totals": next(iter(PostTotals.of([post_id])), None),
        "by_type": list(PostCost.objects.filter(post_id=post_id).order_by("-amount", "cost_type", "persona_id")),
        "evidence": [(Evidence(kind).label, sums) for kind, sums in found["evidence"].items() if sums["events"]],
        "steps": steps_of(post_id),
    }


def steps_of(post_id: str) -> list[Step]:
    """The newest charges in the order of time, each with its adjustments right beneath it."""
    charges = CostEvent.objects.for_post(post_id).charges().order_by("-timestamp", "-id")[:LINES_SHOWN]
    lines = list(charges.prefetch_related("price_sheet"))[::-1]
    later: dict[int, list[CostEvent]] = {}
    for entry in CostEvent.objects.filter(adjusts__in=[line.pk for line in lines]).order_by("created_at", "id"):
        later.setdefault(entry.adjusts or 0, []).append(entry)
    return [Step(line, line.explained(), later.get(line.pk, [])) for line in lines]


def cumulated(steps: list[Step], total: Decimal, target: Target) -> Plot:
    """What the post had cost after each charge, each at its price of today, so that the last step is the total."""
    so_far = total - sum((step.amount or Decimal(0) for step in steps), Decimal(0))
    rows = []
    for step in steps:
        so_far += step.amount or Decimal(0)
        rows.append(_row(step, so_far))
    return Plot(
        "cumulated",
        "What it had cost, charge by charge",
        Kind.STEPS,
        "Time (UTC)",
        (Column("Cost so far"),),
        tuple(rows),
        levels=levels(target),
    )


def _row(step: Step, so_far: Decimal) -> Row:
    line = step.line
    what = line.model or line.cost_type if step.amount is not None else "without a price"
    url = reverse("admin:costs_costevent_change", args=[line.pk])
    return Row(second(line.timestamp), (so_far,), url, at=line.timestamp, note=what)


def _posts_of(q: str, day: date | None) -> list[str]:
    if q:
        return posts_beginning_with(q)
    return touched_on(day) if day else _latest_posts()


def _day(text: str) -> date | None:
    """None for what is no day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _latest_posts() -> list[str]:
    lines = CostEvent.objects.order_by("-timestamp").values_list("post_id", flat=True)[:LINES_LOOKED_AT]
    return list(dict.fromkeys(post_id for post_id in lines if post_id))


def _require_view(request: HttpRequest) -> None:
    if not request.user.has_perm("costs.view_costevent"):
        raise PermissionDenied
