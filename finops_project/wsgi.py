"""The WSGI application that the web server runs."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")
os.environ.setdefault("FINOPS_ROLE", "web")

from django.core.wsgi import get_wsgi_application  # noqa: E402  (the role must stand before settings load)

application = get_wsgi_application()
