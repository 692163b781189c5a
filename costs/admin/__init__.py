"""The audit desk: what was spent and why, what waits, what failed, what things cost, who may call."""

from django.contrib import admin

from costs.admin import inbox, keys, ledger, outcomes, posts, prices, users

admin.site.index_title = "Overview"
admin.site.index_template = "costs/admin/index.html"

__all__ = ["inbox", "keys", "ledger", "outcomes", "posts", "prices", "users"]
