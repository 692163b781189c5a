"""The breaker, its overrides, policies and switches, and what decisions left behind, over HTTP."""

from typing import Any
from uuid import UUID

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from controls import (
    asked,
    bodies,
    documentation_holds,
    holds,
    increases,
    overrides,
    policy_changes,
    rendering,
    standing,
    switch_lists,
)
from controls import bodies_controls as sent
from controls import documentation_controls as documentation
from controls.api import LARGEST_ID, ControlView
from controls.budgets import Ended
from controls.models import (
    Budget,
    BudgetIncrease,
    Control,
    ControlTransition,
    Hold,
    Override,
    Policy,
    Refusal,
    SettingChange,
    Switch,
)
from controls.models.breaker import EVERYBODY
from costs.envelope import body_of
from costs.models import CostEvent
from costs.problems import Problem, invalid

BOUND = "A key that is bound to personas does not change what holds for everybody."


class PersonaView(ControlView):
    def personas(self, request: Request) -> list[str] | None:
        """Those that the key may see; None: all."""
        return self.key_of(request).visible_personas

    def require_visible(self, request: Request, persona_id: str) -> None:
        """Raises Problem, for another key's persona as for one that there cannot be."""
        personas = self.personas(request)
        if not asked.is_name(persona_id) or (personas is not None and persona_id not in personas):
            raise Problem(404, f"No persona {persona_id} is known.")

    def require_known(self, request: Request, persona_id: str) -> None:
        """A bound key's own are known: it names them."""
        self.require_visible(request, persona_id)
        if self.personas(request) is None and not _is_known(persona_id):
            raise Problem(404, f"No persona {persona_id} is known.")

    def require_mine(self, request: Request, persona_id: str | None) -> None:
        """Raises Problem where a bound key would act on others."""
        personas = self.personas(request)
        if personas is not None and persona_id not in personas:
            raise invalid("persona_id", "must be a persona of this key, which is bound")

    def require_unbound(self, request: Request) -> None:
        if self.personas(request) is not None:
            raise Problem(403, BOUND)


class ControlsView(PersonaView):
    @extend_schema(**documentation.LIST_CONTROLS)
    def get(self, request: Request) -> Response:
        """The personas that the breaker holds back or an override of their own holds for; or all it ever touched."""
        given, at = asked.read(request, all=asked.switch, persona_id=asked.name, cursor=asked.name), now()
        personas, only = self.personas(request), given.get("persona_id")
        if only is None:
            most, after = asked.PAGE + 1, given.get("cursor", "")
            names = standing.names(at, is_all=given.get("all", False), personas=personas, after=after, most=most)
        else:
            names = [only] if (only in personas if personas is not None else _is_known(only)) else []
        shown, cursor = names[: asked.PAGE], names[asked.PAGE - 1] if len(names) > asked.PAGE else None
        everybodys = overrides.holding(EVERYBODY, overrides.active(at))
        return Response(
            {
                "controls": [rendering.standing(found) for found in standing.standings(shown, at)],
                "override_of_everybody": rendering.override(everybodys) if everybodys else None,
                "cursor": cursor,
            }
        )


class OneControlView(PersonaView):
    @extend_schema(**documentation.GET_CONTROL)
    def get(self, request: Request, persona_id: str) -> Response:
        """Where the breaker stands for a persona; closed where it never acted on it."""
        self.require_known(request, persona_id)
        (found,) = standing.standings([persona_id], now())
        return Response(rendering.standing(found))


class TransitionsView(PersonaView):
    @extend_schema(**documentation.LIST_TRANSITIONS)
    def get(self, request: Request, persona_id: str) -> Response:
        """Every step that the breaker took for a persona, or would have taken where it only observed; newest first."""
        self.require_known(request, persona_id)
        given = asked.read(request, cursor=asked.number)
        found, cursor = asked.page(ControlTransition.objects.filter(persona_id=persona_id), given.get("cursor"))
        return Response({"transitions": [rendering.transition(each) for each in found], "cursor": cursor})


