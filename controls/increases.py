"""Temporary increases: a budget may spend more in each period until a moment, on somebody's word."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from controls.budgets import Ended
from controls.models import Budget, BudgetIncrease
from costs.events import AMOUNT_LIMIT

LONGEST_INCREASE = timedelta(days=366)
# In force for one budget: every decision adds them up.
MOST_INCREASES = 20


class Impossible(ValueError):
    """There can be no such increase: `field` is wrong, as the sentence says."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field, self.sentence = field, sentence


def make(
    budget_id: int, amount: Decimal, *, reason: str, actor: str, expires_at: datetime, at: datetime
) -> BudgetIncrease:
    """Let it spend so much more from now on. Raises Impossible, Ended, Budget.DoesNotExist."""
    reason = reason.strip()
    _require(0 < amount < AMOUNT_LIMIT, "amount", f"must be above 0 and below {AMOUNT_LIMIT}")
    _require(0 < len(reason) <= 500, "reason", "must say in 1 to 500 characters why")
    _require(at < expires_at <= at + LONGEST_INCREASE, "expires_at", "must lie after now and within 366 days")
    with transaction.atomic():
        # So that it is not ended meanwhile.
        budget = Budget.objects.select_for_update(no_key=True).get(pk=budget_id)
        if budget.ended_at:
            raise Ended
        has_room = BudgetIncrease.objects.active(at).filter(budget=budget).count() < MOST_INCREASES
        _require(has_room, "budget", f"has {MOST_INCREASES} increases in force already: end one first")
        return BudgetIncrease.objects.create(
            budget=budget, amount=amount, reason=reason, actor=actor[:200], starts_at=at, expires_at=expires_at
        )


def end(increase_id: int, *, actor: str, at: datetime) -> BudgetIncrease:
    """Take it back; what was let in on it stays spent. Safe to do twice, and nothing happens to one that ran out."""
    with transaction.atomic():
        increase = BudgetIncrease.objects.select_for_update().get(pk=increase_id)
        if increase.ended_at is None and at < increase.expires_at:
            increase.ended_at, increase.ended_by = max(at, increase.starts_at), actor[:200]
            increase.save(update_fields=["ended_at", "ended_by"])
    return increase


def _require(holds: bool, field: str, sentence: str) -> None:
    if not holds:
        raise Impossible(field, sentence)
