"""What a rule looked at, drawn: the series around the moment when it was found, with the baseline it was compared with.

Every series is read from counters, or from a bounded number of lines of one persona. Rules about nothing that has a
course in time have no plot.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncHour
from django.urls import reverse

from anomalies.detectors.learned_rule import HOUR as BY_HOUR
from anomalies.models import Anomaly
from controls import budgets
from controls.models import Budget, BudgetRevision
from costs.admin.plots import Column, Kind, Level, Look, Moment, Plot, Row, mean
from costs.admin.posts import cumulated, steps_of
from costs.admin.spending import days_url, hour_url, lines_url
from costs.attribution import Target, post_total
from costs.models import CostEvent, DeadLetter, FiveMinuteCost, HourlyCost, HourlyOutcome, PostCost
from costs.models.ledger import BOOKED_BEFORE
from costs.periods import DAY, HOUR, Span, floor
from costs.templatetags.ledger import post_url, second

ZERO = Decimal(0)
FIVE_MINUTES = timedelta(minutes=5)
LINES_BEFORE, LINES_AFTER = 400, 200
OUTCOME_DAYS = 8
FOUND, ENDED = "found", "ended"
LINES_AROUND = "the lines around it"


@dataclass(frozen=True, slots=True)
class Asked:
    """An anomaly, and now."""

    anomaly: Anomaly
    at: datetime

    def around(self, before: timedelta, after: timedelta) -> Span:
        opened = self.anomaly.opened_at.astimezone(UTC)
        return Span(opened - before, min(opened + after, self.at.astimezone(UTC)))

    @property
    def persona_id(self) -> str:
        return self.anomaly.persona_id

    def baseline(self, name: str = "baseline", look: Look = Look.BASELINE) -> tuple[Level, ...]:
        return () if self.anomaly.baseline is None else (Level(name, self.anomaly.baseline, look),)

    def moments(self, until: datetime) -> tuple[Moment, ...]:
        found, ended = Moment(FOUND, self.anomaly.opened_at), self.anomaly.resolved_at
        return (found, Moment(ENDED, ended)) if ended and ended <= until else (found,)


def plot_of(anomaly: Anomaly, at: datetime) -> Plot | None:
    """None where there is nothing to draw."""
    drawn = _DRAWN.get(anomaly.rule)
    plot = drawn(Asked(anomaly, at)) if drawn else None
    return None if plot is None or plot.is_empty else plot


def _spike(asked: Asked) -> Plot:
    return _pulse(asked) if asked.anomaly.scope.get("reading") == "spend_rate" else _posts(asked)


def _pulse(asked: Asked) -> Plot:
    """What was spent in each five minutes."""
    span = asked.around(timedelta(hours=3), timedelta(hours=1))
    windows = FiveMinuteCost.objects.filter(
        persona_id=asked.persona_id, starts_at__gte=span.start - FIVE_MINUTES, starts_at__lt=span.end
    )
    spent = dict(windows.values_list("starts_at", "amount"))
    start = floor(span.start, HOUR)
    moments = _moments_between(start, span, FIVE_MINUTES)
    rows = [_of_hour(asked, at, spent.get(at, ZERO)) for at in moments if at >= span.start - FIVE_MINUTES]
    plot = _plot(asked, "Spent in each five minutes", Kind.STEPS, "Spent", rows, asked.baseline())
    return replace(plot, around=LINES_AROUND)


def _by_hour(asked: Asked, before: timedelta, name: str = "") -> Plot:
    span = asked.around(before, timedelta(hours=6))
    hours = HourlyCost.objects.filter(persona_id=asked.persona_id)
    spent = _sums(hours, span, Sum("amount"))
    rows = [_of_hour(asked, hour, spent.get(hour, ZERO)) for hour in _moments_between(floor(span.start, HOUR), span)]
    levels = asked.baseline(name) if name else ()
    return _plot(asked, "Spent in each hour", Kind.STEPS, "Spent", rows, levels)


def _learned(asked: Asked) -> Plot:
    if asked.anomaly.scope.get("grain") == BY_HOUR:
        return _by_hour(asked, timedelta(hours=48), "expected when found")
    plot = _pulse(asked)
    return replace(plot, levels=asked.baseline("expected when found"))


def _posts(asked: Asked) -> Plot:
    """The persona's posts around the moment, each at its newest line with its whole cost."""
    newest = _posts_around(asked, asked.around(timedelta(hours=24), timedelta(hours=1)))
    costs = PostCost.objects.filter(post_id__in=newest).values_list("post_id").annotate(Sum("amount"))
    rows = [
        Row(second(newest[post]), (amount,), post_url(post), at=newest[post], note=post)
        for post, amount in sorted(costs, key=lambda cost: newest[cost[0]])
    ]
    return _plot(asked, "Posts, each with its whole cost", Kind.POINTS, "Cost of the post", rows, asked.baseline())


