"""Budgets as a replay sees them: by the terms that they have today, what was let through counts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from anomalies.backtest.spending import Batch, Call
from controls import budgets
from controls.models import Budget, Usage
from costs.models import HourlyCost
from costs.periods import HOUR, Span, floor

ZERO = Decimal(0)


class Running:
    """One budget in its period at any moment, in the order of time."""

    def __init__(self, budget: Budget, at: datetime) -> None:
        for name in ("spent", "held", "pending", "increase"):
            # What a query would bring with it.
            setattr(budget, name, ZERO)
        self._budget = budget
        self._usage = budget.usage(at)
        before = Span(self._usage.starts_at, at)
        self.spent = budgets.spent_by_ledger(budget, before) if before.start < at else ZERO
        self.events = _events(budget, before)

    @property
    def is_hard(self) -> bool:
        return self._budget.hard

    @property
    def persona_id(self) -> str:
        return self._budget.persona_id

    @property
    def scope(self) -> dict[str, str]:
        """As a look at it names it."""
        return {**self._budget.scope, "budget_id": str(self._budget.pk)}

    def move(self, at: datetime) -> None:
        """Begin the period that holds `at`."""
        if at >= self._usage.ends_at:
            self._usage, self.spent, self.events = self._budget.usage(at), ZERO, 0

    def may_count(self, cost: Batch | Call) -> bool:
        """Whether it counts such a cost, on this model or on a cheaper one that stands in."""
        return self._budget.persona_id in ("", cost.persona_id)

    def counts(self, cost: Batch | Call) -> bool:
        is_its = self.may_count(cost) and self._budget.cost_type in ("", cost.cost_type)
        return is_its and self._budget.model in ("", cost.model)

    def has_room_for(self, amount: Decimal) -> bool:
        return self.spent + amount <= self._usage.limit

    @property
    def usage(self) -> Usage:
        return replace(self._usage, spent=self.spent)


def _events(budget: Budget, span: Span) -> int:
    hours = HourlyCost.objects.filter(hour__gte=floor(span.start, HOUR), hour__lt=span.end, **budget.scope)
    return int(hours.aggregate(total=Sum("events"))["total"] or 0)


class Budgets:
    """Those that can move something: hard ones, and those of one persona, which trip its breaker."""

    def __init__(self, found: Iterable[Running]) -> None:
        self._running = list(found)
        self._hard = [running for running in self._running if running.is_hard]
        self._of_persona: dict[str, list[Running]] = defaultdict(list)
        for running in self._running:
            self._of_persona[running.persona_id].append(running)

    @classmethod
    def stored(cls, personas: Sequence[str], at: datetime, *, whole: bool) -> "Budgets":
        active = Budget.objects.active()
        asked = active if whole else active.filter(persona_id__in=personas)
        found = (Running(budget, at) for budget in asked.order_by("pk") if budget.hard or budget.persona_id)
        return cls(found)

    def __len__(self) -> int:
        return len(self._running)

    def move(self, at: datetime) -> None:
        for running in self._running:
            running.move(at)

    def of(self, persona_id: str) -> list[Running]:
        """Those that trip the breaker of this persona."""
        return self._of_persona[persona_id] if persona_id else []

    def add(self, cost: Batch | Call) -> None:
        for running in self._counting(cost.persona_id):
            if running.counts(cost):
                running.spent += cost.amount
                running.events += cost.events

    def full_for(self, call: Call) -> Running | None:
        """The first hard budget that this call would overspend."""
        hard = (each for each in self._counting(call.persona_id) if each.is_hard)
        return next((each for each in hard if each.counts(call) and not each.has_room_for(call.amount)), None)

    def tight(self, batches: Sequence[Batch]) -> set[str]:
        """The personas of whom a hard budget may turn calls away, if so much more is spent on whatever model."""
        found: set[str] = set()
        for running in self._hard:
            counted = [batch for batch in batches if running.may_count(batch)]
            if counted and not running.has_room_for(sum((batch.amount for batch in counted), ZERO)):
                found.update(batch.persona_id for batch in counted)
        return found

    def _counting(self, persona_id: str) -> list[Running]:
        everybody = self._of_persona.get("", [])
        return everybody + self._of_persona.get(persona_id, []) if persona_id else everybody
