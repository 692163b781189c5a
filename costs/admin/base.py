"""What every admin page of ours shares."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html

if TYPE_CHECKING:
    # Unfold has no types; its class is Django's with another look. At run time Django's are not generic.
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin

    UnfoldAdmin = DjangoModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
else:
    from django.forms import ModelForm
    from unfold.admin import ModelAdmin as UnfoldAdmin

__all__ = ["ModelAdmin", "ModelForm", "Permanent", "badge", "page", "unbroken"]


class ModelAdmin(UnfoldAdmin):
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """An action acts on the chosen rows that there can be: Django itself fails at a key that is none."""
        if ACTION_CHECKBOX_NAME in request.POST:
            sent = request.POST.copy()
            keys = [key for key in sent.getlist(ACTION_CHECKBOX_NAME) if _may_be_a_key(self.model._meta.pk, key)]
            sent.setlist(ACTION_CHECKBOX_NAME, keys)
            request.POST = sent  # type: ignore[assignment]
        return super().changelist_view(request, extra_context)


def _may_be_a_key(field: Any, text: str) -> bool:
    try:
        field.run_validators(field.to_python(text))
    except ValidationError:
        return False
    return "\0" not in text


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
