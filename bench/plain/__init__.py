"""The yardstick: what a team would write first. One Celery task for each event, one `objects.create()` in it.

Nothing is tuned and nothing of the engine's is used: settings as `startproject` makes them, Celery's defaults. Its
table has the ledger's columns and the indexes that the same reads need.
"""

from bench.plain.celery import app

__all__ = ["app"]
