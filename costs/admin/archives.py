"""Months of the ledger that are in files: which file, what it holds, and whether the table still stands."""

from django.contrib import admin

from costs.admin.base import ModelAdmin, Permanent, unbroken
from costs.models import ArchivedPartition
from costs.templatetags.ledger import money, number, second


@admin.register(ArchivedPartition)
class ArchivedPartitionAdmin(Permanent, ModelAdmin):
    list_display = ("month_of_booking", "how_many", "dollars", "file", "archived", "table_is")
    ordering = ("-month",)
    sortable_by = ()
    fields = (
        *("month_of_booking", "how_many", "charges", "dollars", "earliest", "latest", "sources"),
        *("file", "file_bytes", "file_sha256", "archived", "table_is"),
    )
    readonly_fields = fields

    @admin.display(description="month of booking")
    def month_of_booking(self, archived: ArchivedPartition) -> str:
        return str(archived)

    @admin.display(description="lines")
    def how_many(self, archived: ArchivedPartition) -> str:
        return number(archived.lines)

    @admin.display(description="total")
    def dollars(self, archived: ArchivedPartition) -> str:
        return money(archived.total)

    @admin.display(description="earliest timestamp (UTC)")
    def earliest(self, archived: ArchivedPartition) -> str:
        return unbroken(second(archived.first_at)) if archived.first_at else "none"

    @admin.display(description="latest timestamp (UTC)")
    def latest(self, archived: ArchivedPartition) -> str:
        return unbroken(second(archived.last_at)) if archived.last_at else "none"

    @admin.display(description="archived (UTC)")
    def archived(self, archived: ArchivedPartition) -> str:
        return unbroken(second(archived.archived_at))

    @admin.display(description="its table")
    def table_is(self, archived: ArchivedPartition) -> str:
        if archived.dropped_at is None:
            return "still in the database, apart from the ledger"
        return f"dropped at {second(archived.dropped_at)} UTC: the file is the only copy"
