"""The tables of alerts: what fires, what was said of it where, and why something was not said."""

from alerts.models.channels import Channel, Route
from alerts.models.deliveries import Delivery, State
from alerts.models.groups import Alert, AlertGroup, Decision
from alerts.models.progress import Progress
from alerts.models.silences import Silence

__all__ = ["Alert", "AlertGroup", "Channel", "Decision", "Delivery", "Progress", "Route", "Silence", "State"]
