"""What was found: listed, and for each one what happened, what drove it, what was said, and what to do about it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.timezone import now
from django.views.decorators.http import require_POST

from alerts.admin.base import severity_badge
from alerts.models import Silence
from anomalies import incidents
from anomalies.acknowledge import acknowledge, incident_of
from anomalies.admin import overview, told
from anomalies.admin.plots import plot_of
from anomalies.detectors import DETECTORS, Judgement
from anomalies.incidents import TOLERATED_FOR
from anomalies.models import Anomaly, Tolerance, key_of
from anomalies.models.anomalies import tolerated_scope
from anomalies.wording import detector_of
from controls.addresses import address_of
from costs.admin.base import ModelAdmin, Permanent, badge, page, unbroken
from costs.admin.plots import Plot
from costs.admin.search import TooSlow, within
from costs.templatetags.ledger import second

PLOT_MILLISECONDS = 2_000
SILENCES = {"1": timedelta(hours=1), "24": timedelta(hours=24)}


class StateFilter(admin.SimpleListFilter):
    """Open ones unless something else is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("resolved", "resolved"), ("all", "all")]

    def choices(self, changelist: Any) -> Any:
        for value, words in ((None, "open"), *self.lookup_choices):
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Anomaly]) -> QuerySet[Anomaly]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() != "resolved")


