"""Prices that people keep, and the sheets that lines were priced with."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from unfold.widgets import UnfoldAdminSelectWidget

from costs.admin.base import ModelAdmin, ModelForm, Permanent, unbroken
from costs.models import PriceRate, PriceSheet
from costs.pricing.buckets import BUCKETS, TOKENS
from costs.templatetags.ledger import instant, money, number, second

# No token costs more than a cent: a price above this is one per million, written beside "per 1".
DEAREST_TOKEN = Decimal("0.01")
SHIPPED = "shipped default"


class PriceRateForm(ModelForm):
    class Meta:
        model = PriceRate
        exclude = ("changed_at",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            self.initial["unit_price"] = number(self.instance.unit_price).replace(",", "")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._refuse_what_the_table_refuses(cleaned)
        if not self.errors:
            self._refuse_a_slip_of_a_million(cleaned)
            self._refuse_overlap(cleaned)
        return cleaned

    def _refuse_what_the_table_refuses(self, cleaned: dict[str, Any]) -> None:
        if "unit_price" in cleaned and not 0 <= cleaned["unit_price"] < 1_000_000:
            self.add_error("unit_price", "The price must be at least $0 and below $1,000,000.")
        if cleaned.get("per") == 0:
            self.add_error("per", "A price is for at least 1 unit.")

    def _refuse_a_slip_of_a_million(self, cleaned: dict[str, Any]) -> None:
        if cleaned["bucket"] in TOKENS and cleaned["unit_price"] / cleaned["per"] > DEAREST_TOKEN:
            million = money(cleaned["unit_price"] * 1_000_000 / cleaned["per"])
            self.add_error("per", f"That is {million} for a million tokens. Token prices are per 1,000,000.")

    def _refuse_overlap(self, cleaned: dict[str, Any]) -> None:
        """Two prices of one kind for the same thing at the same time: nobody could say which one holds."""
        same = {name: cleaned[name] for name in ("kind", "cost_type", "provider", "model", "service_tier", "bucket")}
        others = PriceRate.objects.filter(**same).exclude(pk=self.instance.pk)
        others = others.filter(Q(effective_to=None) | Q(effective_to__gt=cleaned["effective_from"]))
        if cleaned["effective_to"]:
            others = others.filter(effective_from__lt=cleaned["effective_to"])
        if other := others.first():
            since = instant(other.effective_from)
            self.add_error("effective_from", f"Overlaps with “{other}”, since {since} UTC. End that one first.")


@admin.register(PriceRate)
class PriceRateAdmin(ModelAdmin):
    form = PriceRateForm
    list_display = ("bucket", "price", "kind_name", "names", "since", "until", "stands")
    list_per_page = 50
    list_filter = ("kind", "bucket", "provider", "model")
    search_fields = ("provider", "model", "bucket", "note")
    search_help_text = "Provider, model, bucket or note"
    sortable_by = ()
    ordering = ("kind", "provider", "model", "bucket", "-effective_from")
    list_before_template = "costs/admin/prices_hint.html"
    change_form_outer_before_template = "costs/admin/prices_hint.html"
    fieldsets = (
        ("What is priced", {"fields": (("kind", "bucket"), ("cost_type", "service_tier"), ("provider", "model"))}),
        ("The price", {"fields": (("unit_price", "per"),)}),
        ("When it holds (UTC)", {"fields": ("effective_from", "effective_to")}),
        ("Where it stands", {"fields": ("note",)}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "bucket":
            choices = [("", "choose what is counted"), *((name, name) for name in BUCKETS)]
            return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget, help_text=db_field.help_text)
        return super().formfield_for_dbfield(db_field, request, **options)

    @admin.display(description="price")
    def price(self, rate: PriceRate) -> str:
        return unbroken(money(rate.unit_price) if rate.per == 1 else f"{money(rate.unit_price)} per {rate.per:,}")

    @admin.display(description="kind")
    def kind_name(self, rate: PriceRate) -> str:
        return rate.kind

    @admin.display(description="for")
    def names(self, rate: PriceRate) -> str:
        names = " / ".join(name for name in (rate.cost_type, rate.provider, rate.model) if name) or "anything"
        return f"{names}, {rate.service_tier}" if rate.service_tier else names

    @admin.display(description="from (UTC)")
    def since(self, rate: PriceRate) -> str:
        return unbroken(_bound(rate.effective_from))

    @admin.display(description="until (UTC)")
    def until(self, rate: PriceRate) -> str:
        return unbroken(_bound(rate.effective_to) if rate.effective_to else "further notice")

    @admin.display(description="note")
    def stands(self, rate: PriceRate) -> str:
        # The rest of such a note is the name that the row has in our own list.
        return "shipped" if rate.note.startswith(SHIPPED) else rate.note or "none"


@admin.register(PriceSheet)
class PriceSheetAdmin(Permanent, ModelAdmin):
    list_display = ("id", "names", "buckets", "created")
    search_fields = ("id__exact",)
    search_help_text = "Id, in full"
    ordering = ("-created_at",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    fields = ("id", "names", "created", "prices")
    readonly_fields = fields

    @admin.display(description="made for")
    def names(self, sheet: PriceSheet) -> str:
        given = sheet.content["resolution"]["given"]
        return " / ".join(str(name) for name in given.values() if name)

    @admin.display(description="prices")
    def buckets(self, sheet: PriceSheet) -> str:
        known = len(sheet.content["prices"])
        return f"of {known} buckets" if known else f"none: {sheet.content['missing']}"

    @admin.display(description="first used (UTC)")
    def created(self, sheet: PriceSheet) -> str:
        return unbroken(second(sheet.created_at))

    @admin.display(description="prices")
    def prices(self, sheet: PriceSheet) -> str:
        return render_to_string("costs/admin/_sheet.html", {"sheet": sheet.as_sheet()})


def _bound(moment: datetime) -> str:
    """A day where a price begins or ends at midnight, as nearly all do."""
    return second(moment).removesuffix(" 00:00:00")
