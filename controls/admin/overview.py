"""The first page: the ledger's figures, and above them whom the controls hold back and whose word is in force."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.timezone import now

from controls import overrides
from controls.admin.base import kind_badge, may_end
from controls.ladder import Level
from controls.models import Override
from controls.models.breaker import EVERYBODY
from controls.standing import names, standings
from costs.admin import overview

# Enough to act on; counting further would only cost time.
COUNTED = 1_000


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For Unfold's DASHBOARD_CALLBACK."""
    context = overview.context(request, context)
    if not request.user.has_perm("controls.view_control"):
        return context
    at = now()
    active = overrides.active(at)
    return {
        **context,
        "above": ["controls/admin/_in_force.html"],
        "cards": ["controls/admin/_held_card.html"],
        "in_force": [(each, kind_badge(each.kind)) for each in active],
        "may_end": may_end(request),
        "held_back": "everybody" if any(map(_is_pause_of_all, active)) else _held_back(at),
    }


def _is_pause_of_all(override: Override) -> bool:
    return override.persona_id == EVERYBODY and override.kind == Override.Kind.FORCE_OPEN


def _held_back(at: datetime) -> str:
    """How many personas decisions do not simply let through."""
    touched = names(at, is_all=False, personas=None, after="", most=COUNTED + 1)
    held = sum(standing.obeyed is not Level.CLOSED for standing in standings(touched[:COUNTED], at))
    return f"{held:,} or more" if len(touched) > COUNTED else f"{held:,}"
