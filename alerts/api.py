"""Alerts over HTTP: a view parses, calls one thing, renders.

Alerts know no producer and no ledger: who calls is whatever the settings' authentication puts into `request.auth`.
"""

from datetime import datetime
from typing import Any, Protocol, cast

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts import bodies, documentation, doorbell, rendering
from alerts.acknowledge import acknowledge
from alerts.asked import Asked, Conflict, Refused
from alerts.channels.base import TransportError
from alerts.deliver import send_test
from alerts.models import AlertGroup, Channel, Delivery, Silence

READ, ACT, ADMIN = "costs:read", "controls:write", "admin"
LARGEST_ID = 2**63 - 1
MOST_SILENCES = 500
NOT_DEAD = "Only a dead delivery can be replayed: this one is on its way, or was sent or dropped."
OUTDATED = "This is not true any more: its incident is over, or something later was to be said through the channel."


class Key(Protocol):
    """Who calls: None as personas means all."""

    @property
    def visible_personas(self) -> list[str] | None: ...


class AlertsView(APIView):
    """Who may read costs may look; acting takes a scope of its own."""

    required_scope = READ
    acting_scope = ACT

    def check_permissions(self, request: Request) -> None:
        self.required_scope = READ if request.method in SAFE_METHODS else self.acting_scope
        super().check_permissions(request)

    @staticmethod
    def personas_of(request: Request) -> list[str] | None:
        return cast(Key, request.auth).visible_personas

    @staticmethod
    def actor_of(request: Request) -> str:
        return f"key {request.auth}"

    def group(self, request: Request, alert_id: int) -> AlertGroup:
        """Raises NotFound, also for what belongs to others."""
        visible = AlertGroup.objects.visible_to(self.personas_of(request))
        group = visible.filter(pk=alert_id, total__gt=0).first() if alert_id <= LARGEST_ID else None
        if group is None:
            raise NotFound(f"No alert {alert_id} is known.")
        return group


class AlertListView(AlertsView):
    @extend_schema(**documentation.LIST_ALERTS)
    def get(self, request: Request) -> Response:
        """The incidents that people are told about: all that one rule found for one persona; newest first."""
        visible = AlertGroup.objects.visible_to(self.personas_of(request)).filter(total__gt=0)
        groups, cursor = Asked.of(request.query_params.dict()).page(visible)
        return Response({"alerts": [rendering.group(group) for group in groups], "cursor": cursor})


class AlertView(AlertsView):
    @extend_schema(**documentation.GET_ALERT)
    def get(self, request: Request, alert_id: int) -> Response:
        """An incident with what fires in it, what was said where, and why something was not said."""
        return Response(rendering.whole_group(self.group(request, alert_id)))


class AcknowledgeView(AlertsView):
    @extend_schema(**documentation.ACKNOWLEDGE_ALERT)
    def post(self, request: Request, alert_id: int) -> Response:
        """Take an incident: it is not repeated and not escalated any more, until it gets worse. Safe to do twice."""
        group = self.group(request, alert_id)
        bodies.read(request, bodies.Nothing)
        if not acknowledge(group.pk, by=self.actor_of(request), at=now()):
            group.refresh_from_db()
            if not group.is_open:
                raise Conflict("This is over: there is nothing to take.")
        return Response(rendering.whole_group(self.group(request, alert_id)))


class SilencesView(AlertsView):
    @extend_schema(**documentation.LIST_SILENCES)
    def get(self, request: Request) -> Response:
        """The silences in force, the one that ends last first; `all=true` lists the latest 500, ended or not."""
        at = now()
        found = Silence.objects.visible_to(self.personas_of(request))
        found = found.order_by("-pk") if _all(request) else found.in_force(at).order_by("-ends_at", "-pk")
        return Response({"silences": [rendering.silence(each, at) for each in found[:MOST_SILENCES]]})

    @extend_schema(**documentation.MAKE_SILENCE)
    def post(self, request: Request) -> Response:
        """Say nothing new about a persona, a type, or both for a while. What still fires at its end is said then."""
        at = now()
        silence = bodies.read(request, bodies.NewSilence).silence(owner=self.actor_of(request), at=at)
        personas = self.personas_of(request)
        if personas is not None and silence.persona_id not in personas:
            raise Refused("persona_id", "must be a persona of this key, which is bound")
        silence.save()
        headers = {"Location": f"/silences/{silence.pk}"}
        return Response(rendering.silence(silence, at), status=201, headers=headers)


