"""Revoke the API keys that begin with a prefix, as the admin shows it. They stop working within a second."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from costs.models import ApiKey


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prefix")

    def handle(self, *args: Any, **options: Any) -> None:
        at, keys = now(), list(ApiKey.objects.filter(prefix=options["prefix"], revoked_at=None))
        if not keys:
            raise CommandError(f"No live key begins with {options['prefix']}.")
        for key in keys:
            key.revoke(at)
            self.stdout.write(f"{key} is revoked.")
