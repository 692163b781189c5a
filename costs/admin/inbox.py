"""What was accepted and waits, and what could not be booked."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.timezone import now

from costs import drain
from costs.admin.base import ModelAdmin, Permanent, badge, unbroken
from costs.models import DeadLetter, InboxRow
from costs.templatetags.ledger import post_url, pretty_text, second


class OpenFilter(admin.SimpleListFilter):
    """Open ones unless something else is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("replayed", "replayed"), ("written-off", "written off"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, "open"), *self.lookup_choices):
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        match self.value():
            case "all":
                return queryset
            case "replayed":
                return queryset.exclude(replayed_at=None)
            case "written-off":
                return queryset.filter(replayed_at=None).exclude(written_off_at=None)
        return queryset.filter(replayed_at=None, written_off_at=None)


@admin.register(DeadLetter)
class DeadLetterAdmin(Permanent, ModelAdmin):
    list_display = ("event", "why", "source", "post", "persona", "created", "state")
    list_filter = (OpenFilter,)
    list_filter_sheet = False
    search_fields = ("event_id__exact", "post_id__exact")
    search_help_text = "Event or post, in full"
    ordering = ("-created_at",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    actions = ("replay", "write_off")
    change_form_outer_before_template = "costs/admin/replay.html"
    fields = (
        "reason",
        "event_id",
        "source",
        "post",
        "persona",
        "attempts",
        "created",
        "state",
        "event_as_accepted",
    )
    readonly_fields = fields

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("costs.change_deadletter")

    @admin.action(description="Replay: put back into the inbox", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        letters = list(queryset.filter(replayed_at=None))
        replayed = drain.replay([letter.pk for letter in letters], by=request.user.get_username(), at=now())
        for letter in letters:
            self.log_change(request, letter, "Replayed.")
        if replayed:
            self.message_user(request, f"{replayed} put back into the inbox; booked within seconds.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing to replay: these were replayed before.", messages.WARNING)

    @admin.action(description="Write off: it never can be booked", permissions=["replay"])
    def write_off(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        because = request.POST.get("because", "").strip()
        if not because:
            self.message_user(request, "Say why on the page of each: it is kept with the event.", messages.WARNING)
            return
        letters = list(queryset.filter(replayed_at=None, written_off_at=None))
        by = request.user.get_username()
        written_off = drain.write_off([letter.pk for letter in letters], by=by, because=because, at=now())
        for letter in letters:
            self.log_change(request, letter, f"Written off: {because}")
        self.message_user(request, f"{written_off} written off.", messages.SUCCESS)

    @admin.display(description="event")
    def event(self, letter: DeadLetter) -> str:
        return unbroken(letter.event_id or "(without id)")

    @admin.display(description="reason")
    def why(self, letter: DeadLetter) -> str:
        return letter.reason if len(letter.reason) <= 120 else f"{letter.reason[:120]}…"

    @admin.display(description="post")
    def post(self, letter: DeadLetter) -> str:
        if not letter.post_id:
            return "none"
        return format_html('<a class="finops-link" href="{}">{}</a>', post_url(letter.post_id), letter.post_id)

    @admin.display(description="persona")
    def persona(self, letter: DeadLetter) -> str:
        return letter.persona_id or "none"

    @admin.display(description="set aside (UTC)")
    def created(self, letter: DeadLetter) -> str:
        return unbroken(second(letter.created_at))

    @admin.display(description="state")
    def state(self, letter: DeadLetter) -> str:
        if letter.replayed_at:
            words = f"by {letter.replayed_by or 'a command'}, {second(letter.replayed_at)}"
            return format_html("{} {}", badge("replayed", "success"), words)
        if letter.written_off_at:
            words = f"by {letter.written_off_by}, {second(letter.written_off_at)}: {letter.written_off_because}"
            return format_html("{} {}", badge("written off", ""), words)
        return badge("open", "danger")

    @admin.display(description="event, as accepted")
    def event_as_accepted(self, letter: DeadLetter) -> str:
        return format_html('<pre class="finops-json">{}</pre>', pretty_text(letter.payload))


@admin.register(InboxRow)
class InboxRowAdmin(Permanent, ModelAdmin):
    list_display = ("id", "source", "event_count", "received", "attempts", "errors", "lease", "error")
    ordering = ("id",)
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    fields = ("source", "event_count", "received", "attempts", "errors", "lease", "last_error", "events")
    readonly_fields = fields

    @admin.display(description="received (UTC)")
    def received(self, row: InboxRow) -> str:
        return unbroken(second(row.received_at))

    @admin.display(description="leased until (UTC)")
    def lease(self, row: InboxRow) -> str:
        return unbroken(second(row.leased_until) or "free")

    @admin.display(description="last error")
    def error(self, row: InboxRow) -> str:
        return row.last_error[:120] or "none"

    @admin.display(description="events, as accepted")
    def events(self, row: InboxRow) -> str:
        return format_html('<pre class="finops-json">{}</pre>', pretty_text(row.payload))

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboxRow]:
        # A payload may have megabytes: only the page of one row reads it.
        return super().get_queryset(request).defer("payload", "post_ids")
