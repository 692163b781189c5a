"""The Celery application: `celery -A finops_project worker | beat | flower`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "finops_project.settings")

app = Celery("finops_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
