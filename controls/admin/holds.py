"""What decisions left behind: money that is reserved or still counts, and calls that were turned away."""

from typing import Any

from django.contrib import admin, messages
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.timezone import now

from alerts.admin.base import StateFilter
from controls import holds
from controls.models import Budget, Hold, Refusal
from costs.admin.base import ModelAdmin, Permanent, badge, unbroken
from costs.templatetags.ledger import money, number, second

STATES = {
    Hold.State.OPEN: "warning",
    Hold.State.SETTLED: "success",
    Hold.State.UNPRICED: "danger",
    Hold.State.RELEASED: "",
    Hold.State.EXPIRED: "",
    Hold.State.WRITTEN_OFF: "",
}
PARTS: dict[str, tuple[str, ...]] = {
    "The call": ("persona", "post", "operation", "models", "tokens", "source"),
    "The money": ("estimate", "asked", "came_to", "saved", "counts", "beyond", "budgets"),
    "What became of it": ("state_now", "when", "expires", "closed", "event", "observing"),
}


class HoldFilter(StateFilter):
    first = "open"
    others = ("pending", "settled", "unpriced", "released", "expired", "written off", "all")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Hold]) -> QuerySet[Hold]:
        asked = self.value()
        if asked == "pending":
            return queryset.filter(pending__gt=0)
        return queryset if asked == "all" else queryset.filter(state=asked or Hold.State.OPEN)


class BudgetFilter(admin.SimpleListFilter):
    """Only what counts in one budget, as its page asks for it."""

    title = "budget"
    parameter_name = "budget"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get("budget", "")
        budget = Budget.objects.filter(pk=int(asked)).first() if _is_number(asked) else None
        return [(asked, budget.name)] if budget else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Hold]) -> QuerySet[Hold]:
        asked = self.value()
        return queryset.filter(budget_ids__contains=[int(asked)]) if asked and _is_number(asked) else queryset


