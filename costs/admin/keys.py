"""API keys: made here, shown once, revoked for ever."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.forms import SimpleArrayField
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.timezone import now
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from costs.admin.base import ModelAdmin, ModelForm, badge, page, unbroken
from costs.models import ApiKey, Scope
from costs.templatetags.ledger import second

SCOPES = (
    (Scope.EVENTS_WRITE, "events:write: send cost events and outcomes"),
    (Scope.COSTS_READ, "costs:read: read costs and breakdowns"),
    (Scope.DECISIONS_WRITE, "decisions:write: ask before a call, hold money"),
    (Scope.CONTROLS_WRITE, "controls:write: change budgets and controls"),
    (Scope.ADMIN, "admin: everything"),
)


class ApiKeyForm(ModelForm):
    scopes = forms.MultipleChoiceField(choices=SCOPES, widget=UnfoldAdminCheckboxSelectMultipleWidget)
    personas = SimpleArrayField(
        forms.CharField(max_length=100),
        delimiter="\n",
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="One a line. Bound to these personas, the key sees and writes only them. Empty: all personas.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "source", "scopes", "personas", "rate_limit")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    form = ApiKeyForm
    list_display = ("name", "begins", "source", "may", "sees", "limit", "created", "state")
    ordering = ("-created_at",)
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    fields = ("name", "source", "scopes", "personas", "rate_limit")
    change_form_outer_before_template = "costs/admin/key_state.html"

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # A revoked key still tells who wrote what.
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.revoked_at)

    def has_view_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) or super().has_view_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        # Another source would make the ids of this caller's past events free again.
        return ("source", "begins", "created", "state") if obj else ()

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (*self.fields, "begins", "created", "state") if obj else self.fields

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # One way to save: the answer shows the secret.
        one_way = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **one_way})

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> ApiKey:
        draft: ApiKey = super().save_form(request, form, change)
        if change:
            return draft
        key, secret = ApiKey.issue(**form.cleaned_data)
        # For this request's answer only; it is stored nowhere.
        vars(request)["issued_secret"] = secret
        return key

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret in the answer itself: a redirect would carry it through a cookie or a session row."""
        secret = vars(request).pop("issued_secret")
        return page(request, "costs/admin/key_issued.html", title="API key made", key=obj, secret=secret)

    @admin.action(description="Revoke: refuse these keys from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            key.revoke(at=now())
            self.log_change(request, key, "Revoked.")
        if keys:
            self.message_user(request, f"Revoked: {', '.join(map(str, keys))}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to revoke: these were revoked before.", messages.WARNING)

    @admin.display(description="begins with")
    def begins(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="scopes")
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="personas")
    def sees(self, key: ApiKey) -> str:
        return ", ".join(key.personas) or "all"

    @admin.display(description="requests a minute")
    def limit(self, key: ApiKey) -> str:
        return "no limit" if key.rate_limit is None else f"{key.rate_limit:,}"

    @admin.display(description="made (UTC)")
    def created(self, key: ApiKey) -> str:
        return unbroken(second(key.created_at))

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is None:
            return badge("live", "success")
        return format_html("{} {}", badge("revoked", "danger"), unbroken(second(key.revoked_at)))
