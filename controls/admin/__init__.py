"""The controls' pages of the admin: what may be spent."""

from controls.admin import budgets

__all__ = ["budgets"]
