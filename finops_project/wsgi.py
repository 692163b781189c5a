"""The WSGI application that the web server runs."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")
os.environ.setdefault("FINOPS_ROLE", "web")

# The role must stand before the settings are read.
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

# Models exist only now.
from controls import decisions

decisions.warm_up()
