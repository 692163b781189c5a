"""A stock Celery application on a Redis database of its own."""

import os
from urllib.parse import urlsplit, urlunsplit

from celery import Celery

BROKER_DATABASE = "/1"
BROKER_URL = urlunsplit(urlsplit(os.environ["REDIS_URL"])._replace(path=BROKER_DATABASE))

# Never the current application: in the benchmark's own process that is the engine's, which rings through it.
app = Celery("plain", broker=BROKER_URL, set_as_current=False)
app.conf.imports = ["bench.plain.tasks"]
# The one thing that a second look would change: stock Celery opens a database connection for every task.
STOCK_QUEUE, KEPT_QUEUE = "celery", "kept"
app.conf.CELERY_DB_REUSE_MAX = int(os.environ.get("PLAIN_DB_REUSE_MAX", "0"))
