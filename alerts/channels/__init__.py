"""The channels that exist. A new one is its own file, a line here, and its test."""

from alerts.channels.apprise import Apprise
from alerts.channels.base import Transport
from alerts.channels.email import Email
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from alerts.channels.webhook import Webhook

TRANSPORTS: dict[str, Transport] = {
    "slack": Slack(),
    "pagerduty": PagerDuty(),
    "email": Email(),
    "webhook": Webhook(),
    "apprise": Apprise(),
}
