"""Which cheaper models may stand in for a dear one, in which order."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import now

from controls import switch_lists
from controls.models import Switch
from costs.admin.base import ModelAdmin, badge, unbroken
from costs.templatetags.ledger import number


@admin.register(Switch)
class SwitchAdmin(ModelAdmin):
    list_display = ("model", "position", "target", "retires", "room", "state")
    list_display_links = ("model", "target")
    list_filter_sheet = False
    search_fields = ("model", "target")
    sortable_by = ()
    ordering = ("model", "position", "pk")
    fields = (("model", "target"), "position", ("retired_on", "context_tokens"))
    change_form_outer_before_template = "controls/admin/switch_hint.html"

    def save_model(self, request: HttpRequest, obj: Switch, form: Any, change: bool) -> None:
        # A target that moves to another model changes both lists.
        names = {obj.model, form.initial["model"]} if change else {obj.model}
        with switch_lists.changing(names, actor=request.user.get_username(), at=now()):
            super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Switch) -> None:
        self.delete_queryset(request, Switch.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Switch]) -> None:
        names = set(queryset.values_list("model", flat=True))
        with switch_lists.changing(names, actor=request.user.get_username(), at=now()):
            super().delete_queryset(request, queryset)

    @admin.display(description="retired on")
    def retires(self, switch: Switch) -> str:
        return unbroken(switch.retires_on.isoformat()) if switch.retires_on else "not announced"

    @admin.display(description="context")
    def room(self, switch: Switch) -> str:
        return f"{number(switch.context_tokens)} tokens" if switch.context_tokens else "as the price list has it"

    @admin.display(description="state")
    def state(self, switch: Switch) -> str:
        return badge("alive", "success") if switch.is_alive(now().date()) else badge("retired", "danger")
