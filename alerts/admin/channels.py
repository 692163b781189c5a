"""Channels: addresses and keys that are written and never shown, a test, and why one is switched off."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.timezone import now
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldBooleanWidget

from alerts import deliver
from alerts.admin.base import ModelAdmin, ModelForm, badge, unbroken, utc_second
from alerts.admin.channel_fields import Setting, settings_of
from alerts.channels.base import TransportError
from alerts.models import Channel
from alerts.rendering import mask


class ChannelForm(ModelForm):
    """A channel with its settings as fields of their own; an empty secret keeps the stored one."""

    kept: tuple[Setting, ...] = ()

    class Meta:
        model = Channel
        fields = ("name", "kind", "fallback")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for setting in self.kept:
            stored = self.instance.settings.get(setting.name)
            field = self.fields.get(setting.field)
            if field and setting.is_secret:
                field.widget.attrs["placeholder"] = f"kept: {mask(stored)}" if stored else setting.otherwise
            elif field:
                self.initial[setting.field] = setting.shown(self.instance.settings)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        if self.kept:
            changed = dict(self.instance.settings)
            for setting in self.kept:
                self._take(setting, changed)
            self.instance.settings = changed
        return cleaned

    def _take(self, setting: Setting, into: dict[str, Any]) -> None:
        if setting.field not in self.cleaned_data:
            return
        try:
            given = setting.read(self.cleaned_data[setting.field])
        except ValueError as error:
            self.add_error(setting.field, str(error))
            return
        is_forgotten = bool(self.cleaned_data.get(setting.forget))
        if given or is_forgotten or not setting.is_secret:
            setting.put(None if is_forgotten else given, into)

    def add_error(self, field: str | None, error: Any) -> None:
        """The model knows its settings as one field; here they are several, so what it says of them is for all."""
        by_field = getattr(error, "error_dict", None)
        if by_field and "settings" in by_field:
            super().add_error(None, ValidationError(by_field.pop("settings")))
            if not by_field:
                return
        super().add_error(field, error)


@admin.register(Channel)
class ChannelAdmin(ModelAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "state", "where", "instead", "paused")
    list_select_related = ("fallback",)
    ordering = ("pk",)
    sortable_by = ()
    change_form_outer_before_template = "alerts/admin/channel_state.html"

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path(f"<int:number>/{name}/", wrap(require_POST(view)), name=f"alerts_channel_{name.replace('-', '_')}")
            for name, view in (("test", self.test), ("switch-on", self.switch_on), ("switch-off", self.switch_off))
        ]
        return ours + super().get_urls()

    def get_form(self, request: HttpRequest, obj: Channel | None = None, change: bool = False, **kwargs: Any) -> Any:
        """A form with a field for each setting of the kind; a new channel gets them once its kind is known."""
        kept = settings_of(obj.kind) if obj and self.has_change_permission(request, obj) else ()
        fields: dict[str, Any] = {"kept": kept, "__module__": __name__}
        for setting in kept:
            fields[setting.field] = setting.form_field()
            if obj and setting.is_secret and obj.settings.get(setting.name):
                fields[setting.forget] = forms.BooleanField(
                    required=False, label=f"Forget this {setting.label.lower()}", widget=UnfoldBooleanWidget
                )
        kwargs["form"] = type("ChannelForm", (ChannelForm,), fields)
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("name", "kind", "fallback")}),)
        if not self.has_change_permission(request, obj):
            return ((None, {"fields": ("name", "kind", "fallback", "state", "where")}),)
        names = [
            name
            for setting in settings_of(obj.kind)
            for name in (setting.field, setting.forget)
            if name == setting.field or (setting.is_secret and obj.settings.get(setting.name))
        ]
        return ((None, {"fields": ("name", "kind", "fallback")}), ("Settings", {"fields": names}))

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> tuple[str, ...]:
        # Routes know it by its name; another kind would need other settings. Make another channel.
        return ("name", "kind", "state", "where") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Channel | None = None) -> bool:
        # What it said would go with it: one that was used is switched off instead.
        return super().has_delete_permission(request, obj) and not (obj and obj.deliveries.exists())

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        channel = Channel.objects.filter(pk=object_id).first() if object_id and object_id.isdecimal() else None
        context = {**(extra_context or {}), "may_act": self.has_change_permission(request)}
        if channel:
            context["outlet"] = channel.outlet()
        return super().changeform_view(request, object_id, form_url, context)

    def response_add(self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, "Made. Its address and keys come next.", messages.SUCCESS)
        return _back(obj.pk)

    def test(self, request: HttpRequest, number: int) -> HttpResponse:
        channel = self._to_change(request, number)
        try:
            receipt = deliver.send_test(channel, at=now())
        except TransportError as error:
            self.message_user(request, f"Not delivered: {error}", messages.ERROR)
        else:
            self.message_user(request, f"Delivered, receipt {receipt}. Look whether it arrived.", messages.SUCCESS)
        self.log_change(request, channel, "Tested.")
        return _back(number)

    def switch_on(self, request: HttpRequest, number: int) -> HttpResponse:
        channel = self._to_change(request, number)
        deliver.switch_on(channel, at=now())
        self.log_change(request, channel, "Switched on.")
        self.message_user(request, "Switched on. Send a test to see that it works.", messages.SUCCESS)
        return _back(number)

    def switch_off(self, request: HttpRequest, number: int) -> HttpResponse:
        channel = self._to_change(request, number)
        channel.switch_off(f"by {request.user.get_username()}", now())
        self.log_change(request, channel, "Switched off.")
        self.message_user(request, "Switched off: what it would say goes to its fallback.", messages.SUCCESS)
        return _back(number)

    def _to_change(self, request: HttpRequest, number: int) -> Channel:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return get_object_or_404(Channel.objects.select_related("fallback"), pk=number)

    @admin.display(description="state")
    def state(self, channel: Channel) -> str:
        outlet = channel.outlet()
        if outlet.unusable is None:
            return badge("ready", "success")
        return badge("switched off", "danger") if not channel.enabled else badge("not configured", "")

    @admin.display(description="says it to")
    def where(self, channel: Channel) -> str:
        given = channel.all_settings()
        if not channel.is_configured:
            return "nobody yet"
        return ", ".join(given["to"]) if channel.kind == "email" else mask(given.get("url") or given)

    @admin.display(description="fallback")
    def instead(self, channel: Channel) -> str:
        return channel.fallback.name if channel.fallback else "none"

    @admin.display(description="paused until (UTC)")
    def paused(self, channel: Channel) -> str:
        return unbroken(utc_second(channel.paused_until)) if channel.paused_until else "no"


def _back(number: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:alerts_channel_change", args=[number]))
