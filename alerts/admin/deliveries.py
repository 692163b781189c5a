"""Messages on their way: what was sent, what waits, what died, and trying the dead ones again."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import now

from alerts import doorbell
from alerts.admin.base import ModelAdmin, ReadOnly, delivery_badge, unbroken, utc_second
from alerts.models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, ModelAdmin):
    list_display = ("what", "incident", "to", "state_now", "attempts", "created", "sent", "outcome")
    list_display_links = ("what",)
    list_filter = ("state", "channel", "event")
    list_filter_sheet = False
    ordering = ("-created_at", "-pk")
    sortable_by = ()
    list_select_related = ("channel", "group")
    show_full_result_count = False
    list_per_page = 50
    actions = ("replay",)
    change_form_outer_before_template = "alerts/admin/replay.html"
    fields = (
        "what",
        "incident",
        "to",
        "state_now",
        "attempts",
        "created",
        "due",
        "sent",
        "receipt_kept",
        "error_kept",
        "instead",
        "message",
    )
    readonly_fields = fields

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.change_delivery")

    @admin.action(description="Replay: try the dead ones again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        dead = list(Delivery.objects.filter(pk__in=queryset.values("pk")).dead())
        chosen = [delivery.pk for delivery in dead]
        replayed = Delivery.objects.filter(pk__in=chosen).replay(now())
        doorbell.ring(replayed)
        for delivery in dead:
            if delivery.pk in replayed:
                self.log_change(request, delivery, "Replayed.")
        if replayed:
            self.message_user(request, f"{len(replayed)} tried again within seconds.", messages.SUCCESS)
        if outdated := len(dead) - len(replayed):
            sentence = "not true any more: the incident is over, or something later was to be said through the channel."
            self.message_user(request, f"{outdated} not replayed, {sentence}", messages.WARNING)
        if not dead:
            self.message_user(request, "Nothing to replay: none of these is dead.", messages.WARNING)

    @admin.display(description="message")
    def what(self, delivery: Delivery) -> str:
        return delivery.event

    @admin.display(description="incident")
    def incident(self, delivery: Delivery) -> str:
        if delivery.group is None:
            return "none"
        url = reverse("admin:alerts_alertgroup_change", args=[delivery.group.pk])
        about = delivery.group.persona_id or "all"
        return format_html('<a class="finops-link" href="{}">{} of {}</a>', url, delivery.group.rule, about)

    @admin.display(description="channel")
    def to(self, delivery: Delivery) -> str:
        return delivery.channel.name

    @admin.display(description="state")
    def state_now(self, delivery: Delivery) -> str:
        return delivery_badge(delivery)

    @admin.display(description="written (UTC)")
    def created(self, delivery: Delivery) -> str:
        return unbroken(utc_second(delivery.created_at))

    @admin.display(description="tried next (UTC)")
    def due(self, delivery: Delivery) -> str:
        return unbroken(utc_second(delivery.due_at)) if delivery.state in ("pending", "sending") else "not any more"

    @admin.display(description="sent (UTC)")
    def sent(self, delivery: Delivery) -> str:
        return unbroken(utc_second(delivery.sent_at) or "not yet")

    @admin.display(description="receipt or error")
    def outcome(self, delivery: Delivery) -> str:
        return (delivery.error or delivery.receipt)[:120] or "none"

    @admin.display(description="receipt")
    def receipt_kept(self, delivery: Delivery) -> str:
        return delivery.receipt or "none"

    @admin.display(description="error")
    def error_kept(self, delivery: Delivery) -> str:
        return delivery.error or "none"

    @admin.display(description="stands in for")
    def instead(self, delivery: Delivery) -> str:
        first = delivery.stands_in_for
        if first is None:
            return "none"
        url = reverse("admin:alerts_delivery_change", args=[first.pk])
        return format_html('<a class="finops-link" href="{}">{}</a>', url, first)

    @admin.display(description="notice")
    def message(self, delivery: Delivery) -> str:
        notice: dict[str, Any] = delivery.stored_notice
        told = {**notice, "facts": dict(notice.get("facts", []))}
        return format_html('<pre class="finops-json">{}</pre>', json.dumps(told, indent=2, ensure_ascii=False))
