"""Make an API key and print its secret as the last line: it is shown once and stored nowhere.

manage.py create_api_key --name studio --scopes events:write,costs:read --source studio
"""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from costs.models import DEFAULT_SOURCE, ApiKey, Scope

ALL = "all"


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="who will use it")
        parser.add_argument("--scopes", required=True, help=f"some of {', '.join(Scope.values)}, or {ALL}")
        parser.add_argument(
            "--source", help=f"the namespace of its event ids; {DEFAULT_SOURCE}, or the name of a key that is bound"
        )
        parser.add_argument("--persona", action="append", default=[], help="bind the key to this persona; repeatable")
        parser.add_argument("--rate-limit", type=int, default=None, help="requests per minute; no limit when absent")

    def handle(self, *args: Any, **options: Any) -> None:
        source = options["source"] or (options["name"] if options["persona"] else DEFAULT_SOURCE)
        scopes = Scope.values if options["scopes"] == ALL else options["scopes"].split(",")
        try:
            _, secret = ApiKey.issue(
                name=options["name"],
                source=source,
                scopes=scopes,
                personas=options["persona"],
                rate_limit=options["rate_limit"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(secret)
