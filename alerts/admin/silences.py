"""Silences: made for a while, with a reason, and ended early when they are not needed."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timezone import now
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from alerts.admin.base import ModelAdmin, ModelForm, StateFilter, badge, unbroken, utc_second
from alerts.models import AlertGroup, Silence

LASTS = {"1 hour": 1, "4 hours": 4, "24 hours": 24, "3 days": 72, "7 days": 168, "30 days": 720}
MOST_SUGGESTED = 200


class SilenceForm(ModelForm):
    lasts = forms.TypedChoiceField(
        choices=[(hours, words) for words, hours in LASTS.items()], coerce=int, widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = Silence
        fields = ("persona_id", "rule", "up_to", "reason")
        widgets = {
            "persona_id": UnfoldAdminTextInputWidget({"list": "known-personas"}),
            "rule": UnfoldAdminTextInputWidget({"list": "known-rules"}),
        }


class InForceFilter(StateFilter):
    first, others = "in force", ("over", "all")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Silence]) -> QuerySet[Silence]:
        at = now()
        in_force = queryset.filter(ended_at=None, starts_at__lte=at, ends_at__gt=at)
        if self.value() == "all":
            return queryset
        return queryset.exclude(pk__in=in_force.values("pk")) if self.value() == "over" else in_force


@admin.register(Silence)
class SilenceAdmin(ModelAdmin):
    form = SilenceForm
    list_display = ("what", "whose", "worst", "reason", "owner", "begins", "ends", "state")
    list_display_links = ("what",)
    list_filter = (InForceFilter,)
    list_filter_sheet = False
    search_fields = ("persona_id", "rule", "owner")
    ordering = ("-ends_at", "-pk")
    sortable_by = ()
    list_per_page = 50
    actions = ("end",)
    fields = (("persona_id", "rule"), "up_to", "lasts", "reason")
    readonly = ("what", "whose", "worst", "reason", "owner", "begins", "ends", "state")
    change_form_outer_before_template = "alerts/admin/silence_state.html"

    def has_change_permission(self, request: HttpRequest, obj: Silence | None = None) -> bool:
        # What was silenced is history; it can only be ended.
        return obj is None and super().has_change_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Silence | None = None) -> bool:
        return super().has_change_permission(request) or super().has_view_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Silence | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Silence | None = None) -> Any:
        return self.readonly if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Silence | None = None) -> Any:
        return self.readonly if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {**(extra_context or {}), **_suggestions(), "may_end": super().has_change_permission(request)}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Silence, form: Any, change: bool) -> None:
        obj.starts_at = now()
        obj.ends_at = obj.starts_at + timedelta(hours=form.cleaned_data["lasts"])
        obj.owner = request.user.get_username()
        super().save_model(request, obj, form, change)

    @admin.action(description="End now: say what still fires", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Silence]) -> None:
        ended = [silence for silence in queryset if silence.end(request.user.get_username(), now())]
        for silence in ended:
            self.log_change(request, silence, "Ended.")
        if ended:
            self.message_user(request, f"Ended: {'; '.join(map(str, ended))}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to end: these were over before.", messages.WARNING)

    @admin.display(description="type")
    def what(self, silence: Silence) -> str:
        return silence.rule or "any"

    @admin.display(description="persona")
    def whose(self, silence: Silence) -> str:
        return silence.persona_id or "any"

    @admin.display(description="up to")
    def worst(self, silence: Silence) -> str:
        return silence.up_to

    @admin.display(description="from (UTC)")
    def begins(self, silence: Silence) -> str:
        return unbroken(utc_second(silence.starts_at))

    @admin.display(description="until (UTC)")
    def ends(self, silence: Silence) -> str:
        return unbroken(utc_second(silence.ends_at))

    @admin.display(description="state")
    def state(self, silence: Silence) -> str:
        if silence.ended_at:
            words = f"by {silence.ended_by}, {utc_second(silence.ended_at)}"
            return format_html("{} {}", badge("ended", ""), words)
        return badge("over", "") if silence.ends_at <= now() else badge("in force", "success")


def _suggestions() -> dict[str, Any]:
    """Names that alerts have heard: a silence of any other would hold nothing back."""
    latest = AlertGroup.objects.order_by("-pk").values_list("persona_id", "rule")[: 10 * MOST_SUGGESTED]
    personas, rules = zip(*latest, strict=True) if latest else ((), ())
    return {
        "known_personas": sorted({*personas} - {""})[:MOST_SUGGESTED],
        "known_rules": sorted({*rules})[:MOST_SUGGESTED],
    }
