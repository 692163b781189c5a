"""Wiring only: settings, urls, the Celery app, health and the local stack."""

from finops_project.celery import app as celery_app

__all__ = ["celery_app"]
