"""Settings as `startproject` makes them.

Nothing of the engine's is imported here: its Celery application would listen to the signals of this one.
"""

import os
from urllib.parse import urlsplit

SECRET_KEY = "only-for-the-benchmark"  # noqa: S105
INSTALLED_APPS = ["bench.plain"]
_database = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": _database.username,
        "PASSWORD": _database.password,
        "HOST": _database.hostname,
        "PORT": _database.port,
    }
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