class OverridesView(PersonaView):
    @extend_schema(**documentation.LIST_OVERRIDES)
    def get(self, request: Request) -> Response:
        """Overrides in force, or all, newest first."""
        given = asked.read(request, all=asked.switch, persona_id=asked.name, cursor=asked.number)
        found = _overrides(self.personas(request))
        if not given.get("all"):
            found = found.active(now())
        if "persona_id" in given:
            found = found.filter(persona_id=given["persona_id"])
        rows, cursor = asked.page(found, given.get("cursor"))
        return Response({"overrides": [rendering.override(each) for each in rows], "cursor": cursor})

    @extend_schema(**documentation.MAKE_OVERRIDE)
    def post(self, request: Request) -> Response:
        """Overrule the breaker for a while, in place of the override that held; null is everybody."""
        body = bodies.read(body_of(request._request), sent.NewOverride)
        self.require_mine(request, body.persona_id)
        try:
            override = overrides.begin(
                body.kind,
                body.persona_id or EVERYBODY,
                reason=body.reason,
                actor=self.actor_of(request),
                for_=body.duration,
                at=now(),
            )
        except overrides.Impossible as error:
            raise invalid(error.field, error.sentence) from None
        headers = {"Location": f"/controls/overrides/{override.pk}"}
        return Response(rendering.override(override), status=201, headers=headers)


class OverrideView(PersonaView):
    @extend_schema(**documentation.GET_OVERRIDE)
    def get(self, request: Request, override_id: int) -> Response:
        """One override, in force or over."""
        self._require(request, override_id)
        return Response(rendering.override(Override.objects.get(pk=override_id)))

    @extend_schema(**documentation.END_OVERRIDE)
    def delete(self, request: Request, override_id: int) -> Response:
        """End an override: the breaker decides again. Safe to do twice."""
        self._require(request, override_id)
        return Response(rendering.override(overrides.end(override_id, actor=self.actor_of(request), at=now())))

    def _require(self, request: Request, override_id: int) -> None:
        if override_id > LARGEST_ID or not _overrides(self.personas(request)).filter(pk=override_id).exists():
            raise Problem(404, f"No override {override_id} is known.")


class PoliciesView(PersonaView):
    @extend_schema(**documentation.LIST_POLICIES)
    def get(self, request: Request) -> Response:
        """Every policy, latest first; the one with a null persona is everybody's."""
        given, personas = asked.read(request, cursor=asked.number), self.personas(request)
        visible = Policy.objects.all() if personas is None else Policy.objects.filter(persona_id__in=personas)
        found, cursor = asked.page(visible, given.get("cursor"))
        return Response({"policies": [rendering.policy(each) for each in found], "cursor": cursor})

    @extend_schema(**documentation.REPLACE_EVERYBODYS_POLICY)
    def put(self, request: Request) -> Response:
        """Set everybody's policy; what is left out is as shipped. It holds from the next look on."""
        self.require_unbound(request)
        return _policy(policy_changes.replace(EVERYBODY, _fields(request), actor=self.actor_of(request), at=now()))

    @extend_schema(**documentation.CHANGE_EVERYBODYS_POLICY)
    def patch(self, request: Request) -> Response:
        """Change everybody's policy; what is left out stays."""
        self.require_unbound(request)
        return _policy(policy_changes.change(EVERYBODY, _fields(request), actor=self.actor_of(request), at=now()))


