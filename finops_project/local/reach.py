"""Let `manage.py` reach the stack of `make up` without a word: nobody should have to copy addresses."""

import os

from finops_project.local.home import Home

REACHED = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url"}


def use_local_stack(home: Home) -> None:
    """Take the addresses from `.run/stack.json`, unless the environment names a database or this is production."""
    if os.environ.get("DATABASE_URL") or os.environ.get("FINOPS_ENV") == "production":
        return
    stack = home.read("stack.json")
    for variable, key in REACHED.items():
        if key in stack and not os.environ.get(variable):
            os.environ[variable] = stack[key]