def _posts_around(asked: Asked, span: Span) -> dict[str, datetime]:
    """The nearest lines before the moment and after it; of each post its newest one among them."""
    lines = CostEvent.objects.filter(
        persona_id=asked.persona_id, created_at__gte=span.start - BOOKED_BEFORE, post_id__isnull=False
    )
    opened = asked.anomaly.opened_at
    before = lines.filter(timestamp__gte=span.start, timestamp__lte=opened).order_by("-timestamp")[:LINES_BEFORE]
    after = lines.filter(timestamp__gt=opened, timestamp__lte=span.end).order_by("timestamp")[:LINES_AFTER]
    newest: dict[str, datetime] = {}
    for some in (before, after):
        for post, at in some.values_list("post_id", "timestamp"):
            if post is not None:
                newest[post] = max(newest.get(post, at), at)
    return newest


def _threshold(asked: Asked) -> Plot | None:
    if asked.anomaly.scope.get("reading") == "cost_per_follow":
        return _outcomes(asked, "follow", "Cost of a follow", lambda cost, follows: mean(cost, follows), "target", "$")
    post = asked.anomaly.post_id
    plot = cumulated(steps_of(post), post_total(post), Target.configured())
    levels = (*plot.levels[:1], *asked.baseline("threshold", Look.ALERT))
    return replace(plot, levels=levels, moments=asked.moments(asked.at))


def _efficiency(asked: Asked) -> Plot:
    kind = str(asked.anomaly.scope.get("outcome", "follow"))
    return _outcomes(
        asked, kind, f"{kind.capitalize()}s for a dollar", lambda cost, brought: mean(brought, cost), "baseline", ""
    )


def _roi(asked: Asked) -> Plot:
    def earned(cost: Decimal, revenue: Decimal) -> Decimal | None:
        share = mean(revenue - cost, cost)
        return None if share is None else share * 100

    return _outcomes(asked, "revenue", "Return on what it costs", earned, "", "%")


Ratio = Callable[[Decimal, Decimal], Decimal | None]


def _outcomes(asked: Asked, kind: str, title: str, ratio: Ratio, baseline: str, unit: str) -> Plot:
    """Days of 24 hours that end with the window that was judged, as the rule cuts them."""
    end = _judged_until(asked)
    span = Span(end - OUTCOME_DAYS * DAY, end)
    costs = _sums(HourlyCost.objects.filter(persona_id=asked.persona_id), span, Sum("amount"))
    counted = Sum("amount") if kind == "revenue" else Sum("quantity")
    brought = _sums(HourlyOutcome.objects.filter(persona_id=asked.persona_id, kind=kind), span, counted)
    rows = []
    for number in range(OUTCOME_DAYS):
        day = Span(span.start + number * DAY, span.start + (number + 1) * DAY)
        value = ratio(_within(costs, day), _within(brought, day))
        rows.append(
            Row(
                f"until {second(day.end)}",
                (value,),
                days_url(day.start.date(), day.end.date(), persona_id=asked.persona_id),
                at=day.end,
            )
        )
    levels = asked.baseline(baseline) if baseline else ()
    plot = _plot(asked, f"{title}, by day", Kind.LINES, title, rows, levels, unit=unit)
    return replace(plot, around=LINES_AROUND)


def _judged_until(asked: Asked) -> datetime:
    """Where the window of the evidence ends; its hour, if the evidence says nothing that can be read."""
    window = asked.anomaly.evidence.get("window")
    try:
        return datetime.fromisoformat(str(window["end"])).astimezone(UTC)
    except (TypeError, KeyError, ValueError):
        return floor(asked.anomaly.opened_at, HOUR) + HOUR


def _budget(asked: Asked) -> Plot | None:
    """What the budget had spent in its period, hour by hour."""
    number = str(asked.anomaly.scope.get("budget_id", ""))
    budget = Budget.objects.filter(pk=int(number)).first() if number.isdecimal() else None
    if budget is None:
        return None
    period = budget.span_at(asked.anomaly.opened_at)
    so_far, rows = ZERO, [Row(second(period.start), (ZERO,), at=period.start)]
    for hour, amount in _spent_by_hour(budget, period, asked.at.astimezone(UTC)):
        so_far += amount
        until = min(hour + HOUR, period.end, asked.at.astimezone(UTC))
        rows.append(Row(f"until {second(until)}", (so_far,), hour_url(hour, **budget.scope), at=until))
    limit = (Level("limit when found", _limit_when_found(asked.anomaly, budget), Look.ALERT),)
    plot = _plot(asked, f"Spent of the budget {budget.name}", Kind.LINES, "Spent so far", rows, limit)
    return replace(plot, around=LINES_AROUND)


