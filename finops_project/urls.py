"""Every path of the HTTP port."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from finops_project import health

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("health", health.health),
    path("ready", health.ready),
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("costs.urls")),
]

handler400 = "costs.problems.bad_request"
handler403 = "costs.problems.forbidden"
handler404 = "costs.problems.not_found"
handler500 = "costs.problems.server_error"
