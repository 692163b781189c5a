"""Let `manage.py` reach the stack of `make up` without a word: nobody should have to copy addresses."""

import os

from finops_project.local.home import Home

REACHED = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url"}

OF_RECEIVERS = ("FINOPS_SLACK_", "FINOPS_PAGERDUTY_", "FINOPS_ALERT_", "FINOPS_SMTP_", "FINOPS_PUBLIC_URL")


def use_local_stack(home: Home) -> None:
    """Take the addresses of `.run/`, unless the environment names a database or this is production."""
    if os.environ.get("DATABASE_URL") or os.environ.get("FINOPS_ENV") == "production":
        return
    stack = home.read("stack.json")
    for variable, value in _of_receivers(home).items():
        os.environ.setdefault(variable, value)
    for variable, key in REACHED.items():
        if key in stack and not os.environ.get(variable):
            os.environ[variable] = stack[key]


def _of_receivers(home: Home) -> dict[str, str]:
    """Where the stack's own processes send alerts, so that `test_alert` sends there too."""
    environment: dict[str, str] = home.read("launch.json").get("teller", {}).get("environment", {})
    return {name: value for name, value in environment.items() if name.startswith(OF_RECEIVERS)}
