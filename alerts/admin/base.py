"""What the admin pages of alerts share. The look is that of the ledger's pages, whose code alerts do not import."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html

from alerts.templatetags.alert_pages import badge, delivery_badge, severity_badge, utc_second

if TYPE_CHECKING:
    # Unfold has no types; its class is Django's with another look. At run time Django's are not generic.
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin

    ModelAdmin = DjangoModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
else:
    from django.forms import ModelForm
    from unfold.admin import ModelAdmin

__all__ = [
    "ModelAdmin",
    "ModelForm",
    "ReadOnly",
    "StateFilter",
    "badge",
    "delivery_badge",
    "page",
    "severity_badge",
    "unbroken",
    "utc_second",
]


class ReadOnly:
    """Rows that the engine writes: nobody edits, adds or deletes them by hand, whatever their rights."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StateFilter(admin.SimpleListFilter):
    """Shows `first` unless something else is asked for."""

    title = "state"
    parameter_name = "state"
    first: str
    others: tuple[str, ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(words, words) for words in self.others]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, self.first), *self.lookup_choices):
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": words,
            }


def unbroken(words: str) -> str:
    """What is read as one thing in a narrow column: an instant, an id."""
    return format_html('<span class="finops-nowrap">{}</span>', words)


def page(request: HttpRequest, template: str, *, title: str, **context: Any) -> TemplateResponse:
    """A page of our own inside the admin's frame."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})
