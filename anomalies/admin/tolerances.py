"""What people called false alarms, until they take it back."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import now

from anomalies.admin import told
from anomalies.models import Tolerance
from costs.admin.base import ModelAdmin, badge, unbroken
from costs.templatetags.ledger import second


@admin.register(Tolerance)
class ToleranceAdmin(ModelAdmin):
    list_display = ("what", "persona", "normal", "ends", "who", "because", "state")
    list_display_links = ("what",)
    list_filter = ("rule",)
    list_filter_sheet = False
    search_fields = ("persona_id",)
    sortable_by = ()
    ordering = ("-created_at",)
    fields = ("what", "persona", "normal", "ends", "who", "because", "state")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # They are made on the page of the anomaly that they are about.
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="type")
    def what(self, tolerance: Tolerance) -> str:
        return told.title_of(tolerance.rule)

    @admin.display(description="persona")
    def persona(self, tolerance: Tolerance) -> str:
        return tolerance.persona_id or "all"

    @admin.display(description="is normal up to")
    def normal(self, tolerance: Tolerance) -> str:
        return told.tolerated(tolerance.rule, tolerance.up_to)

    @admin.display(description="until (UTC)")
    def ends(self, tolerance: Tolerance) -> str:
        return unbroken(second(tolerance.until))

    @admin.display(description="by")
    def who(self, tolerance: Tolerance) -> str:
        return tolerance.created_by

    @admin.display(description="because of")
    def because(self, tolerance: Tolerance) -> str:
        if tolerance.anomaly_id is None:
            return "an anomaly that is gone"
        url = reverse("admin:anomalies_anomaly_change", args=[tolerance.anomaly_id])
        return format_html('<a class="finops-link" href="{}">anomaly {}</a>', url, tolerance.anomaly_id)

    @admin.display(description="state")
    def state(self, tolerance: Tolerance) -> str:
        return badge("in force", "success") if tolerance.until > now() else badge("over", "")
