"""The tables of the controls, by story: what may be spent, and what was."""

from controls.models.budgets import Budget, BudgetPeriod, BudgetRevision, BudgetSample, Usage

__all__ = ["Budget", "BudgetPeriod", "BudgetRevision", "BudgetSample", "Usage"]