@admin.register(Anomaly)
class AnomalyAdmin(Permanent, ModelAdmin):
    list_display = ("what", "how_bad", "persona", "about", "now_at", "usually", "how_much", "opened", "state")
    list_display_links = ("what",)
    list_filter = (StateFilter, "severity", "rule")
    list_filter_sheet = False
    search_fields = ("persona_id__exact", "post_id__exact")
    search_help_text = "Persona or post, in full"
    ordering = ("-opened_at", "-pk")
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            # The first page has no model of its own.
            path("figures/", wrap(overview.fragment), name="overview_figures"),
            path("<int:number>/acknowledge/", wrap(require_POST(self.acknowledge)), name="anomalies_acknowledge"),
            path("<int:number>/false-positive/", wrap(self.false_positive), name="anomalies_false_positive"),
            path("<int:number>/silence/", wrap(require_POST(self.silence)), name="anomalies_silence"),
        ]
        return ours + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        anomaly = _anomaly(object_id)
        # The lines that the plot, the contributors and the dearest events are made of.
        may_see_lines = request.user.has_perm("costs.view_costevent")
        return page(
            request,
            "anomalies/admin/anomaly.html",
            title=f"{told.title_of(anomaly.rule)} {anomaly.pk}",
            anomaly=anomaly,
            may_judge=_may_judge(request),
            may_silence=request.user.has_perm("alerts.add_silence"),
            # The form stands on the page of the breaker.
            may_override=request.user.has_perms(("controls.add_override", "controls.view_control")),
            may_see_lines=may_see_lines,
            plot=_plot(anomaly) if may_see_lines else None,
            **_forms(anomaly),
            **_facts(anomaly),
            **_said(anomaly),
        )

    def acknowledge(self, request: HttpRequest, number: int) -> HttpResponse:
        anomaly = self._to_judge(request, number)
        if acknowledge(anomaly, by=request.user.get_username(), note=request.POST.get("note", "")[:300], at=now()):
            self.log_change(request, anomaly, "Acknowledged.")
            self.message_user(request, "Yours: it is not repeated and not escalated any more.", messages.SUCCESS)
        else:
            self.message_user(request, "This is over: there is nothing to take.", messages.WARNING)
        return _back(anomaly)

    def false_positive(self, request: HttpRequest, number: int) -> HttpResponse:
        """Ask first: what is tolerated stays unseen for a month."""
        anomaly, at = self._to_judge(request, number), now()
        if anomaly.rule not in DETECTORS:
            raise Http404("No rule found this.")
        if request.method == "POST":
            incidents.mark_false_positive(anomaly, actor=request.user.get_username(), at=at)
            self.log_change(request, anomaly, "Called a false alarm.")
            self.message_user(request, "Ended. As much is normal from now on.", messages.SUCCESS)
            return _back(anomaly)
        return page(
            request,
            "anomalies/admin/false_positive.html",
            title="A false alarm?",
            anomaly=anomaly,
            sentence=told.sentence(anomaly, anomaly.current),
            tolerated=told.tolerated(anomaly.rule, _measured(anomaly)),
            until=at + TOLERATED_FOR,
        )

    def silence(self, request: HttpRequest, number: int) -> HttpResponse:
        if not request.user.has_perm("alerts.add_silence"):
            raise PermissionDenied
        anomaly, at, lasts = _anomaly(str(number)), now(), SILENCES.get(request.POST.get("hours", ""))
        if lasts is None:
            raise Http404("There is no such silence.")
        silence = Silence.objects.create(
            persona_id=anomaly.persona_id,
            rule=anomaly.rule,
            starts_at=at,
            ends_at=at + lasts,
            owner=request.user.get_username(),
            reason=f"Silenced on the page of anomaly {anomaly.pk}.",
        )
        self.log_addition(request, silence, "Silenced on the page of an anomaly.")
        self.message_user(request, f"Silenced: {silence} UTC. What fires then is said then.", messages.SUCCESS)
        return _back(anomaly)

    def _to_judge(self, request: HttpRequest, number: int) -> Anomaly:
        if not _may_judge(request):
            raise PermissionDenied
        return _anomaly(str(number))

    @admin.display(description="what")
    def what(self, anomaly: Anomaly) -> str:
        return unbroken(told.title_of(anomaly.rule))

    @admin.display(description="severity")
    def how_bad(self, anomaly: Anomaly) -> str:
        return severity_badge(anomaly.severity)

    @admin.display(description="persona")
    def persona(self, anomaly: Anomaly) -> str:
        return anomaly.persona_id or "all"

    @admin.display(description="about")
    def about(self, anomaly: Anomaly) -> str:
        return about(anomaly)

    @admin.display(description="current")
    def now_at(self, anomaly: Anomaly) -> str:
        return unbroken(told.figures_of(anomaly.rule).printed(anomaly.current))

    @admin.display(description="baseline")
    def usually(self, anomaly: Anomaly) -> str:
        figures = told.figures_of(anomaly.rule)
        return unbroken(figures.of_baseline(anomaly.baseline)) if anomaly.baseline is not None else "none"

    @admin.display(description="x")
    def how_much(self, anomaly: Anomaly) -> str:
        return f"{told.short(anomaly.multiplier)}x" if anomaly.multiplier is not None else "none"

    @admin.display(description="opened (UTC)")
    def opened(self, anomaly: Anomaly) -> str:
        return unbroken(second(anomaly.opened_at))

    @admin.display(description="state")
    def state(self, anomaly: Anomaly) -> str:
        return state_badge(anomaly)


def state_badge(anomaly: Anomaly) -> str:
    if anomaly.resolved_at is None:
        return badge("calm, ends soon", "success") if anomaly.calm_since else badge("open", "warning")
    if anomaly.false_positive_by:
        return format_html("{} by {}", badge("false alarm", ""), anomaly.false_positive_by)
    return badge("resolved", "success")


def about(anomaly: Anomaly) -> str:
    """What of the persona, or of the installation, it is about."""
    found = anomaly.evidence.get("budget") or anomaly.post_id
    if not found:
        parts = {name: value for name, value in anomaly.scope.items() if name not in ("persona_id", "post_id")}
        found = ", ".join(str(value).replace("_", " ") for value in parts.values())
    return str(found) or "all of it"


def _plot(anomaly: Anomaly) -> Plot | None:
    """The page is worth reading without it."""
    try:
        with within(PLOT_MILLISECONDS):
            return plot_of(anomaly, now())
    except TooSlow:
        return None


