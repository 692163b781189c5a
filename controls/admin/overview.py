"""The first page, the controls' part: whom they hold back, whose word is in force, and what they saved this month."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from controls import overrides
from controls.admin.base import kind_badge, may_end
from controls.ladder import Level
from controls.models import Override
from controls.models.breaker import EVERYBODY
from controls.savings import savings
from controls.standing import names, standings
from controls.switches import stored
from costs.admin.overview import Read
from costs.admin.search import TooSlow, within
from costs.prices import current_book

# Enough to act on; counting further would only cost time.
COUNTED = 1_000
# The page is worth reading without it.
SAVINGS_MILLISECONDS = 1_000


def wrong(request: HttpRequest, at: datetime) -> Iterator[Read]:
    """Whom the controls hold back, as far as this person may see it."""
    if request.user.has_perm("controls.view_control"):
        yield lambda: _held(request, at)


def money(request: HttpRequest, at: datetime) -> Iterator[Read]:
    """What the controls saved, as far as this person may see it."""
    if request.user.has_perm("controls.view_hold"):
        yield lambda: {"saved": _saved(at)}


def _held(request: HttpRequest, at: datetime) -> dict[str, Any]:
    active = overrides.active(at)
    return {
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


def _saved(at: datetime) -> dict[str, Any]:
    """This UTC month, as the page of savings says it; without its sums where that takes too long."""
    today = at.astimezone(UTC).date()
    period = {"start_date": today.replace(day=1).isoformat(), "end_date": today.isoformat()}
    url = f"{reverse('admin:controls_savings_changelist')}?{urlencode(period)}"
    try:
        with within(SAVINGS_MILLISECONDS):
            return {"url": url, **savings(**period, at=at, prices=current_book(), lists=stored(at))}
    except TooSlow:
        return {"url": url, "saved": None}
