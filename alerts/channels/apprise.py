"""Apprise, for services that have no channel of their own here. Off unless FINOPS_APPRISE_ENABLED says otherwise.

Apprise opens its own connections, past our checks of addresses. So only those of its services are let through whose
host is fixed in its code, without options, and redirects are off. It is not installed by default: it would bring six
packages more for something that few turn on (`pip install apprise`).
"""

import logging
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from django.conf import settings as django

from alerts.channels import wording
from alerts.channels.base import Event, Notice, TransportError
from alerts.signal import Severity

# Scheme of Apprise's address, and whose it is.
SERVICES = {
    "discord": "Discord",
    "gchat": "Google Chat",
    "opsgenie": "Opsgenie",
    "pbul": "Pushbullet",
    "pover": "Pushover",
    "tgram": "Telegram",
    "twilio": "Twilio",
}
_ADDRESS = re.compile(r"([a-z]+)://[A-Za-z0-9@:/_.~+#=-]+", re.ASCII)
_KINDS = {Severity.CRITICAL: "failure", Severity.HIGH: "failure", Severity.MEDIUM: "warning", Severity.LOW: "info"}


class Apprise:
    def check(self, settings: Mapping[str, Any]) -> None:
        if not getattr(django, "FINOPS_APPRISE_ENABLED", False):
            raise ValueError("Apprise is turned off: set FINOPS_APPRISE_ENABLED to turn it on.")
        if find_spec("apprise") is None:
            raise ValueError("Apprise is not installed: pip install apprise.")
        address = _ADDRESS.fullmatch(str(settings.get("url") or ""))
        if not address or address[1] not in SERVICES:
            known = ", ".join(f"{scheme}:// ({name})" for scheme, name in SERVICES.items())
            raise ValueError(f"The address must be Apprise's for one of these, without options: {known}.")
        if not _library().Apprise.instantiate(settings["url"], suppress_exceptions=True):
            raise ValueError(f"Apprise does not understand this address of {SERVICES[address[1]]}.")

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        try:
            self.check(settings)
        except ValueError as refusal:
            raise TransportError(str(refusal), permanent=True, channel_broken=True) from None
        library = _library()
        receivers = library.Apprise(asset=library.AppriseAsset(http_redirects=False, async_mode=False))
        receivers.add(settings["url"])
        kind = "success" if notice.event is Event.RESOLVED else _KINDS[notice.severity]
        said = receivers.notify(body=wording.text(notice), title=wording.sentence(notice), notify_type=kind)
        if not said:
            # It does not tell why, so the outbox goes on trying.
            raise TransportError("Apprise did not deliver the message.", permanent=False)
        return "delivered"


def _library() -> ModuleType:
    # Imported when it is used: it is optional, and costs every process some megabytes.
    library = import_module("apprise")
    # Below this it logs addresses, which are secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return library
