"""The paths of detection."""

from django.urls import path

from anomalies import api, api_forecast

urlpatterns = [
    path("anomalies", api.AnomaliesView.as_view(), name="anomalies"),
    path("anomalies/<int:anomaly_id>", api.AnomalyView.as_view(), name="anomaly"),
    path("anomalies/<int:anomaly_id>/acknowledge", api.AcknowledgeView.as_view(), name="anomaly-acknowledge"),
    path("anomalies/<int:anomaly_id>/false-positive", api.FalsePositiveView.as_view(), name="anomaly-false-positive"),
    path("forecast", api_forecast.ForecastView.as_view(), name="forecast"),
]
