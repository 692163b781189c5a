"""The controls' pages of the admin: the breaker and its overrides, what may be spent, what decisions left behind."""

from controls.admin import budgets, changes, controls, holds, overrides, policies, switches

__all__ = ["budgets", "changes", "controls", "holds", "overrides", "policies", "switches"]
