"""The controls over HTTP: a view parses, calls one thing, renders."""

from datetime import datetime
from typing import Any

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from controls import bodies, budgets, documentation
from controls.models import Budget, Usage
from controls.models.budgets import SCOPE
from costs.api import KeyedView
from costs.envelope import body_of
from costs.models import Scope
from costs.problems import Problem, invalid

LIST_PARAMETERS = ("all", "persona_id", "cursor")
PAGE = 500
LARGEST_ID = 2**63 - 1


class ControlView(KeyedView):
    """Who may read costs may look; changing takes a scope of its own."""

    def check_permissions(self, request: Request) -> None:
        self.required_scope = Scope.COSTS_READ if request.method in SAFE_METHODS else Scope.CONTROLS_WRITE
        super().check_permissions(request)

    def actor_of(self, request: Request) -> str:
        return f"key {self.key_of(request)}"


class BudgetsView(ControlView):
    @extend_schema(**documentation.LIST_BUDGETS)
    def get(self, request: Request) -> Response:
        """The budgets that are active, or all, with what each has spent in its current period; oldest first."""
        asked = _asked(request)
        found = Budget.objects.seen_by(self.key_of(request).visible_personas).filter(pk__gt=int(asked.get("cursor", 0)))
        if asked.get("all", "false") == "false":
            found = found.active()
        if "persona_id" in asked:
            found = found.filter(persona_id=asked["persona_id"])
        page = found.order_by("pk")[: PAGE + 1].usages(now())
        cursor = str(page[PAGE - 1].budget_id) if len(page) > PAGE else None
        return Response({"budgets": [_rendered(usage) for usage in page[:PAGE]], "cursor": cursor})

    @extend_schema(**documentation.MAKE_BUDGET)
    def post(self, request: Request) -> Response:
        """Make a budget. What its scope has cost since the period began counts at once."""
        budget = Budget(**bodies.read(body_of(request._request), bodies.NewBudget).fields())
        personas, at = self.key_of(request).visible_personas, now()
        if personas is not None and budget.persona_id not in personas:
            raise invalid("scope.persona_id", "must be a persona of this key, which is bound")
        try:
            budgets.create(budget, actor=self.actor_of(request), at=at)
        except budgets.TooMany as error:
            raise invalid("", str(error)) from None
        return Response(_one(budget.pk, at), status=201, headers={"Location": f"/budgets/{budget.pk}"})


class BudgetView(ControlView):
    @extend_schema(**documentation.GET_BUDGET)
    def get(self, request: Request, budget_id: int) -> Response:
        """A budget with what it has spent in its current period; one that has ended, in its last."""
        self._require(request, budget_id)
        return Response(_one(budget_id, now()))

    @extend_schema(**documentation.REVISE_BUDGET)
    def patch(self, request: Request, budget_id: int) -> Response:
        """Change name, limit, hard or warn_levels: a new revision. Scope, period and time zone never change."""
        self._require(request, budget_id)
        changes, at = bodies.read(body_of(request._request), bodies.BudgetChanges).fields(), now()
        try:
            budgets.revise(budget_id, changes, actor=self.actor_of(request), at=at)
        except budgets.Ended:
            raise invalid("", "This budget has ended and stays as it was: make another.") from None
        return Response(_one(budget_id, at))

    @extend_schema(**documentation.END_BUDGET)
    def delete(self, request: Request, budget_id: int) -> Response:
        """End a budget: it controls nothing any more and stays readable. Safe to do twice."""
        self._require(request, budget_id)
        at = now()
        budgets.end(budget_id, actor=self.actor_of(request), at=at)
        return Response(_one(budget_id, at))

    def _require(self, request: Request, budget_id: int) -> None:
        """Budgets are never deleted and never change their persona: what is there now is there afterwards."""
        visible = Budget.objects.seen_by(self.key_of(request).visible_personas)
        if budget_id > LARGEST_ID or not visible.filter(pk=budget_id).exists():
            raise Problem(404, f"No budget {budget_id} is known.")


def _asked(request: Request) -> dict[str, str]:
    asked = {name: request.query_params[name] for name in request.query_params}
    if unknown := sorted(set(asked) - set(LIST_PARAMETERS)):
        raise invalid(unknown[0], f"is no parameter; these are: {', '.join(LIST_PARAMETERS)}")
    if asked.get("all", "true") not in ("true", "false"):
        raise invalid("all", "must be true or false")
    if not 0 < len(asked.get("persona_id", "any")) <= 100 or "\0" in asked.get("persona_id", ""):
        raise invalid("persona_id", "must be a name of 1 to 100 characters")
    cursor = asked.get("cursor", "0")
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise invalid("cursor", "must be the `cursor` of an earlier answer")
    return asked


def _one(budget_id: int, at: datetime) -> dict[str, Any]:
    (usage,) = Budget.objects.filter(pk=budget_id).usages(at)
    return _rendered(usage)


def _rendered(usage: Usage) -> dict[str, Any]:
    return {
        "id": usage.budget_id,
        "name": usage.name,
        "scope": {name: usage.scope.get(name) for name in SCOPE},
        "period": usage.period,
        "timezone": usage.timezone,
        "limit": usage.limit,
        "hard": usage.hard,
        "warn_levels": usage.warn_levels,
        "increase": usage.increase,
        "spent": usage.spent,
        "held": usage.held,
        "pending": usage.pending,
        "remaining": usage.remaining,
        "used_percent": usage.used_percent,
        "period_starts_at": usage.starts_at,
        "period_ends_at": usage.ends_at,
        "created_at": usage.created_at,
        "ended_at": usage.ended_at,
        "revision": usage.revision,
    }
