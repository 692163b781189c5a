"""The paths of the controls. A persona or a model may hold slashes."""

from django.urls import path

from controls import api, api_controls, api_decisions, api_savings

urlpatterns = [
    path("budgets", api.BudgetsView.as_view(), name="budgets"),
    path("budgets/<int:budget_id>", api.BudgetView.as_view(), name="budget"),
    path("budgets/<int:budget_id>/increases", api_controls.IncreasesView.as_view(), name="increases"),
    path("budgets/<int:budget_id>/increases/<int:increase_id>", api_controls.IncreaseView.as_view(), name="increase"),
    path("controls", api_controls.ControlsView.as_view(), name="controls"),
    path("controls/overrides", api_controls.OverridesView.as_view(), name="overrides"),
    path("controls/overrides/<int:override_id>", api_controls.OverrideView.as_view(), name="override"),
    path("controls/policies", api_controls.PoliciesView.as_view(), name="policies"),
    path("controls/policies/<path:persona_id>", api_controls.PolicyView.as_view(), name="policy"),
    path("controls/switches", api_controls.SwitchesView.as_view(), name="switches"),
    path("controls/switches/<path:model>", api_controls.SwitchView.as_view(), name="switch"),
    path("controls/changes", api_controls.ChangesView.as_view(), name="setting-changes"),
    path("controls/decision", api_decisions.DecisionView.as_view(), name="decision"),
    path("controls/holds/<uuid:hold_id>/release", api_decisions.ReleaseView.as_view(), name="hold-release"),
    path("controls/holds/<uuid:hold_id>/extend", api_decisions.ExtendView.as_view(), name="hold-extend"),
    path("controls/refusals", api_controls.RefusalsView.as_view(), name="refusals"),
    path("controls/holds", api_controls.HoldsView.as_view(), name="holds"),
    path("controls/holds/<uuid:hold_id>/write-off", api_controls.WriteOffView.as_view(), name="hold-write-off"),
    path("controls/savings", api_savings.SavingsView.as_view(), name="savings"),
    path("controls/recommendations", api_savings.RecommendationsView.as_view(), name="recommendations"),
]
# After all others: a persona may be called anything. One that these paths cannot name is found by ?persona_id=.
urlpatterns += [
    path("controls/<path:persona_id>/transitions", api_controls.TransitionsView.as_view(), name="transitions"),
    path("controls/<str:persona_id>", api_controls.OneControlView.as_view(), name="control"),
]
