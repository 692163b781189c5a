"""The API's documentation as a page."""

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBase
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.exceptions import NotAuthenticated

from costs.problems import is_read_by_a_person


class DocumentationView(SpectacularSwaggerView):
    """A person who is not logged in is asked to; a program without a key gets its problem."""

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, NotAuthenticated) and is_read_by_a_person(self.request):
            return redirect_to_login(self.request.get_full_path())
        return super().handle_exception(exc)
