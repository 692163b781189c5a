"""Which channels of alerts have a stand-in on this machine: those for which nobody has given an address."""

from collections.abc import Mapping
from dataclasses import dataclass

from finops_project.local.ports import LOOPBACK

# Whoever sets one of these has a receiver of his own for that channel.
OWN = {
    "slack": "FINOPS_SLACK_WEBHOOK_URL",
    "pagerduty": "FINOPS_PAGERDUTY_ROUTING_KEY",
    "email": "FINOPS_ALERT_EMAIL_TO",
}
RECEIVER = "oncall@localhost"
ENDPOINTS = "FINOPS_ALERT_TEST_ENDPOINTS"
# As long as a real one; it opens nothing.
ROUTING_KEY = "stand1in2for3a4pager5on6loopback"


@dataclass(frozen=True, slots=True)
class StandIns:
    """The receivers' two ports, and the channels that are sent there; without channels there are no receivers."""

    http_port: int
    smtp_port: int
    channels: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}" if self.channels else ""

    def settings(self, given: Mapping[str, str]) -> dict[str, str]:
        """What the application is told on top of what the operator has given."""
        told: dict[str, str] = {}
        for channel in self.channels:
            told |= self._of(channel)
        if {"slack", "pagerduty"} & set(self.channels):
            told[ENDPOINTS] = ",".join(filter(None, [given.get(ENDPOINTS), self.url]))
        return told

    def _of(self, channel: str) -> dict[str, str]:
        match channel:
            case "slack":
                return {OWN["slack"]: f"{self.url}/slack"}
            case "pagerduty":
                return {OWN["pagerduty"]: ROUTING_KEY, "FINOPS_PAGERDUTY_URL": self.url}
            case _:
                server = {"FINOPS_SMTP_HOST": LOOPBACK, "FINOPS_SMTP_PORT": str(self.smtp_port)}
                # A login and TLS belong to the operator's own server, which nobody is told to be mailed through.
                login = {"FINOPS_SMTP_USER": "", "FINOPS_SMTP_PASSWORD": "", "FINOPS_SMTP_TLS": "false"}
                return {OWN["email"]: RECEIVER, **server, **login}


def channels_without_receiver(given: Mapping[str, str]) -> tuple[str, ...]:
    """None in production: stand-ins are for looking at, and `check --deploy` refuses them."""
    if given.get("FINOPS_ENV") == "production":
        return ()
    return tuple(channel for channel, variable in OWN.items() if not given.get(variable))
