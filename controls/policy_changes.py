"""The policies of the breaker as people change them: which one holds, and within which bounds it makes sense.

Every change leaves a SettingChange in its own transaction.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from controls.models import Policy, SettingChange
from controls.models.breaker import EVERYBODY
from costs.events import AMOUNT_LIMIT, EVERY_DIGIT, MONEY_DECIMALS

log = logging.getLogger(__name__)

SWITCHES = (
    *("is_observing", "throttle_requests", "disable_expensive_models", "pause_persona", "alert_human_operator"),
    "on_critical",
)
# Above the first, below the second, with so many decimals.
DECIMALS = {
    "spike_from": (Decimal(1), Decimal(10) ** 7, 2),
    "budget_from": (Decimal(0), Decimal(10) ** 4, 2),
    "roi_from": (-(Decimal(10) ** 4), Decimal(0), 2),
    "leave": (Decimal(0), Decimal(1), 2),
}
MOST = 2**31 - 1
LONGEST_SECONDS = 366 * 86_400
# From the first to the second.
WHOLES = {
    "minimum_events": (0, MOST),
    **dict.fromkeys(("calm_seconds", "stay_seconds", "expiry_seconds", "pause_seconds"), (1, LONGEST_SECONDS)),
    **dict.fromkeys(("medium_per_minute", "high_per_minute", "critical_per_minute"), (1, MOST)),
}
FIELDS = (*SWITCHES, *DECIMALS, "minimum_amount", *WHOLES)


def in_force(persona_id: str) -> Policy:
    """The persona's own, else everybody's, else as shipped and not saved."""
    found = {policy.persona_id: policy for policy in Policy.objects.filter(persona_id__in=[EVERYBODY, persona_id])}
    return found.get(persona_id) or found.get(EVERYBODY) or Policy()


def change(persona_id: str, changes: Mapping[str, Any], *, actor: str, at: datetime) -> Policy:
    """Change some of FIELDS; who has no policy of their own gets one, as the one in force with these changes."""
    with transaction.atomic():
        former = in_force(persona_id)
        return _keep(persona_id, {name: getattr(former, name) for name in FIELDS} | dict(changes), actor, at)


def replace(persona_id: str, fields: Mapping[str, Any], *, actor: str, at: datetime) -> Policy:
    """What is not given is as shipped."""
    shipped = Policy()
    return _keep(persona_id, {name: getattr(shipped, name) for name in FIELDS} | dict(fields), actor, at)


@transaction.atomic
def remove(persona_id: str, *, actor: str, at: datetime) -> bool:
    """Take away a persona's own, so that everybody's holds; whether there was one."""
    deleted, _ = Policy.objects.filter(persona_id=persona_id).exclude(persona_id=EVERYBODY).delete()
    if deleted:
        _record(persona_id, None, actor, at)
        log.info("%s removed the policy of %s", actor, persona_id)
    return bool(deleted)


@transaction.atomic
def save(policy: Policy, *, actor: str, at: datetime) -> None:
    """Keep a policy that was changed as a whole, under the persona that it names."""
    policy.save()
    _record(policy.persona_id, policy, actor, at)
    log.info("%s set the policy of %s", actor, policy.persona_id or "everybody")


def content_of(policy: Policy) -> dict[str, Any]:
    """All FIELDS as JSON has them: fractions are strings, always written the same way."""
    values = {name: getattr(policy, name) for name in FIELDS}
    return {name: f"{value.normalize():f}" if isinstance(value, Decimal) else value for name, value in values.items()}


def fault(name: str, value: Any) -> str:
    """What is wrong with a number of one of FIELDS, in a sentence that follows its name; '' when nothing is."""
    if name in WHOLES:
        least, most = WHOLES[name]
        return "" if least <= value <= most else f"must be a whole number from {least:,} to {most:,}"
    if name == "minimum_amount":
        is_within, words, decimals = 0 <= value < AMOUNT_LIMIT, f"at least 0 and below {AMOUNT_LIMIT:,}", MONEY_DECIMALS
    else:
        low, high, decimals = DECIMALS[name]
        is_within, words = low < value < high, f"above {low:,} and below {high:,}"
    if not is_within:
        return f"must be {words}"
    exponent = value.normalize(EVERY_DIGIT).as_tuple().exponent
    return f"must have at most {decimals} decimals" if exponent < -decimals else ""


@transaction.atomic
def _keep(persona_id: str, fields: Mapping[str, Any], actor: str, at: datetime) -> Policy:
    policy, _ = Policy.objects.update_or_create(persona_id=persona_id, defaults=dict(fields))
    _record(persona_id, policy, actor, at)
    log.info("%s set the policy of %s", actor, persona_id or "everybody")
    return policy


def _record(persona_id: str, policy: Policy | None, actor: str, at: datetime) -> None:
    content = content_of(policy) if policy else None
    SettingChange.objects.create(kind=SettingChange.Kind.POLICY, name=persona_id, content=content, actor=actor, at=at)
