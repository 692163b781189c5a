"""What posts brought, outcome by outcome, as it was told."""

from django.contrib import admin
from django.utils.html import format_html

from costs.admin.base import ModelAdmin, Permanent, unbroken
from costs.models import Outcome
from costs.templatetags.ledger import instant, money, number, post_url, second


@admin.register(Outcome)
class OutcomeAdmin(Permanent, ModelAdmin):
    list_display = ("event", "kind", "how_many", "dollars", "post", "persona", "source", "happened")
    list_filter = ("kind", "timestamp")
    list_filter_sheet = False
    search_fields = ("event_id__exact", "post_id__exact", "persona_id__exact")
    search_help_text = "Event, post or persona, in full"
    ordering = ("-id",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    fields = ("event_id", "source", "kind", "how_many", "dollars", "post", "persona", "happened_exactly", "accepted")
    readonly_fields = fields

    @admin.display(description="event")
    def event(self, outcome: Outcome) -> str:
        return unbroken(outcome.event_id)

    @admin.display(description="quantity")
    def how_many(self, outcome: Outcome) -> str:
        return number(outcome.quantity) or "none"

    @admin.display(description="amount")
    def dollars(self, outcome: Outcome) -> str:
        return money(outcome.amount) or "none"

    @admin.display(description="post")
    def post(self, outcome: Outcome) -> str:
        if not outcome.post_id:
            return "none"
        return format_html('<a class="finops-link" href="{}">{}</a>', post_url(outcome.post_id), outcome.post_id)

    @admin.display(description="persona")
    def persona(self, outcome: Outcome) -> str:
        return outcome.persona_id or "none"

    @admin.display(description="happened (UTC)")
    def happened(self, outcome: Outcome) -> str:
        return unbroken(second(outcome.timestamp))

    @admin.display(description="happened (UTC)")
    def happened_exactly(self, outcome: Outcome) -> str:
        return unbroken(instant(outcome.timestamp))

    @admin.display(description="accepted (UTC)")
    def accepted(self, outcome: Outcome) -> str:
        return unbroken(instant(outcome.created_at))