class SilenceView(AlertsView):
    @extend_schema(**documentation.GET_SILENCE)
    def get(self, request: Request, silence_id: int) -> Response:
        """One silence, in force or over."""
        return Response(rendering.silence(self._silence(request, silence_id), now()))

    @extend_schema(**documentation.END_SILENCE)
    def delete(self, request: Request, silence_id: int) -> Response:
        """End a silence: what it held back and still fires is said within seconds. Safe to do twice."""
        silence, at = self._silence(request, silence_id), now()
        silence.end(self.actor_of(request), at)
        return Response(rendering.silence(silence, at))

    def _silence(self, request: Request, silence_id: int) -> Silence:
        visible = Silence.objects.visible_to(self.personas_of(request))
        silence = visible.filter(pk=silence_id).first() if silence_id <= LARGEST_ID else None
        if silence is None:
            raise NotFound(f"No silence {silence_id} is known.")
        return silence


class ChannelsView(AlertsView):
    @extend_schema(**documentation.LIST_CHANNELS)
    def get(self, request: Request) -> Response:
        """Where alerts can be said, and whether that works. Secrets are never shown; a bound key sees no channel."""
        channels = Channel.objects.select_related("fallback").order_by("pk")
        shown = [] if self.personas_of(request) is not None else [rendering.channel(each) for each in channels]
        return Response({"channels": shown})


class ChannelTestView(AlertsView):
    acting_scope = ADMIN

    @extend_schema(**documentation.TEST_CHANNEL)
    def post(self, request: Request, name: str) -> Response:
        """Send a test through a channel now; the answer tells whether its receiver took it."""
        channel = Channel.objects.select_related("fallback").filter(name=name.replace("\0", "")).first()
        if channel is None or self.personas_of(request) is not None:
            raise NotFound(f"No channel {name} is known.")
        bodies.read(request, bodies.Nothing)
        return Response(_tested(channel, at=now()))


class ReplayView(AlertsView):
    @extend_schema(**documentation.REPLAY_DELIVERY)
    def post(self, request: Request, delivery_id: int) -> Response:
        """Try a dead delivery again, now. Not one whose incident is over: its receiver would never hear the end."""
        visible = Delivery.objects.filter(pk=delivery_id)
        personas = self.personas_of(request)
        if personas is not None:
            visible = visible.filter(group__persona_id__in=personas)
        if delivery_id > LARGEST_ID or not visible.exists():
            raise NotFound(f"No delivery {delivery_id} is known.")
        bodies.read(request, bodies.Nothing)
        if not visible.replay(now()):
            raise Conflict(OUTDATED if visible.dead().exists() else NOT_DEAD)
        doorbell.ring([delivery_id])
        return Response(rendering.delivery(Delivery.objects.select_related("channel").get(pk=delivery_id)))


def _all(request: Request) -> bool:
    asked = request.query_params.dict()
    if unknown := sorted(set(asked) - {"all"}):
        raise Refused(unknown[0], "is no parameter; there is: all")
    if asked.get("all", "false") not in ("true", "false"):
        raise Refused("all", "must be true or false")
    return asked.get("all") == "true"


def _tested(channel: Channel, *, at: datetime) -> dict[str, Any]:
    try:
        receipt = send_test(channel, at=at)
    except TransportError as error:
        return {"channel": channel.name, "delivered": False, "receipt": None, "error": str(error)}
    return {"channel": channel.name, "delivered": True, "receipt": receipt, "error": None}
