"""Slack, through an incoming webhook."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from alerts import addresses, http, templates
from alerts.channels import wording
from alerts.channels.base import Notice, TransportError

HOSTS = {"hooks.slack.com"}
# An app's webhook ignores these three and uses its own; the older kind of webhook obeys them.
DEFAULTS = {"channel": "#finops-alerts", "username": "FinOps Engine", "icon_emoji": ":money_with_wings:"}

_LONGEST_TEXT = 4_000
_LONGEST_HEADER = 150
_LONGEST_SECTION = 3_000
_LONGEST_FIELD = 2_000
_MOST_FIELDS = 10
_MOST_LINE_SECTIONS = 20
# What Slack says when it is the webhook that is gone, and not this message that is bad.
_BROKEN = {403, 404, 410}
_CODE = re.compile(r"[a-z0-9_]{1,60}", re.ASCII)


class Slack:
    def check(self, settings: Mapping[str, Any]) -> None:
        address = addresses.checked(str(settings.get("url") or ""), hosts=HOSTS)
        if address.target == "/":
            raise ValueError("The webhook's address is longer: it looks like https://hooks.slack.com/services/….")
        for name, template in _own_templates(settings).items():
            if name not in templates.TEMPLATES:
                raise ValueError(f"There is no template {name}; there are {', '.join(sorted(templates.TEMPLATES))}.")
            templates.validate(str(template), templates.TEMPLATES[name].variables)

    def send(self, notice: Notice, settings: Mapping[str, Any]) -> str:
        body = json.dumps(message(notice, settings)).encode()
        answer = http.post(str(settings.get("url") or ""), body, {}, hosts=HOSTS)
        if answer.is_ok:
            return "ok"
        code = answer.text if _CODE.fullmatch(answer.text) else ""
        sentence = f"Slack answered {answer.status} {code}".rstrip() + "."
        raise TransportError(sentence, permanent=True, channel_broken=answer.status in _BROKEN)


def message(notice: Notice, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body to post: the text for notifications and readers without blocks, and the blocks."""
    return {
        "text": escaped(wording.text(notice), _LONGEST_TEXT),
        "blocks": list(_blocks(notice, settings)),
        "unfurl_links": False,
        "unfurl_media": False,
        **{name: str(settings.get(name) or default) for name, default in DEFAULTS.items()},
    }


def escaped(text: str, longest: int) -> str:
    """No mention, no link, no broken entity, at most `longest` characters."""
    safe = ""
    for letter in text:
        entity = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(letter, letter)
        if len(safe) + len(entity) >= longest:
            return safe + "…"
        safe += entity
    return safe


def _blocks(notice: Notice, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "text": {"type": "plain_text", "text": wording.heading(notice)[:_LONGEST_HEADER]}}
    yield {"type": "section", "text": _text(wording.sentence(notice, _own_templates(settings)), _LONGEST_SECTION)}
    if fields := [_field(label, value) for label, value in wording.rows(notice)]:
        yield {"type": "section", "fields": fields[:_MOST_FIELDS]}
    for section in _packed(notice.lines):
        yield {"type": "section", "text": _text(section, _LONGEST_SECTION)}
    yield {"type": "context", "elements": [{"type": "mrkdwn", "text": _context(notice), "verbatim": True}]}


def _text(text: str, longest: int) -> dict[str, Any]:
    # Verbatim: Slack would make links of what only looks like an address.
    return {"type": "mrkdwn", "text": escaped(text, longest) or "-", "verbatim": True}


def _field(label: str, value: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": f"*{escaped(label, 100)}*\n{escaped(value, 1_800)}"[:_LONGEST_FIELD]} | {
        "verbatim": True
    }


def _packed(lines: tuple[str, ...]) -> list[str]:
    """The lines in as few sections as hold them; what is beyond the limit of a message is counted."""
    sections = [""]
    for number, line in enumerate(lines):
        told = f"• {wording.one_line(line, 300)}\n"
        # Escaping makes five characters of one at most.
        if len(sections[-1]) + len(told) > _LONGEST_SECTION // 5 and sections[-1]:
            if len(sections) == _MOST_LINE_SECTIONS:
                sections[-1] += f"… and {len(lines) - number} more"
                break
            sections.append("")
        sections[-1] += told
    return [section for section in sections if section]


def _context(notice: Notice) -> str:
    # Slack shows the time in the reader's own zone; the text after the bar is for clients that cannot.
    said = f"<!date^{int(notice.at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{wording.instant(notice.at)}>"
    if link := wording.absolute(notice.url):
        said += f" · <{escaped(link, 1_500)}|Open in the FinOps engine>"
    return said


def _own_templates(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    own = settings.get("templates") or {}
    if not isinstance(own, Mapping):
        raise ValueError("The templates must be an object of names and texts.")
    return own
