"""What the pages of the controls share: the words for levels and overrides, and the form that overrules the breaker."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from controls.ladder import Level
from controls.models import Override
from controls.standing import Standing
from costs.admin.base import badge

LONGEST_REASON = 500
MINUTES = {"15 minutes": 15, "1 hour": 60, "4 hours": 240, "12 hours": 720, "24 hours": 1440}
AN_HOUR = 60
LEVELS = {
    Level.CLOSED: ("let through", "success"),
    Level.THROTTLE: ("throttled", "warning"),
    Level.SWITCH: ("cheaper models", "warning"),
    Level.HALF_OPEN: ("on trial", "warning"),
    Level.PAUSE: ("paused", "danger"),
}
KINDS = {
    Override.Kind.FORCE_OPEN: ("paused", "danger"),
    Override.Kind.FORCE_CLOSED: ("let through", "warning"),
    Override.Kind.DISABLED: ("not watched", "warning"),
}
VERBS = {
    Override.Kind.FORCE_OPEN: "Pause",
    Override.Kind.FORCE_CLOSED: "Let through",
    Override.Kind.DISABLED: "Do not watch",
}


def level_badge(level: str) -> str:
    return badge(*LEVELS[Level(level)])


def kind_badge(kind: str) -> str:
    return badge(*KINDS[Override.Kind(kind)])


def obeyed_badge(standing: Standing) -> str:
    """What decisions do now, whoever said so."""
    if standing.override:
        return kind_badge(standing.override.kind)
    if standing.is_observing:
        return badge("let through, observed", "")
    return level_badge(standing.level)


def may_override(request: HttpRequest) -> bool:
    return request.user.has_perm("controls.add_override")


def may_end(request: HttpRequest) -> bool:
    return request.user.has_perm("controls.change_override")


class WordForm(forms.Form):
    """Why and for how long."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextInputWidget({"placeholder": "why, for those who read it later"}),
    )
    lasts = forms.TypedChoiceField(
        label="For",
        choices=[(minutes, words) for words, minutes in MINUTES.items()],
        coerce=int,
        initial=AN_HOUR,
        widget=UnfoldAdminSelectWidget,
    )

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.cleaned_data["lasts"])


def first_fault(form: forms.Form) -> str:
    """One sentence for a message, where the form itself is not shown again."""
    faults: Iterable[tuple[str, Any]] = form.errors.items()
    return "; ".join(f"{name}: {' '.join(sentences)}" for name, sentences in faults)
