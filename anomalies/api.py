"""Anomalies over HTTP: a view parses, calls one thing, renders."""

from typing import Any

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from alerts import bodies, rendering
from alerts.asked import Asked
from anomalies import documentation, incidents
from anomalies.acknowledge import acknowledge, incident_of
from anomalies.detectors import DETECTORS
from anomalies.models import Anomaly, Tolerance, Transition, key_of
from anomalies.models.anomalies import rules, tolerated_scope
from anomalies.wording import page
from controls.api import LARGEST_ID, ControlView
from costs.problems import Problem, invalid


class AnomaliesView(ControlView):
    @extend_schema(**documentation.LIST_ANOMALIES)
    def get(self, request: Request) -> Response:
        """What was found, newest first; those that are open unless `status` says otherwise."""
        asked, known = Asked.of(request.query_params.dict()), [name for name, _ in rules()]
        if asked.anomaly_type not in (None, *known):
            raise invalid("anomaly_type", f"must be one of {', '.join(known)}")
        visible = Anomaly.objects.visible_to(self.key_of(request).visible_personas)
        found, cursor = asked.page(visible)
        return Response({"anomalies": [_rendered(anomaly) for anomaly in found], "cursor": cursor})


class OneAnomalyView(ControlView):
    def anomaly(self, request: Request, anomaly_id: int) -> Anomaly:
        visible = Anomaly.objects.visible_to(self.key_of(request).visible_personas)
        anomaly = visible.filter(pk=anomaly_id).first() if anomaly_id <= LARGEST_ID else None
        if anomaly is None:
            raise Problem(404, f"No anomaly {anomaly_id} is known.")
        return anomaly


class AnomalyView(OneAnomalyView):
    @extend_schema(**documentation.GET_ANOMALY)
    def get(self, request: Request, anomaly_id: int) -> Response:
        """An anomaly with its evidence, its history, who took it, and what is tolerated because of it."""
        return Response(_whole(self.anomaly(request, anomaly_id)))


class AcknowledgeView(OneAnomalyView):
    @extend_schema(**documentation.ACKNOWLEDGE_ANOMALY)
    def post(self, request: Request, anomaly_id: int) -> Response:
        """Take it, and with it the incident that it was told in: all of its type and persona. Safe to do twice."""
        anomaly, note = self.anomaly(request, anomaly_id), bodies.read(request, bodies.Note).note
        if not acknowledge(anomaly, by=self.actor_of(request), note=note, at=now()):
            raise Problem(409, "This is over: there is nothing to take.")
        return Response(_whole(anomaly))


class FalsePositiveView(OneAnomalyView):
    @extend_schema(**documentation.FALSE_POSITIVE)
    def post(self, request: Request, anomaly_id: int) -> Response:
        """Call it a false alarm: it ends, and as much is normal for its type and persona for 30 days."""
        anomaly = self.anomaly(request, anomaly_id)
        bodies.read(request, bodies.Nothing)
        if anomaly.rule not in DETECTORS:
            raise Problem(409, f"{anomaly.rule} was not found by a rule: there is nothing to tolerate.")
        if anomaly.false_positive_by:
            raise Problem(409, f"{anomaly.false_positive_by} has called it a false alarm already.")
        incidents.mark_false_positive(anomaly, actor=self.actor_of(request), at=now())
        return Response(_whole(anomaly))


def _rendered(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "id": anomaly.pk,
        "anomaly_type": anomaly.rule,
        "severity": anomaly.severity,
        "status": "open" if anomaly.is_open else "resolved",
        "persona_id": anomaly.persona_id or None,
        "post_id": anomaly.post_id or None,
        "scope": anomaly.scope,
        "current": anomaly.current,
        "latest": anomaly.latest,
        "baseline": anomaly.baseline,
        "multiplier": anomaly.multiplier,
        "opened_at": anomaly.opened_at,
        "last_seen_at": anomaly.last_seen_at,
        "resolved_at": anomaly.resolved_at,
        "resolution": anomaly.resolution or None,
        "evidence": anomaly.evidence,
        "url": page(anomaly),
    }


def _whole(anomaly: Anomaly) -> dict[str, Any]:
    group = incident_of(anomaly)
    tolerance = Tolerance.objects.filter(rule=anomaly.rule, scope_key=key_of(tolerated_scope(anomaly.scope))).first()
    return {
        **_rendered(anomaly),
        "false_positive_by": anomaly.false_positive_by or None,
        "alert_id": group.pk if group else None,
        "acknowledgement": rendering.acknowledgement(group) if group else None,
        "tolerance": _tolerance(tolerance) if tolerance else None,
        "transitions": [_transition(each) for each in anomaly.transitions.all()],
    }


def _tolerance(tolerance: Tolerance) -> dict[str, Any]:
    return {"up_to": tolerance.up_to, "until": tolerance.until, "by": tolerance.created_by}


def _transition(transition: Transition) -> dict[str, Any]:
    return {
        "at": transition.at,
        "change": transition.change,
        "severity": transition.severity,
        "current": transition.current,
        "actor": transition.actor,
        "reason": transition.reason or None,
    }
