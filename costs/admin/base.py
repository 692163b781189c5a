"""What every admin page of ours shares."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html

if TYPE_CHECKING:
    # Unfold has no types; its class is Django's with another look. At run time Django's are not generic.
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin

    ModelAdmin = DjangoModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
else:
    from django.forms import ModelForm
    from unfold.admin import ModelAdmin

__all__ = ["ModelAdmin", "ModelForm", "Permanent", "badge", "page", "unbroken"]


class Permanent:
    """Rows that nobody edits, adds or deletes by hand, whatever their rights."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def badge(words: str, kind: str) -> str:
    """A word in colour: the word alone must say it. `kind` is a class of admin.css."""
    return format_html('<span class="finops-badge {}">{}</span>', kind, words)


def unbroken(words: str) -> str:
    """What is read as one thing in a narrow column: an instant, a price, an id."""
    return format_html('<span class="finops-nowrap">{}</span>', words)


def page(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """A page of our own inside the admin's frame."""
    frame = admin.site.each_context(request)
    return TemplateResponse(request, template, {**frame, "title": title, **context}, status=status)