def _spent_by_hour(budget: Budget, period: Span, at: datetime) -> Iterator[tuple[datetime, Decimal]]:
    """By hours of UTC that have begun; where the period begins or ends within one, only what is of the period."""
    hours = _sums(HourlyCost.objects.filter(**budget.scope), period, Sum("amount"))
    for hour in _moments_between(floor(period.start, HOUR), Span(period.start, min(period.end, at))):
        part = Span(max(hour, period.start), min(hour + HOUR, period.end))
        is_whole = part.end - part.start == HOUR
        yield hour, hours.get(hour, ZERO) if is_whole else budgets.spent_by_ledger(budget, part)


def _limit_when_found(anomaly: Anomaly, budget: Budget) -> Decimal:
    """What was allowed then. A burn rate is compared with its limit alone, and its baseline is a rate."""
    if anomaly.rule != "burn_rate" and anomaly.baseline is not None:
        return anomaly.baseline
    revisions = BudgetRevision.objects.filter(budget=budget, at__lte=anomaly.opened_at)
    newest = revisions.order_by("number").last()
    limit: Decimal = newest.limit if newest else budget.limit
    return limit


def _unpriced(asked: Asked) -> Plot:
    scope = {name: str(asked.anomaly.scope.get(name, "")) for name in ("provider", "model", "cost_type")}
    span = asked.around(timedelta(hours=48), timedelta(hours=6))
    # The counter of an hour falls when its lines get their price: what is drawn is what lacks one today.
    found = _sums(HourlyCost.objects.filter(**scope), span, Sum("unpriced"))
    hours = _moments_between(floor(span.start, HOUR), span)
    url = lines_url(state="unpriced", model=scope["model"])
    rows = [Row(second(hour), (Decimal(found.get(hour, 0)),), url, at=hour) for hour in hours]
    plot = _plot(
        asked, "Charges of each hour that have no price today", Kind.STEPS, "Charges", rows, (), unit="charges"
    )
    return replace(plot, around="all charges of this model that have no price")


def _dead_letters(asked: Asked) -> Plot:
    span = asked.around(timedelta(hours=48), timedelta(hours=6))
    letters = DeadLetter.objects.filter(
        source=asked.anomaly.scope.get("source", ""), created_at__gte=floor(span.start, HOUR), created_at__lt=span.end
    )
    by_hour = letters.annotate(hour=TruncHour("created_at", tzinfo=UTC)).values_list("hour").annotate(Count("pk"))
    found, url = dict(by_hour), f"{reverse('admin:costs_deadletter_changelist')}?state=all"
    hours = _moments_between(floor(span.start, HOUR), span)
    rows = [Row(second(hour), (Decimal(found.get(hour, 0)),), url, at=hour) for hour in hours]
    plot = _plot(asked, "Dead letters by hour", Kind.STEPS, "Letters", rows, (), unit="letters")
    return replace(plot, around="all dead letters")


def _plot(
    asked: Asked, title: str, kind: Kind, column: str, rows: Iterable[Row], levels: tuple[Level, ...], unit: str = "$"
) -> Plot:
    told = tuple(rows)
    until = max((row.at for row in told if row.at), default=asked.at)
    return Plot(
        "series",
        title,
        kind,
        "Time (UTC)",
        (Column(column),),
        told,
        levels=levels,
        moments=asked.moments(max(until, asked.anomaly.opened_at)),
        unit=unit,
    )


def _sums(hours: QuerySet[Any], span: Span, counted: Any) -> dict[datetime, Any]:
    found = hours.filter(hour__gte=floor(span.start, HOUR), hour__lt=span.end).order_by().values_list("hour")
    return {hour.astimezone(UTC): total for hour, total in found.annotate(total=counted)}


def _within(sums: Mapping[datetime, Decimal], span: Span) -> Decimal:
    return sum((amount for hour, amount in sums.items() if span.start <= hour < span.end), ZERO)


def _moments_between(start: datetime, span: Span, step: timedelta = HOUR) -> list[datetime]:
    return [start + number * step for number in range(-((start - span.end) // step))]


def _of_hour(asked: Asked, at: datetime, amount: Decimal) -> Row:
    return Row(second(at), (amount,), hour_url(at, persona_id=asked.persona_id), at=at)


_DRAWN: Mapping[str, Callable[[Asked], Plot | None]] = {
    "cost_spike": _spike,
    "cost_threshold": _threshold,
    "learned": _learned,
    "no_data": lambda asked: _by_hour(asked, timedelta(days=7)),
    "efficiency_drop": _efficiency,
    "negative_roi": _roi,
    "budget_overrun": _budget,
    "forecast": _budget,
    "burn_rate": _budget,
    "unpriced": _unpriced,
    "dead_letters": _dead_letters,
}
