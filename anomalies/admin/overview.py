"""The first page: figures of the ledger and of the controls, and of detection: what is wrong, and what is to come.

Each part is there for whom its pages are there. The page reads itself again from `fragment`, which is the same figures
without the frame.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, Count, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.timezone import now

from alerts.admin.base import severity_badge
from alerts.models import Channel
from alerts.signal import Severity
from anomalies import outlook
from anomalies.admin import told
from anomalies.forecast import BudgetOutlook, NoForecast, forecast
from anomalies.models import Anomaly
from anomalies.outlook import Habit
from controls.admin import overview as controls_part
from controls.admin.budgets import bar, standing_badge
from controls.models import Budget, Usage
from controls.periods import period_at
from costs.admin import overview as ledger_part
from costs.admin import post_costs, spending
from costs.admin.overview import Read
from costs.admin.plots import Plot
from costs.admin.search import TooSlow, within
from costs.admin.spending import PERIODS, Period, Spending
from costs.events import AMOUNT_LIMIT

REFRESH_SECONDS = 30
# All reads of the page together: overview.js waits for 10 s. What is wrong comes first, and leaves time for the rest.
PAGE_MILLISECONDS, WRONG_MILLISECONDS, OTHER_MILLISECONDS = 6_000, 700, 3_000
ANOMALIES_SHOWN = 5
# Each of them is forecast anew: some 15 ms of work.
BUDGETS_SHOWN = 5
DAYS_AHEAD = {"today": 0, "7d": 3, "30d": 7}
WORST_FIRST = {severity.value: -place for place, severity in enumerate(Severity)}
ZERO = Decimal(0)
UNITS = {"daily": "day", "weekly": "week", "monthly": "month"}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What today and this month are expected to cost at their end, and the next days; or why nobody can tell."""

    today: Decimal | None
    month: Decimal | None
    days: dict[date, Decimal]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the system, and what is wrong with it as a sentence; empty if it is well."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class BudgetRow:
    usage: Usage
    outlook: BudgetOutlook | None

    @property
    def url(self) -> str:
        return reverse("admin:controls_budget_change", args=[self.usage.budget_id])

    @property
    def unit(self) -> str:
        return UNITS[self.usage.period]

    @property
    def meter(self) -> str:
        return bar(self.usage)

    @property
    def state(self) -> str:
        return standing_badge(self.usage)

    @property
    def counts(self) -> str:
        return ", ".join(self.usage.scope.values()) or "everything"


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    anomaly: Anomaly

    @property
    def title(self) -> str:
        return told.title_of(self.anomaly.rule)

    @property
    def severity(self) -> str:
        return severity_badge(self.anomaly.severity)

    @property
    def sentence(self) -> str:
        return told.sentence(self.anomaly, self.anomaly.current)


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For Unfold's DASHBOARD_CALLBACK."""
    return {**context, **figures(request, now())}


def fragment(request: HttpRequest) -> HttpResponse:
    """The figures alone, as the page fetches them."""
    return TemplateResponse(request, "anomalies/admin/_figures.html", figures(request, now()))


