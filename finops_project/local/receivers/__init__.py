"""Stand-ins for Slack, PagerDuty and a mail server on this machine: they keep what would have been sent and show it."""
