"""How the pages of alerts write times, severities and states."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html

from alerts.channels.wording import absolute
from alerts.models import Delivery, State

SEVERITY_KINDS = {"critical": "danger", "high": "danger", "medium": "warning", "low": ""}
STATE_KINDS = {State.SENT: "success", State.DEAD: "danger", State.PENDING: "warning", State.SENDING: "warning"}

register = template.Library()
register.filter("web_address", absolute)


def badge(words: str, kind: str) -> str:
    """A word in colour: the word alone must say it. `kind` is a class of the stylesheet."""
    return format_html('<span class="finops-badge {}">{}</span>', kind, words)


@register.filter
def severity_badge(severity: str) -> str:
    return badge(severity, SEVERITY_KINDS.get(severity, ""))


@register.filter
def delivery_badge(delivery: Delivery) -> str:
    words = "in a digest" if delivery.state == State.PENDING and delivery.digest_id else delivery.state
    return badge(words, STATE_KINDS.get(State(delivery.state), ""))


@register.filter
def utc_second(value: datetime | None) -> str:
    """2026-11-24 12:00:00, in UTC, as the column's head says."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if value else ""