def figures(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """What this person may see. What takes too long is left out, and `too_slow` says so."""
    period = Period.of(request.GET.get("period", ""), at)
    found: dict[str, Any] = {
        "read_at": at,
        "period": period,
        "periods": [(key, words) for key, (words, _) in PERIODS.items()],
        "refresh_url": f"{reverse('admin:overview_figures')}?{urlencode({'period': period.key})}",
        "refresh_seconds": REFRESH_SECONDS,
        "public_url": settings.FINOPS_PUBLIC_URL,
    }
    try:
        with within(PAGE_MILLISECONDS):
            _take(found, _wrong(request, at), WRONG_MILLISECONDS)
            _take(found, _others(request, found, at), OTHER_MILLISECONDS)
    except TooSlow:
        found["too_slow"] = True
    return found | _drawn(found, at)


def _take(found: dict[str, Any], reads: Iterator[Read], most: int) -> None:
    """Each by itself, so that a slow one takes no other with it. `reads` may look at what is found so far."""
    for read in reads:
        try:
            with within(most):
                found |= read()
        except TooSlow:
            found["too_slow"] = True


def _wrong(request: HttpRequest, at: datetime) -> Iterator[Read]:
    if request.user.has_perm("anomalies.view_anomaly"):
        yield _open_anomalies
    yield from controls_part.wrong(request, at)
    yield from ledger_part.wrong(request, at)
    if request.user.has_perm("alerts.view_channel"):
        yield _channels
    if request.user.has_perm("costs.view_scheduledrun"):
        yield lambda: {"system": _system(at)}


def _channels() -> dict[str, Any]:
    enabled = list(Channel.objects.order_by("name").values_list("name", "enabled"))
    return {"channels": len(enabled), "channels_off": [name for name, is_on in enabled if not is_on]}


def _system(at: datetime) -> list[Part]:
    found: Mapping[str, str] = import_string(settings.FINOPS_FIRST_PAGE_CHECKS)(at)
    return [Part(name.capitalize(), detail) for name, detail in found.items()]


def _others(request: HttpRequest, found: dict[str, Any], at: datetime) -> Iterator[Read]:
    # What everything costs is read once, for the cards and for the budgets that count everything.
    habit = cache(lambda: outlook.habit_of({}, at))
    yield from ledger_part.money(request, found["period"], at, found)
    if request.user.has_perm("controls.view_budget"):
        yield lambda: _budgets(habit, at)
    if "spending" in found:
        yield lambda: {"ahead": _ahead(found["spending"], found.get("whole_budgets", {}), habit(), at)}
    yield from controls_part.money(request, at)


def _budgets(habit: Callable[[], Habit], at: datetime) -> dict[str, Any]:
    usages: list[Usage] = Budget.objects.active().usages(at)
    return {
        "budgets": _worst_budgets(usages, habit, at),
        "budgets_in_all": len(usages),
        "whole_budgets": _of_everything(usages),
    }


def _drawn(found: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The plots of what was spent, and where the cards lead."""
    if "spending" not in found:
        return {}
    today = found["period"].today
    urls = {
        "today": spending.days_url(today, today),
        "month": spending.days_url(today.replace(day=1), today),
        "posts": post_costs.posts_url(today),
    }
    return {"plots": _plots(found, at), "url_of": urls}


def _open_anomalies() -> dict[str, Any]:
    """How many there are, by severity, and the worst."""
    counted = dict(Anomaly.objects.open().values_list("severity").annotate(count=Count("pk")).order_by())
    worst = Case(
        *(When(severity=name, then=Value(place)) for name, place in WORST_FIRST.items()), output_field=IntegerField()
    )
    shown = Anomaly.objects.open().annotate(worst=worst).order_by("worst", "-opened_at", "-pk")[:ANOMALIES_SHOWN]
    return {
        "open_anomalies": sum(counted.values()),
        "by_severity": [(severity_badge(name), counted[name]) for name in WORST_FIRST if name in counted][::-1],
        "anomalies": [AnomalyRow(anomaly) for anomaly in shown],
    }


def _worst_budgets(usages: Iterable[Usage], habit: Callable[[], Habit], at: datetime) -> list[BudgetRow]:
    worst = sorted(usages, key=lambda usage: (-usage.used_percent, usage.name))[:BUDGETS_SHOWN]
    return [BudgetRow(usage, outlook.of_budget(usage, at, None if usage.scope else habit())) for usage in worst]


def _of_everything(usages: Iterable[Usage]) -> dict[str, Usage]:
    """By period: the smallest budget of all costs, if there is one of those that count as the cards do, by UTC."""
    whole = [usage for usage in usages if not usage.scope]
    return {usage.period: usage for usage in sorted(whole, key=lambda usage: (_is_utc(usage), -usage.allowed))}


def _is_utc(usage: Usage) -> bool:
    return usage.timezone == "UTC"


def _ahead(found: Spending, whole: Mapping[str, Usage], habit: Habit, at: datetime) -> Ahead:
    """The cards are forecast as budgets are, whether there is one or not: the same figure stands in both places."""
    result = forecast(habit.history) if habit.history.amounts else NoForecast("No full day with costs yet.")
    if isinstance(result, NoForecast):
        return Ahead(None, None, {}, result.reason)
    shown = result.days[: DAYS_AHEAD[found.period.key]]
    of_utc = {period: usage for period, usage in whole.items() if _is_utc(usage)}
    return Ahead(
        _expected(of_utc.get("daily") or _as_if_budgeted("daily", found.today, at), habit, at),
        _expected(of_utc.get("monthly") or _as_if_budgeted("monthly", found.month, at), habit, at),
        {ahead.day: ahead.cost.expected for ahead in shown},
        None,
    )


def _expected(usage: Usage, habit: Habit, at: datetime) -> Decimal | None:
    found = outlook.of_budget(usage, at, habit)
    return found.expected if found else None


def _as_if_budgeted(period: str, spent: Decimal, at: datetime) -> Usage:
    """All costs of a UTC period, as a budget without a limit would count them."""
    span = period_at(at, period, ZoneInfo("UTC"))
    return Usage(
        budget_id=0,
        name="",
        scope={},
        period=period,
        timezone="UTC",
        limit=AMOUNT_LIMIT,
        increase=ZERO,
        spent=spent,
        held=ZERO,
        pending=ZERO,
        starts_at=span.start,
        ends_at=span.end,
        hard=False,
        warn_levels=(),
        created_at=at,
        ended_at=None,
        revision=0,
    )


def _plots(found: dict[str, Any], at: datetime) -> dict[str, list[Plot]]:
    spent: Spending = found["spending"]
    over_time = [spending.over_time(spent, at, found["ahead"].days if "ahead" in found else {})]
    if "posts" in found:
        over_time.append(post_costs.over_time(spent.period, found["posts"]))
    return {"over_time": over_time, "by_name": spending.ranks(spent)}
