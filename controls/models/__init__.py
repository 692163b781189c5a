"""The tables of the controls, by story: what may be spent, what decisions left behind, where the breaker stands."""

from controls.models.breaker import Control, ControlTransition, Level, Override, Policy
from controls.models.budgets import Budget, BudgetIncrease, BudgetPeriod, BudgetRevision, BudgetSample, Usage
from controls.models.changes import SettingChange
from controls.models.holds import Hold, Refusal
from controls.models.switches import Switch

__all__ = [
    "Budget",
    "BudgetIncrease",
    "BudgetPeriod",
    "BudgetRevision",
    "BudgetSample",
    "Control",
    "ControlTransition",
    "Hold",
    "Level",
    "Override",
    "Policy",
    "Refusal",
    "SettingChange",
    "Switch",
    "Usage",
]
