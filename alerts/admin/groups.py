"""Incidents: everything that was said of them, everything that was not, and who took them."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.timezone import now
from django.views.decorators.http import require_POST

from alerts.acknowledge import acknowledge
from alerts.admin.base import ModelAdmin, ReadOnly, StateFilter, badge, page, severity_badge, unbroken, utc_second
from alerts.models import AlertGroup, Decision

MOST_ALERTS = 100
MOST_DELIVERIES = 200


class OpenFilter(StateFilter):
    first, others = "open", ("nobody took", "resolved", "all")

    def queryset(self, request: HttpRequest, queryset: QuerySet[AlertGroup]) -> QuerySet[AlertGroup]:
        if self.value() == "all":
            return queryset
        if self.value() == "nobody took":
            return queryset.filter(resolved_at=None, acknowledged_at=None)
        return queryset.filter(resolved_at__isnull=self.value() != "resolved")


@admin.register(AlertGroup)
class AlertGroupAdmin(ReadOnly, ModelAdmin):
    list_display = ("what", "how_bad", "persona", "counted", "opened", "said", "taken", "state")
    list_display_links = ("what",)
    list_filter = (OpenFilter, "severity")
    list_filter_sheet = False
    search_fields = ("persona_id__exact", "rule__exact")
    search_help_text = "Persona or type, in full"
    ordering = ("-opened_at", "-pk")
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertGroup]:
        # A row without alerts only held the place for a lock.
        return super().get_queryset(request).filter(total__gt=0)

    def get_urls(self) -> list[URLPattern]:
        taking = self.admin_site.admin_view(require_POST(self.acknowledge))
        return [path("<int:number>/acknowledge/", taking, name="alerts_acknowledge"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        group = _group(object_id)
        # "firing" comes before "resolved".
        alerts = group.alerts.order_by("status", "-started_at", "-pk")[:MOST_ALERTS]
        deliveries = group.deliveries.select_related("channel").order_by("-sequence", "-pk")[:MOST_DELIVERIES]
        return page(
            request,
            "alerts/admin/group.html",
            title=f"Incident: {group.rule} of {group.persona_id or 'the whole installation'}",
            group=group,
            alerts=alerts,
            deliveries=deliveries,
            not_said=group.decisions.order_by("-last_at", "-pk"),
            state=self.state(group),
            may_take=group.is_open and not group.incident().is_acknowledged and _may_take(request),
        )

    def acknowledge(self, request: HttpRequest, number: int) -> HttpResponse:
        if not _may_take(request):
            raise PermissionDenied
        group = _group(str(number))
        if acknowledge(group.pk, by=request.user.get_username(), at=now()):
            self.log_change(request, group, "Acknowledged.")
            self.message_user(request, "Yours: it is not repeated and not escalated any more.", messages.SUCCESS)
        else:
            self.message_user(request, "It is over, or somebody took it before.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:alerts_alertgroup_change", args=[group.pk]))

    @admin.display(description="type")
    def what(self, group: AlertGroup) -> str:
        return unbroken(group.rule)

    @admin.display(description="severity")
    def how_bad(self, group: AlertGroup) -> str:
        return severity_badge(group.severity)

    @admin.display(description="persona")
    def persona(self, group: AlertGroup) -> str:
        return group.persona_id or "all"

    @admin.display(description="alerts")
    def counted(self, group: AlertGroup) -> str:
        return f"{group.firing:,} of {group.total:,} fire" if group.is_open else f"{group.total:,}"

    @admin.display(description="opened (UTC)")
    def opened(self, group: AlertGroup) -> str:
        return unbroken(utc_second(group.opened_at))

    @admin.display(description="last said (UTC)")
    def said(self, group: AlertGroup) -> str:
        return unbroken(utc_second(group.said_at) or "never")

    @admin.display(description="taken by")
    def taken(self, group: AlertGroup) -> str:
        return group.acknowledged_by or "nobody"

    @admin.display(description="state")
    def state(self, group: AlertGroup) -> str:
        if group.resolved_at:
            return badge("resolved", "success")
        if group.escalated_at and not group.acknowledged_at:
            return badge("escalated", "danger")
        return badge("taken", "") if group.acknowledged_at else badge("open", "warning")


@admin.register(Decision)
class DecisionAdmin(ReadOnly, ModelAdmin):
    list_display = ("why", "sentence", "incident", "count", "first", "last")
    list_display_links = ("why",)
    list_filter = ("reason",)
    list_filter_sheet = False
    search_fields = ("group__persona_id__exact", "group__rule__exact")
    search_help_text = "Persona or type, in full"
    ordering = ("-last_at", "-pk")
    sortable_by = ()
    list_select_related = ("group",)
    show_full_result_count = False
    list_per_page = 50
    fields = ("why", "sentence", "incident", "count", "first", "last", "last_fingerprint")
    readonly_fields = fields

    @admin.display(description="not said, because")
    def why(self, decision: Decision) -> str:
        return unbroken(decision.reason)

    @admin.display(description="incident")
    def incident(self, decision: Decision) -> str:
        url = reverse("admin:alerts_alertgroup_change", args=[decision.group_id])
        about = decision.group.persona_id or "all"
        return format_html('<a class="finops-link" href="{}">{} of {}</a>', url, decision.group.rule, about)

    @admin.display(description="first (UTC)")
    def first(self, decision: Decision) -> str:
        return unbroken(utc_second(decision.first_at))

    @admin.display(description="last (UTC)")
    def last(self, decision: Decision) -> str:
        return unbroken(utc_second(decision.last_at))


def _may_take(request: HttpRequest) -> bool:
    return request.user.has_perm("alerts.change_alertgroup")


def _group(number: str) -> AlertGroup:
    group = AlertGroup.objects.filter(pk=int(number)).first() if number.isdecimal() and len(number) < 19 else None
    if group is None:
        raise Http404("There is no such incident.")
    return group
