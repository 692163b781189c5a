"""The WSGI application that the web server runs."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")
os.environ.setdefault("FINOPS_ROLE", "web")

# The role must stand before the settings are read.
from django.core.wsgi import get_wsgi_application

served = get_wsgi_application()

# Models exist only now.
from controls import decisions
from finops_project.express import ExpressLane
from finops_project.metrics import listener, processes

application = ExpressLane(served)
decisions.warm_up()
processes.register("web")
listener.start()