class PolicyView(PersonaView):
    @extend_schema(**documentation.GET_POLICY)
    def get(self, request: Request, persona_id: str) -> Response:
        """The policy that holds for a persona: its own, or everybody's with a null persona."""
        self.require_visible(request, persona_id)
        return _policy(policy_changes.in_force(persona_id))

    @extend_schema(**documentation.REPLACE_POLICY)
    def put(self, request: Request, persona_id: str) -> Response:
        """Set a persona's own policy; what is left out is as shipped."""
        self.require_visible(request, persona_id)
        return _policy(policy_changes.replace(persona_id, _fields(request), actor=self.actor_of(request), at=now()))

    @extend_schema(**documentation.CHANGE_POLICY)
    def patch(self, request: Request, persona_id: str) -> Response:
        """Change a persona's own policy; without one it becomes the one that held, with these changes."""
        self.require_visible(request, persona_id)
        return _policy(policy_changes.change(persona_id, _fields(request), actor=self.actor_of(request), at=now()))

    @extend_schema(**documentation.REMOVE_POLICY)
    def delete(self, request: Request, persona_id: str) -> Response:
        """Take away a persona's own policy; the answer is the one that holds instead. Safe to do twice."""
        self.require_visible(request, persona_id)
        policy_changes.remove(persona_id, actor=self.actor_of(request), at=now())
        return _policy(policy_changes.in_force(persona_id))


class ChangesView(PersonaView):
    @extend_schema(**documentation.LIST_CHANGES)
    def get(self, request: Request) -> Response:
        """Who set which policy and which list of model switches to what, newest first."""
        given = asked.read(request, kind=asked.one_of(SettingChange.Kind.values), cursor=asked.number)
        cursor = given.pop("cursor", None)
        found, older = asked.page(SettingChange.objects.seen_by(self.personas(request)).filter(**given), cursor)
        return Response({"changes": [rendering.setting_change(each) for each in found], "cursor": older})


class SwitchesView(PersonaView):
    @extend_schema(**documentation_holds.LIST_SWITCHES)
    def get(self, request: Request) -> Response:
        """Every dear model with the cheaper ones that may stand in for it, in the order in which they are tried."""
        asked.read(request)
        at = now()
        shown = [rendering.switch(model, targets, at) for model, targets in switch_lists.lists().items()]
        return Response({"switches": shown})


class SwitchView(PersonaView):
    @extend_schema(**documentation_holds.GET_SWITCH)
    def get(self, request: Request, model: str) -> Response:
        """The models that may stand in for one."""
        targets = list(Switch.objects.of(model)) if asked.is_name(model) else []
        if not targets:
            raise Problem(404, f"Nothing stands in for a model {model}.")
        return Response(rendering.switch(model, targets, now()))

    @extend_schema(**documentation_holds.REPLACE_SWITCH)
    def put(self, request: Request, model: str) -> Response:
        """Set the whole list, first choice first; an empty one lets nothing stand in for the model."""
        self.require_unbound(request)
        if not asked.is_name(model):
            raise Problem(404, f"Nothing stands in for a model {model}.")
        targets = bodies.read(body_of(request._request), sent.SwitchTargets).switches(model)
        at = now()
        kept = switch_lists.replace(model, targets, actor=self.actor_of(request), at=at)
        return Response(rendering.switch(model, kept, at))


class RefusalsView(PersonaView):
    @extend_schema(**documentation_holds.LIST_REFUSALS)
    def get(self, request: Request) -> Response:
        """Calls that were throttled or denied, newest first; one that was let in later says when."""
        given = asked.read(
            request, persona_id=asked.name, decision=asked.one_of(Refusal.Decision.values), cursor=asked.number
        )
        cursor = given.pop("cursor", None)
        found, cursor = asked.page(Refusal.objects.seen_by(self.personas(request)).filter(**given), cursor)
        return Response({"refusals": [rendering.refusal(each) for each in found], "cursor": cursor})


