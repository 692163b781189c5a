"""Which channels a severity goes to."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from alerts.admin.base import ModelAdmin, ModelForm, severity_badge
from alerts.models import Channel, Route
from alerts.signal import Severity


def channels() -> list[tuple[str, str]]:
    return [(name, name) for name in Channel.objects.order_by("pk").values_list("name", flat=True)]


class RouteForm(ModelForm):
    channels = forms.MultipleChoiceField(
        choices=channels,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None: it is kept here and said nowhere.",
    )

    class Meta:
        model = Route
        fields = ("persona_id", "rule", "severity", "channels")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # A channel that was deleted stands in no box, and saving takes it out.
        if "channels" in self.fields and self.instance.pk:
            known = {name for name, _ in channels()}
            self.initial["channels"] = [name for name in self.instance.channels if name in known]


@admin.register(Route)
class RouteAdmin(ModelAdmin):
    form = RouteForm
    list_display = ("how_bad", "whose", "what", "goes_to")
    list_display_links = ("how_bad",)
    list_filter = ("severity",)
    list_filter_sheet = False
    search_fields = ("persona_id", "rule")
    sortable_by = ()
    fields = ("severity", ("persona_id", "rule"), "channels")
    change_form_outer_before_template = "alerts/admin/route_hint.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        rank = Case(*(When(severity=each, then=each.rank) for each in Severity))
        return super().get_queryset(request).order_by("persona_id", "rule", rank.desc())

    @admin.display(description="severity")
    def how_bad(self, route: Route) -> str:
        return severity_badge(route.severity)

    @admin.display(description="persona")
    def whose(self, route: Route) -> str:
        return route.persona_id or "any"

    @admin.display(description="type")
    def what(self, route: Route) -> str:
        return route.rule or "any"

    @admin.display(description="goes to")
    def goes_to(self, route: Route) -> str:
        return ", ".join(route.channels) or "nowhere"
