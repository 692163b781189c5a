"""The paths of alerts."""

from django.urls import path

from alerts import api

urlpatterns = [
    path("alerts", api.AlertListView.as_view(), name="alerts"),
    path("alerts/<int:alert_id>", api.AlertView.as_view(), name="alert"),
    path("alerts/<int:alert_id>/acknowledge", api.AcknowledgeView.as_view(), name="alert-acknowledge"),
    path("silences", api.SilencesView.as_view(), name="silences"),
    path("silences/<int:silence_id>", api.SilenceView.as_view(), name="silence"),
    path("channels", api.ChannelsView.as_view(), name="channels"),
    path("channels/<str:name>/test", api.ChannelTestView.as_view(), name="channel-test"),
    path("deliveries/<int:delivery_id>/replay", api.ReplayView.as_view(), name="delivery-replay"),
]
