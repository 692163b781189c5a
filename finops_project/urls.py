"""Every path of the HTTP port."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from finops_project.documentation import DocumentationView
from finops_project.health import health, metrics, ready

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("health", health),
    path("ready", ready),
    path("metrics", metrics),
    path("admin/", admin.site.urls),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", DocumentationView.as_view(url_name="schema"), name="docs"),
    path("", include("costs.urls")),
    path("", include("controls.urls")),
    path("", include("alerts.urls")),
    path("", include("anomalies.urls")),
]

handler400 = "costs.problems.bad_request"
handler403 = "costs.problems.forbidden"
handler404 = "costs.problems.not_found"
handler500 = "costs.problems.server_error"
