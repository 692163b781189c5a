"""The settings of each kind of channel as fields of a form. A kind without an entry here gets one field of JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from alerts.channels.slack import DEFAULTS
from alerts.templates import LONGEST_TEMPLATE, TEMPLATES, validate

Form = Literal["text", "secret", "lines", "template", "json"]
LONGEST = 2_000
FROM_ENVIRONMENT = "from the environment, if set"
IGNORED = "An app's webhook ignores channel, username and icon and uses its own; only the older kind of webhook obeys."


@dataclass(frozen=True, slots=True)
class Setting:
    """`otherwise` is what counts while it is empty."""

    name: str
    label: str
    form: Form = "text"
    help: str = ""
    otherwise: str = ""

    @property
    def field(self) -> str:
        return f"setting_{self.name}"

    @property
    def forget(self) -> str:
        return f"forget_{self.name}"

    @property
    def is_secret(self) -> bool:
        return self.form in ("secret", "json")

    def form_field(self) -> forms.CharField:
        widget: forms.Widget
        if self.form == "secret":
            widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password"})
        elif self.form in ("lines", "json"):
            widget = UnfoldAdminTextareaWidget({"rows": 4})
        else:
            widget = UnfoldAdminTextInputWidget({"placeholder": self.otherwise})
        longest = LONGEST_TEMPLATE if self.form == "template" else LONGEST
        return forms.CharField(label=self.label, required=False, max_length=longest, widget=widget, help_text=self.help)

    def shown(self, settings: Mapping[str, Any]) -> str:
        """What stands in the field; never asked of a secret."""
        if self.form == "template":
            return str((settings.get("templates") or {}).get(self.name) or "")
        stored = settings.get(self.name) or ""
        return "\n".join(stored) if isinstance(stored, list) else str(stored)

    def read(self, text: str) -> Any:
        """The value to store; nothing when it is empty. Raises ValueError with a sentence."""
        if self.form == "lines":
            return [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]
        if self.form == "template" and text:
            validate(text, TEMPLATES[self.name].variables)
        if self.form == "json" and text:
            return _object(text)
        return text

    def put(self, value: Any, settings: dict[str, Any]) -> None:
        if self.form == "json":
            settings.clear()
            settings.update(value or {})
            return
        into = settings
        if self.form == "template":
            into = settings["templates"] = dict(settings.get("templates") or {})
        if value:
            into[self.name] = value
        else:
            into.pop(self.name, None)
        if not settings.get("templates", True):
            del settings["templates"]


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError("This is no JSON.") from error
    if not isinstance(found, dict):
        raise ValueError("This must be a JSON object.")
    return found


def _templates() -> tuple[Setting, ...]:
    spoken = {"cost_spike": "cost spikes", "anomaly": "all other types", "threshold": "thresholds and budgets"}
    return tuple(
        Setting(
            name,
            f"Template of {spoken.get(name, name)}",
            "template",
            "It may use " + ", ".join(f"${{{variable}}}" for variable in sorted(template.variables))
            + "; numbers like ${cost:.3f}; $$ is a dollar.",
            template.text,
        )
        for name, template in TEMPLATES.items()
    )  # fmt: skip


_SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "slack": (
        Setting("url", "Webhook address", "secret", "https://hooks.slack.com/services/…", FROM_ENVIRONMENT),
        Setting("channel", "Channel", help=IGNORED, otherwise=DEFAULTS["channel"]),
        Setting("username", "Username", otherwise=DEFAULTS["username"]),
        Setting("icon_emoji", "Icon", otherwise=DEFAULTS["icon_emoji"]),
        *_templates(),
    ),
    "pagerduty": (
        Setting(
            "routing_key",
            "Routing key",
            "secret",
            "The integration key of a service with the Events API v2.",
            FROM_ENVIRONMENT,
        ),
        Setting(
            "url",
            "Address",
            help="Only for accounts of the EU: https://events.eu.pagerduty.com",
            otherwise="https://events.pagerduty.com",
        ),
    ),
    "email": (
        Setting("to", "Receivers", "lines", "One address a line. Empty: those of the environment."),
        Setting("from", "Sender", help="Empty: FINOPS_EMAIL_FROM."),
    ),
    "webhook": (
        Setting("url", "Address", "secret", "https only, on the public internet."),
        Setting("secret", "Secret", "secret", "Signs each message: 16 characters or more, known to the receiver too."),
    ),
    "apprise": (Setting("url", "Apprise address", "secret", "Such as tgram://…; needs FINOPS_APPRISE_ENABLED."),),
}
_ANY_OTHER = (Setting("", "Settings", "json", "A JSON object. Written here and never shown."),)


def settings_of(kind: str) -> tuple[Setting, ...]:
    return _SETTINGS.get(kind, _ANY_OTHER)
