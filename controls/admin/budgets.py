"""Budgets: how much of each is used, what they may spend, who decided it."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.forms import SimpleArrayField
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import now
from unfold.widgets import UnfoldAdminTextInputWidget

from controls import budgets
from controls.admin.increases import IncreasePages
from controls.admin.savings import SavingsPages
from controls.models import Budget, Usage
from controls.models.budgets import MOST_LEVELS, default_levels
from costs.admin.base import ModelAdmin, ModelForm, badge, unbroken
from costs.templatetags.ledger import money, number, second

PERIODS_SHOWN = 62
UNIT = {"daily": "a day", "weekly": "a week", "monthly": "a month"}


class BudgetForm(ModelForm):
    warn_levels = SimpleArrayField(
        forms.IntegerField(min_value=1, max_value=100),
        min_length=1,
        max_length=MOST_LEVELS,
        initial=default_levels,
        widget=UnfoldAdminTextInputWidget,
        label="Warn at",
        help_text=Budget._meta.get_field("warn_levels").help_text,
    )

    class Meta:
        model = Budget
        fields = ("name", "persona_id", "model", "cost_type", "period", "timezone", "limit", "hard", "warn_levels")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk and "limit" in self.fields:
            self.initial["limit"] = number(self.instance.limit).replace(",", "")


class StateFilter(admin.SimpleListFilter):
    """Active ones unless something else is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("ended", "ended"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, "active"), *self.lookup_choices):
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> QuerySet[Budget]:
        if self.value() == "all":
            return queryset
        return queryset.filter(ended_at__isnull=self.value() != "ended")


@admin.register(Budget)
class BudgetAdmin(SavingsPages, IncreasePages, ModelAdmin):
    form = BudgetForm
    list_display = ("name", "counts", "may_spend", "used", "kind", "state")
    list_filter = (StateFilter, "period", "hard")
    list_filter_sheet = False
    search_fields = ("name", "persona_id", "model", "cost_type")
    search_help_text = "Name, persona, model or cost type"
    sortable_by = ()
    ordering = ("persona_id", "model", "cost_type", "pk")
    list_per_page = 50
    actions = ("end",)
    change_form_outer_before_template = "controls/admin/budget_state.html"
    fieldsets = (
        (None, {"fields": ("name",)}),
        ("What counts", {"fields": ("persona_id", "model", "cost_type", "period", "timezone")}),
        ("What may be spent", {"fields": ("limit", "hard", "warn_levels")}),
    )
    fieldsets_of_one = (
        ("What counts", {"fields": ("counts", "period", "timezone")}),
        ("What may be spent", {"fields": ("name", "limit", "hard", "warn_levels")}),
        ("What is spent", {"fields": ("used", "kind", "state", "by_period", "decided")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Budget | None = None) -> bool:
        # An ended budget still tells what was allowed, and by whom.
        return False

    def has_change_permission(self, request: HttpRequest, obj: Budget | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.ended_at)

    def has_view_permission(self, request: HttpRequest, obj: Budget | None = None) -> bool:
        return super().has_change_permission(request, None) or super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        found: Any = super().get_queryset(request)
        return found.with_spent(now())

    def get_fieldsets(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return self.fieldsets_of_one if obj else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> tuple[str, ...]:
        # What was counted in one scope, period or zone means nothing in another.
        return ("counts", "period", "timezone", "used", "kind", "state", "by_period", "decided") if obj else ()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        try:
            return super().add_view(request, form_url, extra_context)
        except budgets.TooMany as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:controls_budget_changelist"))

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        actor, at = request.user.get_username(), now()
        if not change:
            budgets.create(obj, actor=actor, at=at)
            return
        changes = {name: form.cleaned_data[name] for name in budgets.REVISABLE}
        budgets.revise(obj.pk, changes, actor=actor, at=at)

    @admin.action(description="End: control nothing any more, for ever", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        ended = [
            budgets.end(budget.pk, actor=request.user.get_username(), at=now())
            for budget in queryset.filter(ended_at=None)
        ]
        for budget in ended:
            self.log_change(request, budget, "Ended.")
        if ended:
            self.message_user(request, f"Ended: {', '.join(map(str, ended))}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to end: these had ended before.", messages.WARNING)

    @admin.display(description="counts")
    def counts(self, budget: Budget) -> str:
        words = {"persona_id": "persona", "model": "model", "cost_type": "type"}
        return ", ".join(f"{words[field]} {name}" for field, name in budget.scope.items()) or "everything"

    @admin.display(description="may spend")
    def may_spend(self, budget: Budget) -> str:
        zone = "" if budget.timezone == "UTC" else f" ({budget.timezone})"
        return f"{money(budget.limit)} {UNIT[budget.period]}{zone}"

    @admin.display(description="used")
    def used(self, budget: Budget) -> str:
        usage = budget.usage(now())
        reserved = usage.held + usage.pending
        return format_html(
            '{} {} <span class="finops-nowrap">{} %</span>{}',
            unbroken(money(usage.spent)),
            bar(usage),
            number(usage.used_percent),
            f" and {money(reserved)} held" if reserved else "",
        )

    @admin.display(description="kind")
    def kind(self, budget: Budget) -> str:
        return badge("hard", "warning") if budget.hard else badge("soft", "")

    @admin.display(description="state")
    def state(self, budget: Budget) -> str:
        if budget.ended_at:
            return format_html("{} {}", badge("ended", ""), unbroken(second(budget.ended_at)))
        return standing_badge(budget.usage(now()))

    @admin.display(description="by period")
    def by_period(self, budget: Budget) -> str:
        begun = budget.periods.filter(starts_at__lte=now())
        periods = begun.exclude(spent=0, held=0, pending=0, overrun=0).order_by("-starts_at")[:PERIODS_SHOWN]
        context = {"budget": budget, "periods": periods, "most": PERIODS_SHOWN}
        return render_to_string("controls/admin/_periods.html", context)

    @admin.display(description="decided")
    def decided(self, budget: Budget) -> str:
        return render_to_string("controls/admin/_revisions.html", {"revisions": budget.revisions.order_by("-number")})


def standing_badge(usage: Usage) -> str:
    """How far a budget that has not ended is used."""
    reached = [level for level in usage.warn_levels if usage.used_percent >= level]
    if usage.spent > usage.allowed:
        return badge("overspent", "danger")
    if usage.remaining <= 0 and usage.spent < usage.allowed:
        return badge("full with what is held", "danger")
    return badge(f"{reached[-1]} % reached", "warning") if reached else badge("within", "success")


def bar(usage: Usage) -> str:
    """What is used as a bar, which is full at the limit; the figures beside it say it in words."""
    first, *_, last = (*usage.warn_levels, 100)
    return format_html(
        '<meter min="0" max="100" low="{}" high="{}" optimum="0" value="{}" aria-label="used"></meter>',
        first,
        last,
        min(max(usage.used_percent, 0), 100),
    )
