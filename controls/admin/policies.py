"""When the breaker acts on whom, and what it may do."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.timezone import now

from controls import policy_changes
from controls.models import Policy
from controls.models.breaker import EVERYBODY
from controls.policy_changes import DECIMALS, SWITCHES, fault
from costs.admin.base import ModelAdmin, ModelForm, badge
from costs.templatetags.ledger import money, number

ACTS = {
    "throttle_requests": "throttle",
    "disable_expensive_models": "switch models",
    "pause_persona": "pause",
    "alert_human_operator": "alert",
}


class PolicyForm(ModelForm):
    class Meta:
        model = Policy
        fields = "__all__"
        labels = {
            "spike_from": "Spike",
            "budget_from": "Budget",
            "roi_from": "Return",
            "stay_seconds": "Stay, seconds",
            "expiry_seconds": "Expiry, seconds",
            "pause_seconds": "Pause, seconds",
            "calm_seconds": "Calm, seconds",
            "medium_per_minute": "Medium",
            "high_per_minute": "High",
            "critical_per_minute": "Critical",
        }

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        numbers = {name: value for name, value in cleaned.items() if name not in ("persona_id", *SWITCHES)}
        wrong = {name: fault(name, value) for name, value in numbers.items() if value is not None}
        if found := {name: f"This {sentence}." for name, sentence in wrong.items() if sentence}:
            raise ValidationError(found)
        return cleaned


@admin.register(Policy)
class PolicyAdmin(ModelAdmin):
    form = PolicyForm
    list_display = ("whose", "mode", "acts", "triggers", "rates", "least")
    list_display_links = ("whose",)
    list_filter = ("is_observing",)
    list_filter_sheet = False
    search_fields = ("persona_id",)
    sortable_by = ()
    ordering = ("persona_id",)
    fieldsets = (
        (None, {"fields": ("persona_id", "is_observing")}),
        (
            "What it may do",
            {"fields": (("throttle_requests", "disable_expensive_models"), ("pause_persona", "alert_human_operator"))},
        ),
        (
            "What trips it, from this on",
            {
                "fields": (
                    ("spike_from", "budget_from", "roi_from"),
                    "on_critical",
                    ("minimum_events", "minimum_amount"),
                )
            },
        ),
        ("Requests a minute", {"fields": (("medium_per_minute", "high_per_minute", "critical_per_minute"),)}),
        (
            "How it moves",
            {"fields": (("stay_seconds", "expiry_seconds"), ("calm_seconds", "pause_seconds"), "leave")},
        ),
    )
    change_form_outer_before_template = "controls/admin/policy_hint.html"

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        # Without everybody's, personas would be judged by numbers that no page shows.
        is_everybodys = obj is not None and obj.persona_id == EVERYBODY
        return not is_everybodys and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> Any:
        # The bulk deletion asks for no row's permission.
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        policy_changes.save(obj, actor=request.user.get_username(), at=now())

    def delete_model(self, request: HttpRequest, obj: Policy) -> None:
        policy_changes.remove(obj.persona_id, actor=request.user.get_username(), at=now())

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> tuple[str, ...]:
        return ("whose",) if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Policy | None = None) -> Any:
        whose = "whose" if obj else "persona_id"
        return ((None, {"fields": (whose, "is_observing")}), *self.fieldsets[1:])

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj:
            # As a person writes them: 3, not 3.00.
            for name in (*DECIMALS, "minimum_amount"):
                setattr(obj, name, Decimal(f"{getattr(obj, name).normalize():f}"))
        return form

    @admin.display(description="persona")
    def whose(self, policy: Policy) -> str:
        return policy.persona_id or "everybody without an own"

    @admin.display(description="mode")
    def mode(self, policy: Policy) -> str:
        return badge("only observes", "warning") if policy.is_observing else badge("acts", "success")

    @admin.display(description="may")
    def acts(self, policy: Policy) -> str:
        return ", ".join(words for name, words in ACTS.items() if getattr(policy, name)) or "do nothing"

    @admin.display(description="trips at")
    def triggers(self, policy: Policy) -> str:
        critical = ", or a critical anomaly" if policy.on_critical else ""
        return (
            f"{number(policy.spike_from)} times, {number(policy.budget_from)} % of a budget,"
            f" {number(policy.roi_from)} % return{critical}"
        )

    @admin.display(description="requests a minute")
    def rates(self, policy: Policy) -> str:
        return f"{policy.medium_per_minute}, {policy.high_per_minute}, {policy.critical_per_minute}"

    @admin.display(description="from")
    def least(self, policy: Policy) -> str:
        return f"{policy.minimum_events} events and {money(policy.minimum_amount)}"