@admin.register(Hold)
class HoldAdmin(Permanent, ModelAdmin):
    list_display = ("when", "persona", "what_for", "models", "estimate", "came_to", "counts", "state_now")
    list_display_links = ("when",)
    list_filter = (HoldFilter, BudgetFilter)
    list_filter_sheet = False
    search_fields = ("persona_id__exact", "post_id__exact")
    search_help_text = "Persona or post, in full"
    ordering = ("-pk",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    actions = ("release", "write_off")
    change_form_outer_before_template = "controls/admin/hold_state.html"
    fieldsets = tuple((title, {"fields": fields}) for title, fields in PARTS.items())
    readonly_fields = tuple(name for fields in PARTS.values() for name in fields)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("controls.change_hold")

    @admin.action(description="Release: no call was made", permissions=["end"])
    def release(self, request: HttpRequest, queryset: QuerySet[Hold]) -> None:
        actor, at = request.user.get_username(), now()
        chosen = list(queryset.filter(state=Hold.State.OPEN).values_list("pk", flat=True))
        ended = [holds.release(pk, at=at, by=actor, using=DEFAULT_DB_ALIAS) for pk in chosen]
        released = [hold for hold in ended if hold.state == Hold.State.RELEASED]
        for hold in released:
            self.log_change(request, hold, "Released.")
        if released:
            self.message_user(request, f"{len(released)} released: their budgets have it again.", messages.SUCCESS)
        else:
            words = "Nothing to release: these have ended, or their events were accepted and wait to be booked."
            self.message_user(request, words, messages.WARNING)

    @admin.action(description="Write off: what is pending was never spent", permissions=["end"])
    def write_off(self, request: HttpRequest, queryset: QuerySet[Hold]) -> None:
        actor = request.user.get_username()
        chosen = list(queryset.pending().values_list("pk", flat=True))  # type: ignore[attr-defined]
        for pk in chosen:
            self.log_change(request, holds.write_off(pk, actor=actor, at=now()), "Written off.")
        if chosen:
            self.message_user(request, f"{len(chosen)} written off: their budgets have it again.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to write off: nothing of these is pending.", messages.WARNING)

    @admin.display(description="decided (UTC)")
    def when(self, hold: Hold) -> str:
        return unbroken(second(hold.created_at))

    @admin.display(description="persona")
    def persona(self, hold: Hold) -> str:
        return hold.persona_id or "none"

    @admin.display(description="post")
    def post(self, hold: Hold) -> str:
        return hold.post_id or "none"

    @admin.display(description="for")
    def what_for(self, hold: Hold) -> str:
        return ", ".join(filter(None, (hold.operation, hold.post_id))) or hold.cost_type

    @admin.display(description="model")
    def models(self, hold: Hold) -> str:
        if hold.model == hold.asked_model:
            return hold.model
        return format_html("{} {} {}", hold.model, badge("instead of", "warning"), hold.asked_model)

    @admin.display(description="tokens")
    def tokens(self, hold: Hold) -> str:
        return f"{number(hold.input_tokens)} in, up to {number(hold.output_tokens)} out"

    @admin.display(description="estimate")
    def estimate(self, hold: Hold) -> str:
        return unbroken(money(hold.amount))

    @admin.display(description="with the asked model")
    def asked(self, hold: Hold) -> str:
        return unbroken(money(hold.asked_amount))

    @admin.display(description="came to")
    def came_to(self, hold: Hold) -> str:
        if hold.actual is not None:
            return unbroken(money(hold.actual))
        return {Hold.State.OPEN: "not yet", Hold.State.UNPRICED: "unknown"}.get(Hold.State(hold.state), "nothing")

    @admin.display(description="saved")
    def saved(self, hold: Hold) -> str:
        if hold.actual is None or hold.asked_actual is None:
            return "not known"
        return unbroken(money(hold.asked_actual - hold.actual))

    @admin.display(description="pending")
    def counts(self, hold: Hold) -> str:
        return unbroken(money(hold.pending)) if hold.pending else "none"

    @admin.display(description="booked beyond it")
    def beyond(self, hold: Hold) -> str:
        return unbroken(money(hold.overrun)) if hold.overrun else "none"

    @admin.display(description="budgets")
    def budgets(self, hold: Hold) -> str:
        found = Budget.objects.in_bulk(hold.budget_ids)
        links = ((reverse("admin:controls_budget_change", args=[pk]), budget.name) for pk, budget in found.items())
        return format_html_join(", ", '<a class="finops-link" href="{}">{}</a>', links) or "none"

    @admin.display(description="state")
    def state_now(self, hold: Hold) -> str:
        return badge(hold.state, STATES[Hold.State(hold.state)])

    @admin.display(description="expires (UTC)")
    def expires(self, hold: Hold) -> str:
        return unbroken(second(hold.expires_at))

    @admin.display(description="closed (UTC)")
    def closed(self, hold: Hold) -> str:
        if hold.closed_at is None:
            return "not yet"
        return f"{second(hold.closed_at)} by {hold.closed_by or 'the engine'}"

    @admin.display(description="event")
    def event(self, hold: Hold) -> str:
        return hold.event_id or "none yet"

    @admin.display(description="observed")
    def observing(self, hold: Hold) -> str:
        return f"a policy that only observes would have done: {hold.observed}" if hold.observed else "nothing"


@admin.register(Refusal)
class RefusalAdmin(Permanent, ModelAdmin):
    list_display = ("when", "persona", "what_for", "asked", "turned", "why", "cost", "attempts", "became")
    list_display_links = ("when",)
    list_filter = ("decision", "reason")
    list_filter_sheet = False
    search_fields = ("persona_id__exact", "post_id__exact")
    search_help_text = "Persona or post, in full"
    ordering = ("-pk",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    fields = (
        *("persona", "post", "operation", "asked", "turned", "why", "budget", "cost"),
        *("attempts", "when", "last", "became"),
    )
    readonly_fields = fields

    @admin.display(description="first asked (UTC)")
    def when(self, refusal: Refusal) -> str:
        return unbroken(second(refusal.first_at))

    @admin.display(description="last asked (UTC)")
    def last(self, refusal: Refusal) -> str:
        return unbroken(second(refusal.last_at))

    @admin.display(description="persona")
    def persona(self, refusal: Refusal) -> str:
        return refusal.persona_id or "none"

    @admin.display(description="post")
    def post(self, refusal: Refusal) -> str:
        return refusal.post_id or "none"

    @admin.display(description="for")
    def what_for(self, refusal: Refusal) -> str:
        return ", ".join(filter(None, (refusal.operation, refusal.post_id))) or "not said"

    @admin.display(description="model")
    def asked(self, refusal: Refusal) -> str:
        return unbroken(refusal.model)

    @admin.display(description="answer")
    def turned(self, refusal: Refusal) -> str:
        return badge(refusal.decision, "danger" if refusal.decision == Refusal.Decision.DENY else "warning")

    @admin.display(description="why")
    def why(self, refusal: Refusal) -> str:
        return refusal.reason.replace("_", " ")

    @admin.display(description="would have cost")
    def cost(self, refusal: Refusal) -> str:
        return unbroken(money(refusal.amount))

    @admin.display(description="budget")
    def budget(self, refusal: Refusal) -> str:
        budget = None if refusal.budget_id is None else Budget.objects.filter(pk=refusal.budget_id).first()
        if budget is None:
            return "none"
        url = reverse("admin:controls_budget_change", args=[budget.pk])
        return format_html('<a class="finops-link" href="{}">{}</a>', url, budget.name)

    @admin.display(description="let in (UTC)")
    def became(self, refusal: Refusal) -> str:
        return unbroken(second(refusal.admitted_at)) if refusal.admitted_at else "never"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
