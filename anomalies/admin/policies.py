"""The levels of each rule, for everybody and for single personas."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from alerts.signal import Severity
from anomalies.admin import told
from anomalies.detectors import DETECTORS
from anomalies.models import RulePolicy
from costs.admin.base import ModelAdmin, badge
from costs.templatetags.ledger import money, number

# The others look at every amount.
WITH_MINIMUM = ("cost_spike", "efficiency_drop", "negative_roi", "learned", "burn_rate")
INSTEAD = {
    "cost_threshold": "dollars a post; as it ships medium from the alert threshold on",
    "budget_overrun": "per cent of the limit; a budget's own warn levels count before these",
}
LEVELS = tuple(severity.value for severity in Severity)


def shipped() -> list[dict[str, Any]]:
    """Each rule as it ships: its levels in words, and below which amount it says nothing."""
    return [
        {
            "rule": rule,
            "title": told.title_of(rule),
            "levels": [number(getattr(detector.levels, name)) or "never" for name in LEVELS],
            "measured": INSTEAD.get(rule, told.figures_of(rule).measured),
            "falls": detector.levels.falling,
            "minimum": money(detector.minimum_amount) if rule in WITH_MINIMUM else "",
        }
        for rule, detector in DETECTORS.items()
    ]


@admin.register(RulePolicy)
class RulePolicyAdmin(ModelAdmin):
    list_display = ("what", "whose", "levels", "least", "state")
    list_display_links = ("what",)
    list_filter = ("rule", "enabled")
    list_filter_sheet = False
    search_fields = ("persona_id",)
    sortable_by = ()
    ordering = ("rule", "persona_id")
    fieldsets = (
        (None, {"fields": (("rule", "persona_id"), "enabled")}),
        ("Levels", {"fields": (("low", "medium"), ("high", "critical"), "minimum_amount")}),
    )
    change_form_outer_before_template = "anomalies/admin/policy_levels.html"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {**(extra_context or {}), "shipped": shipped(), "severities": LEVELS}
        return super().changeform_view(request, object_id, form_url, context)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "rule" and isinstance(field, forms.TypedChoiceField):
            # What no detector finds has no levels.
            field.choices = [("", "---------"), *((rule, rule) for rule in DETECTORS)]
        return field

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj:
            # As a person writes them: 3.5, not 3.500000.
            for name in (*LEVELS, "minimum_amount"):
                value: Decimal | None = getattr(obj, name)
                setattr(obj, name, value if value is None else Decimal(f"{value.normalize():f}"))
        return form

    @admin.display(description="type")
    def what(self, policy: RulePolicy) -> str:
        return policy.rule

    @admin.display(description="persona")
    def whose(self, policy: RulePolicy) -> str:
        return policy.persona_id or "everybody without an own"

    @admin.display(description="levels")
    def levels(self, policy: RulePolicy) -> str:
        own = {name: getattr(policy, name) for name in LEVELS}
        return ", ".join(f"{name} {number(level)}" for name, level in own.items() if level is not None) or "as shipped"

    @admin.display(description="at least")
    def least(self, policy: RulePolicy) -> str:
        return "as shipped" if policy.minimum_amount is None else money(policy.minimum_amount)

    @admin.display(description="state")
    def state(self, policy: RulePolicy) -> str:
        return badge("looks", "success") if policy.enabled else badge("switched off", "warning")
