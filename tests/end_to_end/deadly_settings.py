"""The project's settings with one application more."""

from finops_project.settings import *  # noqa: F403
from finops_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.end_to_end.deadly.Deadly"]
