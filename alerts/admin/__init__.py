"""Alerts in the admin: incidents, what was said of them where and what was not, channels, routes, silences."""

from alerts.admin import channels, deliveries, groups, routes, silences

__all__ = ["channels", "deliveries", "groups", "routes", "silences"]
