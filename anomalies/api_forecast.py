"""Forecasts over HTTP: a view parses, calls one thing, renders."""

from typing import Any

from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from anomalies import documentation_forecast
from anomalies.capacity import capacity
from anomalies.outlook import outlook
from costs.api import KeyedView
from costs.problems import invalid
from costs.reports import from_replica

PARAMETERS = ("group_by", "persona_id")


class ForecastView(KeyedView):
    @extend_schema(**documentation_forecast.FORECAST)
    def get(self, request: Request) -> Response:
        """What the next 30 days will cost, with the range of 8 in 10 outcomes and how far off such forecasts were.

        A key that sees all personas also reads how much more the engine can take.
        """
        if unknown := sorted(set(request.query_params) - set(PARAMETERS)):
            raise invalid(unknown[0], f"is no parameter; these are: {', '.join(PARAMETERS)}")
        asked: dict[str, Any] = {name: request.query_params[name] for name in request.query_params}
        at, personas = now(), self.key_of(request).visible_personas
        with from_replica():
            found = outlook(at=at, personas=personas, **asked)
        return Response({**found, "capacity": capacity(at) if personas is None else None})