class HoldsView(PersonaView):
    @extend_schema(**documentation_holds.LIST_HOLDS)
    def get(self, request: Request) -> Response:
        """Holds of admitted calls, newest first."""
        given = asked.read(
            request,
            persona_id=asked.name,
            post_id=asked.post,
            state=asked.one_of(Hold.State.values),
            pending=asked.switch,
            cursor=asked.key,
        )
        cursor, is_pending = given.pop("cursor", None), given.pop("pending", False)
        found = Hold.objects.seen_by(self.personas(request)).filter(**given)
        rows, older = asked.page(found.pending() if is_pending else found, cursor)
        return Response({"holds": [rendering.hold(each) for each in rows], "cursor": older})


class WriteOffView(PersonaView):
    @extend_schema(**documentation_holds.WRITE_OFF)
    def post(self, request: Request, hold_id: UUID) -> Response:
        """Let go what a closed hold still counts: its call was free, or is paid elsewhere. Safe to do twice."""
        visible = Hold.objects.seen_by(self.personas(request)).filter(pk=hold_id)
        hold = visible.first()
        if hold is None:
            raise Problem(404, f"No hold {hold_id} is known.")
        if hold.state == Hold.State.OPEN:
            raise Problem(409, "This hold is open: its call may still come, or it expires. Release it instead.")
        return Response(rendering.hold(holds.write_off(hold_id, actor=self.actor_of(request), at=now())))


class IncreasesView(PersonaView):
    @extend_schema(**documentation_holds.LIST_INCREASES)
    def get(self, request: Request, budget_id: int) -> Response:
        """A budget's temporary increases, over or not, newest first."""
        _require_budget(budget_id, self.personas(request))
        given, at = asked.read(request, cursor=asked.number), now()
        found, cursor = asked.page(BudgetIncrease.objects.filter(budget_id=budget_id), given.get("cursor"))
        return Response({"increases": [rendering.increase(each, at) for each in found], "cursor": cursor})

    @extend_schema(**documentation_holds.MAKE_INCREASE)
    def post(self, request: Request, budget_id: int) -> Response:
        """Let a budget spend more in each of its periods from now on, until the increase expires."""
        _require_budget(budget_id, self.personas(request))
        at = now()
        fields = bodies.read(body_of(request._request), sent.NewIncrease).fields(at)
        try:
            increase = increases.make(budget_id, actor=self.actor_of(request), at=at, **fields)
        except increases.Impossible as error:
            raise invalid(error.field, error.sentence) from None
        except Ended:
            raise Problem(409, "This budget has ended and stays as it was: make another.") from None
        return Response(rendering.increase(increase, at), status=201)


class IncreaseView(PersonaView):
    @extend_schema(**documentation_holds.END_INCREASE)
    def delete(self, request: Request, budget_id: int, increase_id: int) -> Response:
        """Take an increase back; what was let in on it stays spent. Safe to do twice."""
        _require_budget(budget_id, self.personas(request))
        of_this = BudgetIncrease.objects.filter(budget_id=budget_id)
        if increase_id > LARGEST_ID or not of_this.filter(pk=increase_id).exists():
            raise Problem(404, f"No increase {increase_id} of budget {budget_id} is known.")
        at = now()
        return Response(rendering.increase(increases.end(increase_id, actor=self.actor_of(request), at=at), at))


def _fields(request: Request) -> dict[str, Any]:
    return bodies.read(body_of(request._request), sent.PolicyFields).fields()


def _policy(found: Policy) -> Response:
    return Response(rendering.policy(found))


def _overrides(personas: list[str] | None) -> Any:
    """Everybody's are nobody's: a bound key meets them in the controls of its personas."""
    return Override.objects.all() if personas is None else Override.objects.filter(persona_id__in=personas)


def _require_budget(budget_id: int, personas: list[str] | None) -> None:
    if budget_id > LARGEST_ID or not Budget.objects.seen_by(personas).filter(pk=budget_id).exists():
        raise Problem(404, f"No budget {budget_id} is known.")


def _is_known(persona_id: str) -> bool:
    named = (Control.objects, Override.objects, Policy.objects, CostEvent.objects)
    return any(manager.filter(persona_id=persona_id).exists() for manager in named)