def _forms(anomaly: Anomaly) -> dict[str, Any]:
    """The forms of others, filled in for this anomaly."""
    reason = f"{told.title_of(anomaly.rule)} {anomaly.pk}"
    silence = {"persona_id": anomaly.persona_id, "rule": anomaly.rule, "reason": reason}
    persona = anomaly.persona_id
    breaker = reverse("admin:controls_control_change", args=[address_of(persona)]) if persona else ""
    return {
        "silence_url": f"{reverse('admin:alerts_silence_add')}?{urlencode(silence)}",
        "override_url": breaker and f"{breaker}?{urlencode({'reason': reason})}#overrule",
    }


def _facts(anomaly: Anomaly) -> dict[str, Any]:
    """What happened, as of the moment that was worst; the evidence is of that moment too."""
    figures, transitions = told.figures_of(anomaly.rule), list(anomaly.transitions.all())
    return {
        "sentence": told.sentence(anomaly, anomaly.current),
        "current_name": told.name_of_current(anomaly),
        "at_worst": figures.printed(anomaly.current),
        "at_last": "" if anomaly.latest is None else figures.printed(anomaly.latest),
        "baseline_name": figures.baseline,
        "baseline": figures.of_baseline(anomaly.baseline) if anomaly.baseline is not None else "",
        "multiplier": _ratio(anomaly, anomaly.current),
        "severity": severity_badge(anomaly.severity),
        "state": state_badge(anomaly),
        "about": about(anomaly),
        "window": told.window_of(anomaly.evidence),
        "evidence": told.other_evidence(anomaly.evidence),
        "contributors": _with_amounts(anomaly.evidence.get("contributors", [])),
        "events": _with_amounts(anomaly.evidence.get("events", [])),
        "history": [(each, severity_badge(each.severity), figures.printed(each.current)) for each in transitions],
        "can_be_false": anomaly.rule in DETECTORS,
    }


def _ratio(anomaly: Anomaly, current: Decimal) -> str:
    """How many times its baseline; nothing where that means nothing."""
    if not anomaly.baseline or anomaly.rule in ("no_data", "burn_rate"):
        return ""
    return told.short(current / anomaly.baseline)


def _with_amounts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "amount": Decimal(str(row["amount"]))} for row in rows]


def _said(anomaly: Anomaly) -> dict[str, Any]:
    """What alerts made of it, and what a person declared normal."""
    group, scope = incident_of(anomaly), key_of(tolerated_scope(anomaly.scope))
    tolerance = Tolerance.objects.filter(rule=anomaly.rule, scope_key=scope, until__gt=now()).first()
    found: dict[str, Any] = {"group": group, "tolerance": tolerance}
    if tolerance:
        found["tolerated"] = told.tolerated(anomaly.rule, tolerance.up_to)
    if group:
        found["is_to_take"] = anomaly.is_open and group.is_open and not group.incident().is_acknowledged
        found["deliveries"] = group.deliveries.select_related("channel").order_by("sequence", "pk")[:100]
        found["not_said"] = group.decisions.order_by("first_at", "pk")
    return found


def _measured(anomaly: Anomaly) -> Decimal:
    """What would be tolerated, as its rule measures."""
    judged = Judgement(anomaly.score, None, False, anomaly.current, anomaly.baseline, anomaly.multiplier)
    return detector_of(anomaly).measure(judged)


def _may_judge(request: HttpRequest) -> bool:
    return request.user.has_perm("anomalies.change_anomaly")


def _anomaly(number: str) -> Anomaly:
    anomaly = Anomaly.objects.filter(pk=int(number)).first() if number.isdecimal() and len(number) < 19 else None
    if anomaly is None:
        raise Http404("There is no such anomaly.")
    return anomaly


def _back(anomaly: Anomaly) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:anomalies_anomaly_change", args=[anomaly.pk]))
