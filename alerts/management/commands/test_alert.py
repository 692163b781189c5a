"""Say a test through a channel, now, and tell whether its receiver took it.

manage.py test_alert slack
manage.py test_alert --all
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from alerts.channels.base import TransportError
from alerts.deliver import send_test
from alerts.models import Channel


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("channel", nargs="?", help="the name of a channel")
        which.add_argument("--all", action="store_true", help="every channel that is switched on")

    def handle(self, *args: Any, **options: Any) -> None:
        failures = [channel.name for channel in _chosen(options) if not self._test(channel)]
        if failures:
            raise CommandError(f"Not delivered: {', '.join(failures)}.")

    def _test(self, channel: Channel) -> bool:
        try:
            receipt = send_test(channel, at=now())
        except TransportError as error:
            self.stderr.write(f"{channel.name}: {error}")
            return False
        self.stdout.write(f"{channel.name}: delivered, receipt {receipt}")
        return True


def _chosen(options: dict[str, Any]) -> list[Channel]:
    channels = Channel.objects.select_related("fallback").order_by("pk")
    if options["all"]:
        return list(channels.filter(enabled=True))
    channel = channels.filter(name=options["channel"]).first()
    if channel is None:
        known = ", ".join(channels.values_list("name", flat=True))
        raise CommandError(f"There is no channel {options['channel']}. There are: {known or 'none'}.")
    return [channel]
