"""Beat's schedule: what runs by the clock, when it last did, and what is late."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.timezone import now

from costs.admin.base import ModelAdmin, Permanent, page
from costs.models import ScheduledRun
from costs.schedule import Entry, entries, last_runs, span


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as the page shows it."""

    entry: Entry
    run: ScheduledRun | None
    late: timedelta | None

    @classmethod
    def of(cls, entry: Entry, run: ScheduledRun | None, at: datetime) -> "Row":
        return cls(entry, run, entry.overdue(run, at) if run else None)

    @property
    def state(self) -> tuple[str, str, str]:
        """Words, icon and class of its badge: the words alone say it."""
        if self.run is None:
            return "has not run yet", "hourglass_empty", "warning"
        if self.late is not None:
            return f"overdue by {span(self.late)}", "alarm", "danger"
        if self.run.has_failed:
            return "the last run failed", "error", "danger"
        return "on time", "check_circle", "success"

    @property
    def took(self) -> str:
        return f"{self.run.seconds * 1000:,.0f} ms" if self.run else ""


@admin.register(ScheduledRun)
class ScheduledRunAdmin(Permanent, ModelAdmin):
    """One page: an entry that never ran has no row, and must be seen all the same."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.changelist_view), name="costs_scheduledrun_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        at, runs = now(), last_runs()
        rows = [Row.of(entry, runs.get(entry.name), at) for entry in entries()]
        return page(
            request,
            "costs/admin/schedule.html",
            title="Schedule",
            rows=rows,
            at=at,
            late=sum(row.late is not None for row in rows),
            stopped=bool(runs) and all(row.late is not None for row in rows if row.run and row.entry.period),
        )
