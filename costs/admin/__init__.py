"""The audit desk: what was spent and why, what waits, what failed, what things cost, who may call."""

from costs.admin import archives, inbox, keys, ledger, outcomes, posts, prices, schedule, users

__all__ = ["archives", "inbox", "keys", "ledger", "outcomes", "posts", "prices", "schedule", "users"]
