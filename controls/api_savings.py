"""What the controls saved over HTTP, and what else could be: a view parses, calls one thing, renders."""

from typing import Any

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from controls import documentation_savings
from controls.recommendations import recommendations
from controls.savings import savings
from controls.switches import stored
from costs.api import BREAKDOWN_PARAMETERS, REQUIRED_PARAMETERS, KeyedView
from costs.prices import current_book
from costs.problems import invalid
from costs.reports import from_replica

RECOMMENDATION_PARAMETERS = ("days", "persona_id", "rank_by")
LONGEST_NUMBER = 10


class SavingsView(KeyedView):
    @extend_schema(**documentation_savings.SAVINGS)
    def get(self, request: Request) -> Response:
        """What the controls saved in a period, by what they did, and by persona if asked for."""
        asked = _asked(request, BREAKDOWN_PARAMETERS, REQUIRED_PARAMETERS)
        at, personas = now(), self.key_of(request).visible_personas
        prices, lists = current_book(), stored(at)
        with from_replica():
            return Response(savings(**asked, at=at, prices=prices, lists=lists, personas=personas))


class RecommendationsView(KeyedView):
    @extend_schema(**documentation_savings.RECOMMENDATIONS)
    def get(self, request: Request) -> Response:
        """Which persona's operation could use which cheaper model, and what that would have saved with its tokens."""
        asked: dict[str, Any] = _asked(request, RECOMMENDATION_PARAMETERS)
        if "days" in asked:
            asked["days"] = _days(asked["days"])
        at, personas = now(), self.key_of(request).visible_personas
        prices, lists = current_book(), stored(at)
        with from_replica():
            return Response(recommendations(**asked, at=at, prices=prices, lists=lists, personas=personas))


def _days(text: str) -> int:
    """Whether so many are too many is decided where they are used."""
    if not (text.isascii() and text.isdecimal() and len(text) < LONGEST_NUMBER):
        raise invalid("days", "must be a whole number")
    return int(text)


def _asked(request: Request, parameters: tuple[str, ...], required: tuple[str, ...] = ()) -> dict[str, str]:
    if unknown := sorted(set(request.query_params) - set(parameters)):
        raise invalid(unknown[0], f"is no parameter; these are: {', '.join(parameters)}")
    asked = {name: request.query_params[name] for name in parameters if name in request.query_params}
    for name in required:
        if name not in asked:
            raise invalid(name, "is required")
    return asked
