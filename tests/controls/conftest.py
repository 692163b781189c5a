"""Budgets and decisions in one line, beside the ledger of the costs' tests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from controls import budgets, decisions, outage, postgres
from controls.estimates import Call
from controls.models import Budget, Hold
from controls.verdicts import Decision
from tests.costs.conftest import Ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_budget(limit: str = "100", *, at: datetime = NOW, actor: str = "ann", **fields: Any) -> Budget:
    """A budget of a UTC day for everything, unless said otherwise."""
    given = {"name": "test", "period": "daily", "timezone": "UTC"} | fields
    return budgets.create(Budget(limit=Decimal(limit), **given), actor=actor, at=at)


def ask(*, at: datetime = NOW, **fields: Any) -> Decision:
    """Ask for a call of gpt-4o of 1,000 tokens in and 500 out, which costs $0.0075, for ai_jesus."""
    given: dict[str, Any] = {
        "model": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 500,
        "persona_id": "ai_jesus",
    } | fields
    return decisions.decide(Call(**given), at=at, clock=at)


def hold_of(decision: Decision) -> Hold:
    assert decision.hold_id is not None, decision.detail
    return Hold.objects.get(pk=decision.hold_id)


def spent(budget: Budget, at: datetime = NOW) -> Decimal:
    found: Decimal = budget.period_at(at).spent
    return found


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    """The clocks of tests stand still, and what one test wrote the next one takes back."""
    decisions.forget()
    outage.forget()
    postgres.forget()


def close_decisions() -> None:
    """Their pool keeps connections open, and a database in use cannot be dropped."""
    connection: Any = connections["decisions"]
    connection.close()
    if "decisions" in connection._connection_pools:
        connection.close_pool()


@pytest.fixture(autouse=True)
def _decisions_see_what_the_test_wrote(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in a transaction has nothing committed: decisions must use its own connection."""
    marker = request.node.get_closest_marker("django_db")
    if marker is None or marker.kwargs.get("transaction"):
        yield
        close_decisions()
        return
    request.getfixturevalue("db")
    own = connections["decisions"]
    connections["decisions"] = connections["default"]
    yield
    connections["decisions"] = own


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()
