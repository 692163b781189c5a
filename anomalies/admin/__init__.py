"""Detection in the admin: what was found, by which levels, what is tolerated, and the first page of all."""

from django.contrib import admin

from anomalies.admin import anomalies, overview, policies, tolerances

admin.site.index_title = "Overview"
admin.site.index_template = "anomalies/admin/index.html"

__all__ = ["anomalies", "overview", "policies", "tolerances"]
