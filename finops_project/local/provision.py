"""Bring a database up to this checkout: migrations, the administrator, and on request one API key.

Runs in a process of its own, because the caller must not load Django with its own environment.
Prints {"api_key": ...} as its last line; everything else goes to the standard error.
"""

import io
import json
import os
import sys

import django
from django.core.management import call_command


def main() -> None:
    django.setup()
    call_command("migrate", interactive=False, stdout=sys.stderr)
    _ensure_administrator(os.environ["DJANGO_SUPERUSER_USERNAME"], os.environ["DJANGO_SUPERUSER_PASSWORD"])
    wanted = sys.argv[1:]
    print(json.dumps({"api_key": _new_api_key(wanted[0]) if wanted else ""}))


def _ensure_administrator(name: str, password: str) -> None:
    # Imported late: models exist only after django.setup().
    from django.contrib.auth.models import User

    user, _created = User.objects.get_or_create(username=name)
    if not (user.is_superuser and user.is_staff and user.is_active and user.check_password(password)):
        user.is_superuser = user.is_staff = user.is_active = True
        user.set_password(password)
        user.save()


def _new_api_key(name: str) -> str:
    output = io.StringIO()
    call_command("create_api_key", name=name, source="local", scopes="all", stdout=output)
    return output.getvalue().strip().splitlines()[-1]


if __name__ == "__main__":
    main()
