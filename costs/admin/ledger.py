"""Ledger lines: found, added up, and explained down to the price of each bucket."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.timezone import now

from costs.admin import posts
from costs.admin.base import ModelAdmin, Permanent, page
from costs.admin.search import (
    DEFAULT_DAYS,
    NAMELESS,
    POSTS_FOUND,
    KnownNames,
    Place,
    Search,
    TooSlow,
    posts_beginning_with,
)
from costs.models import CostEvent, EntryType

STATES = (("", "any"), ("unpriced", "unpriced"), ("deviating", "amount deviates from the price"))


def _day(label: str) -> forms.DateField:
    bounds = [MinValueValidator(date(2000, 1, 1)), MaxValueValidator(date(2999, 12, 31))]
    return forms.DateField(required=False, label=label, validators=bounds, widget=forms.DateInput({"type": "date"}))


class SearchForm(forms.Form):
    """The filter above the list; its cleaned data are the fields of a Search."""

    q = forms.CharField(required=False, max_length=255, label="Post or event")
    # Names are not stripped: a link to one must lead to exactly this one.
    post = forms.CharField(required=False, max_length=255, strip=False, widget=forms.HiddenInput)
    start = _day("From (UTC)")
    end = _day("To, included")
    # Of the first day; the first page leads here from one of its hours.
    hour = forms.IntegerField(required=False, min_value=0, max_value=23, widget=forms.HiddenInput)
    # The first page leads here from what has no name.
    without = forms.ChoiceField(required=False, choices=[("", ""), *NAMELESS.items()], widget=forms.HiddenInput)
    persona_id = forms.CharField(required=False, max_length=100, strip=False, label="Persona")
    cost_type = forms.CharField(required=False, max_length=100, strip=False, label="Type")
    model = forms.CharField(required=False, max_length=100, strip=False, label="Model")
    operation = forms.CharField(required=False, max_length=100, strip=False, label="Operation")
    entry_type = forms.ChoiceField(required=False, label="Entry", choices=[("", "any"), *EntryType.choices])
    state = forms.ChoiceField(required=False, label="State", choices=STATES)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and end < start:
            self.add_error("end", "The last day lies before the first.")
        return cleaned

    def search(self, today: date) -> Search:
        """Raises nothing: fields with errors count as empty. Without anything asked, the last days."""
        search = Search(**{name: value for name, value in self.cleaned_data.items() if value not in (None, "")})
        if search.is_narrow or search.start or search.end:
            return search
        return Search(**{**self.cleaned_data, "start": today - timedelta(days=DEFAULT_DAYS - 1), "hour": None})


@admin.register(CostEvent)
class CostEventAdmin(Permanent, ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path("posts/", wrap(posts.recent_posts), name="costs_post_changelist"),
            path("post/", wrap(posts.one_post), name="costs_post"),
        ]
        return ours + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = SearchForm(request.GET, label_suffix="")
        form.is_valid()
        today = now().date()
        search = form.search(today)
        return page(
            request,
            "costs/admin/lines.html",
            title="Ledger lines",
            form=form,
            search=search,
            without=NAMELESS.get(search.without, ""),
            names=KnownNames.since(today - timedelta(days=DEFAULT_DAYS)),
            is_default_period=bool(search.start) and not form.cleaned_data.get("start"),
            many_posts=len(posts_beginning_with(search.q)) == POSTS_FOUND if search.q else False,
            **_found(search, request),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        line = _line(object_id)
        adjustments = list(CostEvent.objects.filter(adjusts=line.pk).order_by("created_at", "id"))
        amounts = [entry.cost_amount for entry in (line, *adjustments) if entry.cost_amount is not None]
        return page(
            request,
            "costs/admin/line.html",
            title=f"Ledger line {line.pk}",
            line=line,
            price=line.explained(),
            adjusts=line.adjusts and _line(str(line.adjusts)),
            adjustments=adjustments,
            amount_today=sum(amounts, Decimal(0)),
        )


def _found(search: Search, request: HttpRequest) -> dict[str, Any]:
    """The page and the totals; None for what was too slow."""
    found: dict[str, Any] = {"page": None, "totals": None}
    try:
        found["page"] = search.page(Place.parse(request.GET.get("older_than", "")))
        found["totals"] = search.totals()
    except TooSlow:
        pass
    kept = {name: value for name, value in request.GET.items() if name != "older_than" and value}
    found["newest_url"] = f"?{urlencode(kept)}"
    if found["page"] and found["page"].older:
        found["older_url"] = f"?{urlencode({**kept, 'older_than': str(found['page'].older)})}"
    return found


def _line(number: str) -> CostEvent:
    if not number.isdecimal() or len(number) > 18:
        raise Http404("There is no such ledger line.")
    line = CostEvent.objects.select_related("price_sheet").filter(pk=int(number)).first()
    if line is None:
        raise Http404("There is no such ledger line.")
    return line
