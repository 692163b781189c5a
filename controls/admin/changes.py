"""Who set which policy and which list of model switches to what; nobody changes it afterwards."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from controls.models import Policy, SettingChange
from controls.policy_changes import content_of
from costs.admin.base import ModelAdmin, Permanent, badge, unbroken
from costs.templatetags.ledger import second


@admin.register(SettingChange)
class SettingChangeAdmin(Permanent, ModelAdmin):
    list_display = ("when", "kind", "whose", "what", "actor")
    list_display_links = ("when",)
    list_filter = ("kind",)
    list_filter_sheet = False
    search_fields = ("name", "actor")
    search_help_text = "Persona, model or actor"
    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 50
    fields = ("when", "kind", "whose", "what", "actor", "whole")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SettingChange]:
        return SettingChange.objects.with_former()

    @admin.display(description="at (UTC)")
    def when(self, change: SettingChange) -> str:
        return unbroken(second(change.at))

    @admin.display(description="persona or model")
    def whose(self, change: SettingChange) -> str:
        return change.name or "everybody"

    @admin.display(description="change")
    def what(self, change: Any) -> str:
        if change.content is None:
            return badge("removed", "warning")
        if change.kind == SettingChange.Kind.SWITCHES:
            return ", then ".join(target["target"] for target in change.content)
        return differences(change.former or content_of(Policy()), change.content)

    @admin.display(description="as it is from then on")
    def whole(self, change: SettingChange) -> str:
        text = "removed" if change.content is None else json.dumps(change.content, indent=2)
        return format_html("<pre>{}</pre>", text)


def differences(former: dict[str, Any], content: dict[str, Any]) -> str:
    """What a policy has now and had before, or had as shipped when there was none."""
    changed = [name for name in content if content[name] != former.get(name)]
    words = [f"{name.replace('_', ' ')}: {_word(former.get(name))} to {_word(content[name])}" for name in changed]
    return ", ".join(words) or "set as it was"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)
