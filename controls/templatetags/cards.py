"""How cards write money: to be read at a glance, with every digit for whoever points at it."""

from decimal import ROUND_HALF_EVEN, Decimal

from django import template
from django.utils.html import format_html

from costs.templatetags.ledger import money

register = template.Library()
SMALLEST = Decimal("0.0001")


@register.filter
def glance(value: Decimal) -> str:
    """Dollars to a hundredth of a cent; what is less than that never looks like nothing."""
    rounded = value.quantize(SMALLEST, ROUND_HALF_EVEN)
    if value and not rounded:
        return format_html('<span title="{}">{}</span>', money(value), f"under {money(SMALLEST)}")
    return format_html('<span title="{}">{}</span>', money(value), money(rounded))
