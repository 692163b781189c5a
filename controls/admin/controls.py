"""The breaker: where each persona stands and why, what happened, and a person's word over it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.timezone import now
from django.views.decorators.http import require_POST

from alerts.admin.base import StateFilter, severity_badge
from controls import asked, overrides, policy_changes
from controls.addresses import address_of, persona_at
from controls.admin.base import (
    LONGEST_REASON,
    VERBS,
    WordForm,
    first_fault,
    kind_badge,
    level_badge,
    may_end,
    may_override,
    obeyed_badge,
)
from controls.ladder import Level
from controls.models import Control, ControlTransition, Override
from controls.models.breaker import EVERYBODY
from controls.standing import Standing, standings
from costs.admin.base import ModelAdmin, Permanent, page, unbroken
from costs.templatetags.ledger import second

TRANSITIONS_SHOWN = 50
Kind = Override.Kind


class HeldFilter(StateFilter):
    first, others = "held back", ("all",)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Control]) -> QuerySet[Control]:
        return queryset if self.value() == "all" else queryset.filter(pk__in=Control.objects.holding(now()))


class Standings(ChangeList):
    """Each row with where its persona stands, read once for the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        found = standings([control.pk for control in self.result_list], now())
        for control, standing in zip(self.result_list, found, strict=True):
            control.standing = standing

    def url_for_result(self, result: Any) -> str:
        return _page_of(result.pk)


