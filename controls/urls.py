"""The paths of the controls."""

from django.urls import path

from controls import api

urlpatterns = [
    path("budgets", api.BudgetsView.as_view(), name="budgets"),
    path("budgets/<int:budget_id>", api.BudgetView.as_view(), name="budget"),
]
