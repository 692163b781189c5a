"""Overrides: who overruled the breaker, why and until when; begun and ended here, never changed."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timezone import now
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from alerts.admin.base import StateFilter
from controls import overrides
from controls.admin.base import AN_HOUR, MINUTES, kind_badge
from controls.models import Control, Override
from costs.admin.base import ModelAdmin, ModelForm, badge, unbroken
from costs.templatetags.ledger import second

MOST_SUGGESTED = 200


class OverrideForm(ModelForm):
    is_everybody = forms.BooleanField(label="Everybody", required=False, widget=UnfoldBooleanSwitchWidget)
    lasts = forms.TypedChoiceField(
        choices=[(minutes, words) for words, minutes in MINUTES.items()],
        coerce=int,
        initial=AN_HOUR,
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Override
        fields = ("kind", "persona_id", "reason")
        widgets = {"persona_id": UnfoldAdminTextInputWidget({"list": "known-personas"})}
        help_texts = {"persona_id": "One, or tick everybody."}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # What was left empty by mistake must not pause everybody.
        if bool(cleaned.get("persona_id")) == bool(cleaned.get("is_everybody")):
            raise ValidationError({"persona_id": "Name one persona, or tick everybody."})
        return cleaned


class InForceFilter(StateFilter):
    first, others = "in force", ("over", "all")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Override]) -> QuerySet[Override]:
        at = now()
        if self.value() == "over":
            return queryset.filter(Q(ended_at__isnull=False) | Q(expires_at__lte=at))
        return queryset if self.value() == "all" else queryset.filter(ended_at=None, expires_at__gt=at)


@admin.register(Override)
class OverrideAdmin(ModelAdmin):
    form = OverrideForm
    list_display = ("whose", "what", "reason", "actor", "begins", "ends", "state")
    list_display_links = ("whose",)
    list_filter = (InForceFilter, "kind")
    list_filter_sheet = False
    search_fields = ("persona_id", "actor", "reason")
    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 50
    actions = ("end",)
    fields = ("kind", ("persona_id", "is_everybody"), "lasts", "reason")
    readonly = ("whose", "what", "reason", "actor", "begins", "ends", "state")
    change_form_outer_before_template = "controls/admin/override_state.html"

    def has_change_permission(self, request: HttpRequest, obj: Override | None = None) -> bool:
        # What somebody said is history; it can only be ended.
        return obj is None and super().has_change_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Override | None = None) -> bool:
        return super().has_change_permission(request) or super().has_view_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Override | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Override | None = None) -> Any:
        return self.readonly if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Override | None = None) -> Any:
        return self.readonly if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        known = Control.objects.order_by("-since").values_list("persona_id", flat=True)[:MOST_SUGGESTED]
        ours = {"known_personas": sorted(known), "may_end": super().has_change_permission(request)}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **ours, "at": now()})

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        begun = overrides.begin(
            obj.kind,
            obj.persona_id,
            reason=obj.reason,
            actor=request.user.get_username(),
            for_=timedelta(minutes=form.cleaned_data["lasts"]),
            at=now(),
        )
        obj.pk = begun.pk
        obj.refresh_from_db()

    @admin.action(description="End now: the breaker decides again", permissions=["change"])
    def end(self, request: HttpRequest, queryset: QuerySet[Override]) -> None:
        at, actor = now(), request.user.get_username()
        ended = [overrides.end(each.pk, actor=actor, at=at) for each in queryset.filter(ended_at=None)]
        for override in ended:
            self.log_change(request, override, "Ended.")
        if ended:
            self.message_user(request, f"Ended: {', '.join(map(str, ended))}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to end: these were over before.", messages.WARNING)

    @admin.display(description="persona")
    def whose(self, override: Override) -> str:
        return override.persona_id or "everybody"

    @admin.display(description="word")
    def what(self, override: Override) -> str:
        return kind_badge(override.kind)

    @admin.display(description="from (UTC)")
    def begins(self, override: Override) -> str:
        return unbroken(second(override.starts_at))

    @admin.display(description="until (UTC)")
    def ends(self, override: Override) -> str:
        return unbroken(second(override.expires_at))

    @admin.display(description="state")
    def state(self, override: Override) -> str:
        if override.ended_at:
            return format_html("{} by {}, {}", badge("ended", ""), override.ended_by, second(override.ended_at))
        return badge("over", "") if override.expires_at <= now() else badge("in force", "warning")