@admin.register(Control)
class ControlAdmin(Permanent, ModelAdmin):
    list_display = ("persona_id", "obeyed", "rate", "why", "began", "ends", "overruled")
    list_filter = (HeldFilter,)
    list_filter_sheet = False
    search_fields = ("persona_id",)
    search_help_text = "Persona"
    ordering = ("persona_id",)
    sortable_by = ()
    list_per_page = 50
    actions = ("pause",)
    list_before_template = "controls/admin/controls_above.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Standings

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        ours = [
            path("pause-everything/", wrap(self.pause_everything), name="controls_control_pause_everything"),
            path("pause/", wrap(self.pause_some), name="controls_control_pause"),
            path("<path:name>/override/", wrap(require_POST(self.overrule)), name="controls_control_overrule"),
        ]
        return ours + super().get_urls()

    def has_override_permission(self, request: HttpRequest) -> bool:
        return may_override(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        in_force = [(each, kind_badge(each.kind)) for each in overrides.active(now())]
        ours = {"in_force": in_force, "may_override": may_override(request), "may_end": may_end(request)}
        return super().changelist_view(request, {**(extra_context or {}), **ours})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Also of a persona that the breaker never acted on: it may be overruled all the same."""
        if not self.has_view_permission(request) or request.method == "POST":
            raise PermissionDenied
        (standing,) = standings([_persona(object_id)], now())
        return page(
            request,
            "controls/admin/control.html",
            title=f"Breaker of {standing.persona_id}",
            form=WordForm(initial={"reason": request.GET.get("reason", "")[:LONGEST_REASON]}),
            may_override=may_override(request),
            may_end=may_end(request),
            **_facts(standing),
        )

    def overrule(self, request: HttpRequest, name: str) -> HttpResponse:
        """One of the three words for one persona."""
        if not may_override(request):
            raise PermissionDenied
        persona, form = _persona(name), WordForm(request.POST)
        kind = request.POST.get("kind", "")
        if kind not in Kind.values:
            raise Http404("There is no such override.")
        if form.is_valid():
            self._begin(request, kind, [persona], form)
        else:
            self.message_user(request, f"Nothing was done: {first_fault(form)}", messages.ERROR)
        return HttpResponseRedirect(_page_of(persona))

    @admin.action(description="Pause…", permissions=["override"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Control]) -> HttpResponse:
        names = [("persona", control.pk) for control in queryset]
        return HttpResponseRedirect(f"{reverse('admin:controls_control_pause')}?{urlencode(names)}")

    def pause_some(self, request: HttpRequest) -> HttpResponse:
        personas = [name for name in request.GET.getlist("persona") if asked.is_name(name)]
        if not personas:
            raise Http404("Nobody was chosen.")
        return self._ask(request, personas, title=f"Pause {len(personas)} personas?")

    def pause_everything(self, request: HttpRequest) -> HttpResponse:
        return self._ask(request, [EVERYBODY], title="Pause everything?")

    def _ask(self, request: HttpRequest, personas: Sequence[str], *, title: str) -> HttpResponse:
        """Reason and duration first: what follows stops the work of others."""
        if not may_override(request):
            raise PermissionDenied
        form = WordForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            self._begin(request, Kind.FORCE_OPEN, personas, form)
            return HttpResponseRedirect(reverse("admin:controls_control_changelist"))
        is_all = EVERYBODY in personas
        return page(
            request, "controls/admin/pause.html", title=title, form=form, personas=personas, is_everybody=is_all
        )

    def _begin(self, request: HttpRequest, kind: str, personas: Sequence[str], form: WordForm) -> None:
        said = {"reason": form.cleaned_data["reason"], "actor": request.user.get_username(), "for_": form.duration}
        for persona in personas:
            try:
                override = overrides.begin(kind, persona, at=now(), **said)
            except overrides.Impossible as error:
                self.message_user(request, f"Nothing was done for {persona}: the {error}.", messages.ERROR)
                continue
            self.log_addition(request, override, "Begun.")
            whose = persona or "everybody"
            sentence = f"In force for {whose} until {second(override.expires_at)} UTC: {overrides.SAYS[Kind(kind)]}."
            self.message_user(request, sentence, messages.SUCCESS)

    @admin.display(description="now")
    def obeyed(self, control: Any) -> str:
        return obeyed_badge(control.standing)

    @admin.display(description="requests")
    def rate(self, control: Any) -> str:
        return unbroken(_rate(control.standing))

    @admin.display(description="why")
    def why(self, control: Control) -> str:
        return control.reason or "nothing yet"

    @admin.display(description="since (UTC)")
    def began(self, control: Any) -> str:
        return unbroken(second(control.standing.since))

    @admin.display(description="until (UTC)")
    def ends(self, control: Any) -> str:
        return unbroken(second(control.standing.expires_at) or "it changes")

    @admin.display(description="override")
    def overruled(self, control: Any) -> str:
        override = control.standing.override
        if not override:
            return "none"
        return f"{override.persona_id or 'everybody'}, by {override.actor}"


@admin.register(ControlTransition)
class ControlTransitionAdmin(Permanent, ModelAdmin):
    list_display = ("persona", "moved", "how_bad", "rate", "why", "when", "who")
    list_display_links = ("persona",)
    list_filter = ("to_level", "severity", "is_observing")
    list_filter_sheet = False
    search_fields = ("persona_id__exact",)
    search_help_text = "Persona, in full"
    ordering = ("-at", "-pk")
    sortable_by = ()
    show_full_result_count = False
    list_per_page = 50
    fields = (
        *("persona", "moved", "how_bad", "rate", "why", "trigger", "evidence", "who"),
        *("observed", "when", "ends"),
    )
    readonly_fields = fields

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # They are the history of what the page of the persona shows.
        return request.user.has_perm("controls.view_control") or super().has_view_permission(request, obj)

    @admin.display(description="persona")
    def persona(self, transition: ControlTransition) -> str:
        return transition.persona_id

    @admin.display(description="step")
    def moved(self, transition: ControlTransition) -> str:
        return moved(transition)

    @admin.display(description="severity")
    def how_bad(self, transition: ControlTransition) -> str:
        return severity_badge(transition.severity) if transition.severity else "none"

    @admin.display(description="requests")
    def rate(self, transition: ControlTransition) -> str:
        if transition.to_level == Level.PAUSE:
            return "none"
        return unbroken(f"{transition.per_minute} a minute") if transition.per_minute else "any"

    @admin.display(description="why")
    def why(self, transition: ControlTransition) -> str:
        return transition.reason

    @admin.display(description="by")
    def who(self, transition: ControlTransition) -> str:
        return transition.actor

    @admin.display(description="read (UTC)")
    def observed(self, transition: ControlTransition) -> str:
        return unbroken(second(transition.observed_at))

    @admin.display(description="obeyed from (UTC)")
    def when(self, transition: ControlTransition) -> str:
        return unbroken(second(transition.at))

    @admin.display(description="until (UTC)")
    def ends(self, transition: ControlTransition) -> str:
        return unbroken(second(transition.expires_at) or "it changes")


def moved(transition: ControlTransition) -> str:
    """The step as two badges, and whether it was only noted."""
    from django.utils.html import format_html

    noted = " only observed" if transition.is_observing else ""
    return format_html("{} to {}{}", level_badge(transition.from_level), level_badge(transition.to_level), noted)


def _rate(standing: Standing) -> str:
    """What is let through now."""
    if standing.obeyed is Level.PAUSE:
        return "none"
    if standing.obeyed is Level.CLOSED or standing.per_minute is None:
        return "any"
    return f"{standing.per_minute} a minute"


def _persona(object_id: str) -> str:
    persona = persona_at(object_id)
    if not asked.is_name(persona):
        raise Http404("There can be no such persona.")
    return persona


def _page_of(persona: str) -> str:
    return reverse("admin:controls_control_change", args=[address_of(persona)])


def _facts(standing: Standing) -> dict[str, Any]:
    persona = standing.persona_id
    transitions = list(ControlTransition.objects.filter(persona_id=persona).order_by("-version")[:TRANSITIONS_SHOWN])
    words = [(each, moved(each), severity_badge(each.severity) if each.severity else "") for each in transitions]
    policy = policy_changes.in_force(persona)
    return {
        "standing": standing,
        "obeyed": obeyed_badge(standing),
        "level": level_badge(standing.level),
        "severity": severity_badge(standing.severity) if standing.severity else "",
        "verbs": VERBS.items(),
        "history": words,
        "most": TRANSITIONS_SHOWN,
        "policy": policy,
        "overrule_url": reverse("admin:controls_control_overrule", args=[address_of(persona)]),
        "search": urlencode({"q": persona, "state": "all"}),
    }
