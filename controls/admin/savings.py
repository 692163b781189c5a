"""Savings: what the controls did for whom, with the calls behind each figure, and what more could be saved."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.timezone import now

from controls.models import ControlTransition, Hold, Refusal
from controls.recommendations import recommendations
from controls.savings import KINDS, OBSERVED, savings
from controls.switches import stored
from costs.admin.base import ModelAdmin, page
from costs.admin.search import PAGE_MILLISECONDS, TooSlow, within
from costs.periods import DAY, InvalidQuery, Span, parse_period, parse_zone
from costs.prices import current_book

DAYS = 30
CALLS_SHOWN = 200
RECOMMENDED = 20
PERMISSION = "controls.view_hold"
# What the specification says that controls brought; history with controls against history without has to show it.
SPECIFIED_PERCENT, SPECIFIED_A_MONTH = Decimal(15), Decimal(3000)
STEPS = "steps"
TITLES: Mapping[str, str] = {
    "switched": "Calls that were switched to a cheaper model",
    "throttled": "Calls that were throttled",
    "denied": "Calls that were denied",
    "throttle": "Calls that would have been throttled",
    "switch": "Calls that would have been switched",
    "deny": "Calls that would have been denied",
    STEPS: "Steps that the breaker would have taken",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One row behind a figure; None: an amount that is not known, or means nothing here."""

    url: str
    at: datetime
    persona_id: str
    operation: str
    about: str
    state: str
    would_have_cost: Decimal | None = None
    cost: Decimal | None = None

    @property
    def saved(self) -> Decimal | None:
        if self.would_have_cost is None or self.cost is None:
            return None
        return self.would_have_cost - self.cost


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page was asked for: days of UTC, and one persona ('': none) or all (None)."""

    start_date: str
    end_date: str
    persona_id: str | None

    @classmethod
    def of(cls, request: HttpRequest) -> "Asked":
        today = now().astimezone(UTC).date()
        persona = request.GET.get("persona_id")
        return cls(
            request.GET.get("start_date") or (today - (DAYS - 1) * DAY).isoformat(),
            request.GET.get("end_date") or today.isoformat(),
            None if persona is None else persona.replace("\x00", "").strip(),
        )

    @property
    def period(self) -> Span:
        """Raises InvalidQuery."""
        return parse_period(self.start_date, self.end_date, parse_zone("UTC"))


class SavingsPages(ModelAdmin):
    """Adds the pages to the model admin that takes them in."""

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path("savings/", wrap(overview), name="controls_savings_changelist"),
            path("savings/calls/", wrap(calls), name="controls_savings_calls"),
        ]
        return ours + super().get_urls()


def overview(request: HttpRequest) -> HttpResponse:
    _require_view(request)
    asked, at = Asked.of(request), now()
    try:
        figures = _figures(asked, at)
    except InvalidQuery as error:
        figures = {"error": str(error)}
    except TooSlow:
        figures = {"error": "Adding this up takes too long. Ask for fewer days, or for one persona."}
    return page(
        request,
        "controls/admin/savings.html",
        title="Savings",
        asked=asked,
        titles=TITLES,
        specified={"percent": SPECIFIED_PERCENT, "a_month": SPECIFIED_A_MONTH},
        days=DAYS,
        **figures,
    )


def calls(request: HttpRequest) -> HttpResponse:
    _require_view(request)
    asked, kind = Asked.of(request), request.GET.get("kind", "")
    if kind not in TITLES:
        kind = KINDS[0]
    try:
        with within(PAGE_MILLISECONDS):
            context: dict[str, Any] = {"calls": list(calls_behind(kind, asked.period, asked.persona_id))}
    except InvalidQuery as error:
        context = {"error": str(error)}
    except TooSlow:
        context = {"error": "Finding these calls takes too long. Ask for fewer days, or for one persona."}
    return page(
        request,
        "controls/admin/saved_calls.html",
        title=TITLES[kind],
        asked=asked,
        kind=kind,
        most=CALLS_SHOWN,
        has_amounts=kind != STEPS,
        **context,
    )


def calls_behind(kind: str, period: Span, persona_id: str | None) -> Iterator[Call]:
    """The latest rows that the figure of this kind adds up, the latest first."""
    found, field, shown = _ROWS[kind]
    rows = found().filter(**{f"{field}__gte": period.start, f"{field}__lt": period.end})
    if persona_id is not None:
        rows = rows.filter(persona_id=persona_id)
    return (shown(row) for row in rows.order_by(f"-{field}")[:CALLS_SHOWN])


def _figures(asked: Asked, at: datetime) -> dict[str, Any]:
    prices, lists = current_book(), stored(at)
    with within(PAGE_MILLISECONDS):
        found = savings(
            start_date=asked.start_date,
            end_date=asked.end_date,
            persona_id=asked.persona_id or None,
            group_by="persona_id",
            at=at,
            prices=prices,
            lists=lists,
        )
    return {"found": found, **_recommended(asked, at)}


def _recommended(asked: Asked, at: datetime) -> dict[str, Any]:
    """Of the last days, whatever the period; the page is worth reading without it."""
    try:
        with within(PAGE_MILLISECONDS):
            found = recommendations(
                at=at, prices=current_book(), lists=stored(at), days=DAYS, persona_id=asked.persona_id or None
            )
    except TooSlow:
        return {"recommended_too_slow": True}
    return {"recommended": found, "shown": found["recommendations"][:RECOMMENDED]}


def _took_place() -> Any:
    return Hold.objects.filter(state__in=[Hold.State.SETTLED, Hold.State.OPEN, Hold.State.UNPRICED])


def _observed(decision: str) -> Callable[[], Any]:
    return lambda: _took_place().filter(observed=decision)


def _refused(decision: str) -> Callable[[], Any]:
    return lambda: Refusal.objects.filter(decision=decision)


def _of_switched(hold: Hold) -> Call:
    is_settled = hold.state == Hold.State.SETTLED
    return Call(
        _url(hold),
        hold.created_at,
        hold.persona_id,
        hold.operation,
        f"{hold.asked_model} to {hold.model}",
        "known" if is_settled else f"estimated: {hold.state}",
        hold.asked_actual if is_settled else hold.asked_amount,
        hold.actual if is_settled else hold.amount,
    )


def _of_observed(hold: Hold) -> Call:
    cost = hold.actual if hold.state == Hold.State.SETTLED else hold.amount
    return Call(_url(hold), hold.created_at, hold.persona_id, hold.operation, hold.model, hold.state, cost=cost)


def _of_refusal(refusal: Refusal) -> Call:
    attempts = "asked once" if refusal.attempts == 1 else f"asked {refusal.attempts} times"
    names = (_url(refusal), refusal.first_at, refusal.persona_id, refusal.operation, refusal.model)
    if refusal.admitted_at:
        return Call(*names, f"{attempts}, then let in: only delayed", refusal.amount, refusal.amount)
    return Call(*names, f"{attempts}: {refusal.reason}", refusal.amount, Decimal(0))


def _of_step(step: ControlTransition) -> Call:
    return Call(_url(step), step.at, step.persona_id, "", f"{step.from_level} to {step.to_level}", step.reason)


def _url(row: Model) -> str:
    return reverse(f"admin:controls_{row._meta.model_name}_change", args=[row.pk])


_ROWS: Mapping[str, tuple[Callable[[], Any], str, Callable[[Any], Call]]] = {
    "switched": (lambda: _took_place().switched(), "created_at", _of_switched),
    "throttled": (_refused("throttle"), "first_at", _of_refusal),
    "denied": (_refused("deny"), "first_at", _of_refusal),
    **{decision: (_observed(decision), "created_at", _of_observed) for decision in OBSERVED},
    STEPS: (lambda: ControlTransition.objects.filter(is_observing=True), "at", _of_step),
}


def _require_view(request: HttpRequest) -> None:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
