"""Budgets in one line, beside the ledger of the costs' tests."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from controls import budgets
from controls.models import Budget
from tests.costs.conftest import Ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_budget(limit: str = "100", *, at: datetime = NOW, actor: str = "ann", **fields: Any) -> Budget:
    """A budget of a UTC day for everything, unless said otherwise."""
    given = {"name": "test", "period": "daily", "timezone": "UTC"} | fields
    return budgets.create(Budget(limit=Decimal(limit), **given), actor=actor, at=at)


def spent(budget: Budget, at: datetime = NOW) -> Decimal:
    found: Decimal = budget.period_at(at).spent
    return found


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()
