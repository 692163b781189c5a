"""What a notice says, in the words that all channels share. Every value is a stranger's: one line, no control codes."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from alerts import steps
from alerts.channels.base import Event, Notice
from alerts.templates import TEMPLATES, Kind, render, template_of, validate

HEADINGS = {
    Event.OPENED: "🚨 COST ANOMALY DETECTED",
    Event.ESCALATED: "🔺 COST ANOMALY ESCALATED",
    Event.UNACKNOWLEDGED: "⏰ COST ANOMALY NOT ACKNOWLEDGED",
    Event.REPEATED: "🔁 COST ANOMALY STILL OPEN",
    Event.ACKNOWLEDGED: "👀 COST ANOMALY ACKNOWLEDGED",
    Event.RESOLVED: "✅ COST ANOMALY RESOLVED",
    Event.DIGEST: "📋 COST ALERT DIGEST",
    Event.TEST: "🔔 TEST OF THIS CHANNEL",
}
# What these tell of is no anomaly of costs, and nobody detected it: an engine or a person did it.
_DONE_ABOUT_COSTS = {
    **dict.fromkeys((*steps.INCIDENTS, "pause_held_back"), "CIRCUIT BREAKER"),
    "emergency_override": "EMERGENCY OVERRIDE",
}
# These are not about one incident: there is no type and no severity to tell.
_WITHOUT_INCIDENT = {Event.DIGEST, Event.TEST}
# What is over is not told as if it had just begun.
_WITH_TEMPLATE = {Event.OPENED, Event.ESCALATED, Event.UNACKNOWLEDGED, Event.REPEATED}

# Line ends and other control codes fake lines; the marks for the direction of writing turn them around.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_LINK = re.compile(r"https?://[^\s<>|\"'\\]{1,1500}")
LONGEST_VALUE = 500
_MOST_DIGITS = 30
# A label, and how the number is printed; None: as it came.
Fact = tuple[str, Callable[[Decimal], str] | None]


def dollars(amount: Decimal) -> str:
    """Three decimals, as the specification shows; an amount too small for them in full."""
    shown = f"{abs(amount):.3f}"
    if amount and not Decimal(shown):
        shown = f"{abs(amount):f}"
    return f"-${shown}" if amount < 0 else f"${shown}"


def plain(value: Decimal) -> str:
    """At most four decimals, without trailing zeros."""
    text = f"{value:.4f}" if abs(value) >= Decimal("0.0001") else f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(value: Decimal) -> str:
    return f"{plain(value)} %"


def times(value: Decimal) -> str:
    return f"{value:.2f}x baseline"


# The facts that carry a unit, by name; what a rule means by one of them where it means something else. None: not told.
_FACTS: dict[str, Fact | None] = {
    "current": ("Current cost", dollars),
    "baseline": ("Baseline", dollars),
    "multiplier": ("Multiplier", times),
    "threshold": ("Threshold", dollars),
    "limit": ("Limit", dollars),
}
_FACTS_OF_RULE: dict[str, dict[str, Fact | None]] = {
    "cost_threshold": {"baseline": ("Threshold", dollars), "multiplier": None},
    "budget_overrun": {"current": ("Spent", dollars), "baseline": ("Limit", dollars), "multiplier": None},
    "forecast": {"current": ("Expected by its end", dollars), "baseline": ("Limit", dollars), "multiplier": None},
    "burn_rate": {"current": ("Burn rate", plain), "baseline": None, "multiplier": None},
    "efficiency_drop": {"current": ("Outcomes per dollar", plain), "baseline": ("Baseline", plain)},
    "negative_roi": {"current": ("Return", percent), "multiplier": ("Revenue for each dollar", dollars)},
    "unpriced": {"current": ("Lines without a price", plain)},
    "no_data": {"current": None, "baseline": ("Share of hours with costs", plain)},
    # Its effect says it in words.
    "emergency_override": {"override": None},
}
# The specification shows the whole text of a spike; whatever else is known of it stands in the blocks and in the mail.
_SHOWN_IN_TEXT = {"cost_spike": ("current", "multiplier")}


def one_line(value: Any, longest: int = LONGEST_VALUE) -> str:
    text = " ".join(_UNPRINTABLE.sub(" ", str(value)[: 4 * longest]).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def heading(notice: Notice) -> str:
    known = HEADINGS[notice.event]
    if subject := _DONE_ABOUT_COSTS.get(notice.rule):
        return known.replace("COST ANOMALY DETECTED", subject).replace("COST ANOMALY", subject)
    return known


def is_detected(notice: Notice) -> bool:
    """Whether it tells of what was found, and not of what was done about it: then its title says it all."""
    return notice.rule not in _DONE_ABOUT_COSTS


def incident_key(notice: Notice) -> str:
    """The same for all steps of one incident of a persona, where receivers hold what is said together."""
    incident = steps.INCIDENTS.get(notice.rule)
    return f"finops-{incident}-{notice.persona_id}" if incident else notice.dedup_key


def rows(notice: Notice) -> list[tuple[str, str]]:
    """(label, value) in the order in which a person reads them."""
    return _rows(notice, notice.facts)


def text(notice: Notice) -> str:
    """The whole notice as plain lines; of an opening spike, byte for byte the lines that the specification shows."""
    told = [heading(notice)]
    if notice.event in _WITHOUT_INCIDENT and notice.title:
        told.append(one_line(notice.title))
    names = notice.facts if notice.event is Event.RESOLVED else _SHOWN_IN_TEXT.get(notice.rule, notice.facts)
    shown = {name: value for name, value in notice.facts.items() if name in names}
    told += [f"{label}: {value}" for label, value in _rows(notice, shown)]
    told += [f"• {one_line(line)}" for line in notice.lines]
    return "\n".join(told)


def sentence(notice: Notice, templates: Any = None) -> str:
    """What happened, in one sentence: the operator's template for this rule, or the title where it has no place."""
    if notice.event in _WITH_TEMPLATE and is_detected(notice):
        name = template_of(notice.rule)
        template = TEMPLATES[name]
        own = str((templates or {}).get(name) or template.text)
        try:
            validate(own, template.variables)
            said = render(own, _values(notice, template.variables))
            # The template for any rule names neither the persona nor a number: the title does.
            return one_line(f"{said} - {notice.title}" if name == "anomaly" and notice.title else said)
        except (ValueError, LookupError):
            # A broken template, or one that needs a fact which this notice has not, must not keep an alert back.
            pass
    return one_line(notice.title) or one_line(f"{notice.rule} {notice.persona_id}")


def instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def absolute(url: str) -> str:
    """The address, if a link in a message can lead there; else an empty text."""
    return url if _LINK.fullmatch(url) else ""


def number(value: Any) -> Decimal | None:
    """The value as a number. Facts come out of JSON as well: as text, or as a number of Python's own."""
    if isinstance(value, bool):
        return None
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        return None
    # Written out, 1e999999 would be a million digits.
    return read if read.is_finite() and abs(read.adjusted()) < _MOST_DIGITS else None


def _rows(notice: Notice, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = []
    if notice.event not in _WITHOUT_INCIDENT:
        told = [("Type", one_line(notice.rule)), ("Severity", notice.severity.upper())]
    if notice.persona_id:
        told.append(("Persona", one_line(notice.persona_id)))
    told += [row for name, value in facts.items() if (row := _fact(notice.event, notice.rule, name, value))]
    if notice.others:
        told.append(("Others", f"{notice.others} more of the same kind"))
    return told


def _fact(event: Event, rule: str, name: str, value: Any) -> tuple[str, str] | None:
    known = {**_FACTS, **_FACTS_OF_RULE.get(rule, {})}
    fact = known[name] if name in known else _by_its_name(name)
    if fact is None:
        return None
    label, printed = fact
    if event is Event.RESOLVED and label == "Current cost":
        label = "Highest cost"
    amount = number(value)
    return label, _told(value) if printed is None or amount is None else printed(amount)


def _by_its_name(name: str) -> Fact:
    """A fact that is in no table may say its unit at its end: cost_usd, used_percent. Else it is told as it came."""
    stem, _, unit = name.rpartition("_")
    printed = {"usd": dollars, "percent": percent}.get(unit) if stem else None
    return one_line((stem if printed else name).replace("_", " ").capitalize(), 60), printed


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return one_line(", ".join(f"{name} {_told(part)}" for name, part in value.items()))
    if isinstance(value, (list, tuple)):
        return one_line("; ".join(_told(part) for part in value))
    return one_line(value)


def _values(notice: Notice, variables: Mapping[str, Kind]) -> dict[str, str | Decimal]:
    facts = notice.facts
    said: dict[str, Any] = {
        "anomaly_type": one_line(notice.rule),
        "severity": notice.severity.upper(),
        "persona_id": one_line(notice.persona_id) or "all personas",
        "title": one_line(notice.title),
        "cost": number(facts.get("current")),
        "current_value": number(facts.get("current")),
        "multiplier": number(facts.get("multiplier")),
        # Rules that have a threshold compare with it: it is their baseline.
        "threshold": number(facts.get("threshold", facts.get("baseline"))),
    }
    return {name: said[name] for name in variables if said[name] is not None}
