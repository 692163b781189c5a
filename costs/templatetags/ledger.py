"""How pages write money, numbers and times: exactly, and in UTC."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec
from django import template
from django.urls import reverse
from django.utils.html import format_html

register = template.Library()
_encoder = msgspec.json.Encoder(decimal_format="number")


@register.filter
def number(value: Decimal | int | None) -> str:
    """All digits, in groups of three, no trailing zeros and no exponent."""
    if value is None:
        return ""
    text = f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def money(value: Decimal | None) -> str:
    """Dollars to the last of their 12 decimals."""
    if value is None:
        return ""
    return f"-${number(-value)}" if value < 0 else f"${number(value)}"


@register.filter
def change(value: Decimal) -> str:
    """An adjustment, with its sign."""
    return money(value) if value < 0 else f"+{money(value)}"


@register.filter
def aligned(amount: str) -> str:
    """An amount in a column: what it lacks to 8 decimals stays free, so that the points stand beneath each other."""
    _, point, decimals = amount.partition(".")
    return format_html('<span data-free="{}">{}</span>', ("" if point else ".") + "0" * (8 - len(decimals)), amount)


@register.filter
def instant(value: datetime | None) -> str:
    """2026-11-23 12:00:00, with microseconds only where there are any; UTC, as the column's head says."""
    if value is None:
        return ""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


@register.filter
def second(value: datetime | None) -> str:
    """The same without fractions, for lists."""
    return instant(value and value.replace(microsecond=0))


@register.filter
def present(given: dict[str, Any]) -> list[tuple[str, Any]]:
    """What is not empty, in a fixed order."""
    return [(name, given[name]) for name in sorted(given) if given[name]]


@register.filter
def pretty(value: Any) -> str:
    """JSON for eyes; every number keeps its digits."""
    return msgspec.json.format(_encoder.encode(value), indent=2).decode()


@register.filter
def pretty_text(value: str, limit: int = 100_000) -> str:
    """Stored JSON text for eyes; what is not JSON is shown as it is."""
    if len(value) > limit:
        return f"{value[:limit]}…"
    try:
        return msgspec.json.format(value, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return value


@register.filter
def share(part: Decimal, whole: Decimal) -> str:
    """Per cent, for eyes only."""
    return f"{100 * part / whole:.1f} %" if whole else ""


@register.filter
def post_url(post_id: str) -> str:
    return f"{reverse('admin:costs_post')}?{urlencode({'id': post_id})}"


@register.filter
def lines_of_event_url(event_id: str) -> str:
    return f"{reverse('admin:costs_costevent_changelist')}?{urlencode({'q': event_id})}"


@register.filter
def lines_of_post_url(post_id: str) -> str:
    return f"{reverse('admin:costs_costevent_changelist')}?{urlencode({'post': post_id})}"


@register.filter
def rate_url(origin: str) -> str:
    """The row that a unit price comes from, or '' for the bundled list: 'rate 12:0.04/1' is row 12."""
    kind, _, version = origin.partition(" ")
    row, _, _ = version.partition(":")
    if kind not in ("contract", "correction", "rate") or not row.isdecimal():
        return ""
    return reverse("admin:costs_pricerate_change", args=[row])
