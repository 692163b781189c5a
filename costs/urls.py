"""The paths of the ledger. A post id may hold slashes."""

from django.urls import path

from costs import api

urlpatterns = [
    path("costs/events", api.EventsView.as_view(), name="events"),
    path("costs/events/<path:event_id>/explain", api.ExplainView.as_view(), name="explain"),
    path("costs/post/<path:post_id>/summary", api.PostSummaryView.as_view(), name="post-summary"),
    path("costs/post/<path:post_id>", api.PostView.as_view(), name="post"),
    path("costs/breakdown", api.BreakdownView.as_view(), name="breakdown"),
    path("outcomes", api.OutcomesView.as_view(), name="outcomes"),
]
